"""The numbers of a verification: how far an artifact's logits may be, and are, from its network's.

Errors are relative to the range that the network's logits span on the same clips.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.export.verify.seeded_clips import Frames
from s2tf_edge.preprocess import normalize
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.session import Clips, Outputs, Session, concatenate, split_steps
from s2tf_edge.spec import ClipSpec

__all__ = ["ON_GPU", "TOLERANCES", "Tolerance", "Verification", "compare_logits", "compare_session", "run_clips"]

ON_GPU: Final = "the engine, on its GPU"
"""What ``Verification.through`` says of engines that ran."""


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far an artifact's logits may be from its network's; errors are fractions of the range of the network's."""

    max_error: float
    """Largest error of any logit."""
    mean_error: float
    """Largest mean error: few logits may come near ``max_error``."""
    cosine: float
    """Smallest cosine."""


TOLERANCES: Final = {
    "fp32": Tolerance(max_error=1e-4, mean_error=3e-5, cosine=0.999_999),
    "fp16": Tolerance(max_error=0.05, mean_error=0.01, cosine=0.998),
    "int8": Tolerance(max_error=0.1, mean_error=0.03, cosine=0.98),
}
"""What is accepted, by precision.

fp32 allows for another order of summation, fp16 for float16 weights and the bfloat16 that many CPUs compute in, int8
for one part in 256 of every tensor, accumulated over a hundred layers. Measured on untrained S2TF, 3D
ResNets and X3D, the worst: in fp16 a mean error of 0.0016 and a cosine of 0.99996; in int8 0.011 and 0.998 on the clips
that it was calibrated on, 0.015 and 0.989 on others after calibrating on 20 clips, which are too few.
"""
_BATCH: Final = 3
"""Clips that an artifact of any batch size is given at once, so that this is verified too."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """How far an artifact's logits are from its network's, on the same clips."""

    n: int
    """Clips compared."""
    max_error: float
    """Largest absolute difference of a logit."""
    mean_error: float
    cosine: float
    """Cosine of the angle between all logits of the two, taken as one vector."""
    logits_range: float
    """Largest minus smallest logit of the network."""
    tolerance: Tolerance
    """What is accepted, as fractions of ``logits_range``."""
    top1_agreement: float
    """Fraction of clips on which both name the same class."""
    top1_decided: int
    """Clips whose two best classes lie further apart than the largest error accepted: only on these a disagreement
    counts."""
    top1_disagreements: int
    """Disagreements on those clips."""
    mask_error: float | None = None
    """Largest difference of a value of the saliency mask, as a fraction of its largest; None where it is no output."""
    clips: str = "seeded"
    """What the clips were: ``seeded``, ``evaluation`` clips, or ``unseen`` ones of the data that was calibrated on;
    ``calibration`` where that has no others."""
    unit: str = "clips"
    """What ``n`` counts: clips, or steps of runs."""
    through: str = ""
    """What ran, such as ``openvino``, or ``onnxruntime, on the graph of the engine``."""

    @property
    def passed(self) -> bool:
        """Whether the artifact agrees; not so where any number is not finite."""
        allowed = self.tolerance
        return (
            self.max_error <= allowed.max_error * self.logits_range
            and self.mean_error <= allowed.mean_error * self.logits_range
            and self.cosine >= allowed.cosine
            and self.top1_disagreements == 0
            and (self.mask_error is None or self.mask_error <= allowed.max_error)
        )

    @property
    def ran_engine(self) -> bool:
        """Whether an engine itself ran, and not its graph in its stead."""
        return self.through == ON_GPU

    @property
    def relative_error(self) -> float:
        """``max_error`` as a fraction of ``logits_range``."""
        return self._fraction(self.max_error)

    def _fraction(self, error: float) -> float:
        return error / self.logits_range if self.logits_range else error and float("inf")

    def __str__(self) -> str:
        allowed = self.tolerance
        differing = f"{self.top1_disagreements or 'none'} differ{'s' if self.top1_disagreements < 2 else ''}"
        decided = f"{self.top1_decided} clear, {differing}" if self.top1_decided else "none clear: it decided nothing"
        return (
            f"largest error {_percent(self.relative_error, allowed.max_error)} % of the logits' range "
            f"(allowed {allowed.max_error * 100:.2g} %), "
            f"mean {_percent(self._fraction(self.mean_error), allowed.mean_error)} % "
            f"({allowed.mean_error * 100:.2g} %), "
            f"cosine {self.cosine:.6f} ({allowed.cosine:g}), "
            f"top-1 agreement {self.top1_agreement:.0%} ({decided}), n = {self.n} {self.clips} {self.unit}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For ``verify.json``."""
        return {"passed": self.passed} | dataclasses.asdict(self) | {"relative_error": self.relative_error}


def _percent(fraction: float, allowed: float) -> str:
    """In two digits, unless what lies beyond the bound would read as the bound itself."""
    rounded = f"{fraction * 100:.2g}"
    return f"{fraction * 100:.4g}" if fraction > allowed and rounded == f"{allowed * 100:.2g}" else rounded


def compare_session(
    artifact: Session,
    expected: Outputs,
    clips: Sequence[Frames],
    *,
    precision: str,
    progress: Progress = no_progress,
) -> Verification:
    """Runs an artifact, whose session must be open, and compares what it says.

    Clips run as many at a time as the artifact takes, all but the first: in threes where it takes any number.

    Args:
        artifact: what is to be verified.
        expected: what the network says of the same clips.
        clips: one or more, each of cropped frames, uint8 [T, S, S, 3].
        precision: picks the tolerance.
        progress: told of the clips that have run.

    Raises:
        VerificationError: the artifact computes logits that are not finite.
    """
    size = artifact.info.batch or _BATCH
    rest = len(clips) - 1
    sizes = [1, *(min(size, rest - start) for start in range(0, rest, size))]
    got = run_clips(artifact, clips, sizes=sizes, progress=progress)
    found = compare_logits(got.logits, expected.logits, tolerance=TOLERANCES[precision])
    return dataclasses.replace(found, mask_error=_mask_error(got, expected))


def run_clips(
    session: Session,
    clips: Sequence[Frames],
    *,
    sizes: Sequence[int] | None = None,
    progress: Progress = no_progress,
) -> Outputs:
    """The outputs of an open session for clips, each given as the session takes it.

    Args:
        session: of the network or of an artifact.
        clips: each of cropped frames, uint8 [T, S, S, 3].
        sizes: how many clips to give at once, in turn; one at a time by default.
        progress: told of the clips that have run.

    Raises:
        VerificationError: the session computes logits that are not finite.
    """
    remaining = iter(clips)
    outputs: list[Outputs] = []
    done = 0
    run = session.infer if session.info.step is None else functools.partial(step_through, session)
    for size in sizes or [1] * len(clips):
        batch = [_normalize(frames, session.info.spec) for frames in itertools.islice(remaining, size)]
        outputs.append(run(np.stack(batch)))  # type: ignore[arg-type]  # all of one of two dtypes
        done += size
        progress(done, len(clips))
    return concatenate(outputs)


def _normalize(frames: Frames, spec: ClipSpec) -> Clips:
    """A clip of any length."""
    return normalize(frames, dataclasses.replace(spec, frames=len(frames)))


def step_through(session: Session, runs: Clips) -> Outputs:
    """All that a network says while it steps through runs from their beginning, once it has seen enough of each.

    Args:
        session: open, of a network that steps.
        runs: as ``Clips`` says, of any number of whole steps.

    Returns:
        The outputs of all steps of the first run, then those of the second.
    """
    info = session.info
    batch = info.batch or 1
    said: list[Outputs] = []
    for start in range(0, len(runs), batch):
        group = runs[start : start + batch]
        filled = np.concatenate([group, np.repeat(group[-1:], batch - len(group), axis=0)])
        state = session.start(batch)
        answers = []
        for frames in split_steps(filled, info):
            answer = session.step(frames, state)
            if state.is_warm():
                answers.append(answer)
        said += [concatenate([answer.of(stream) for answer in answers]) for stream in range(len(group))]
    return concatenate(said)


def _mask_error(got: Outputs, expected: Outputs) -> float | None:
    if got.mask is None or expected.mask is None:
        return None
    return float(np.abs(got.mask - expected.mask).max() / max(float(np.abs(expected.mask).max()), 1e-12))


def compare_logits(got: NDArray[np.float32], expected: NDArray[np.float32], *, tolerance: Tolerance) -> Verification:
    """Compares logits.

    Args:
        got: float32 [N, K], of the artifact.
        expected: float32 [N, K], of the network.
        tolerance: what is accepted.
    """
    error = np.abs(got.astype(np.float64) - expected)
    logits_range = float(np.ptp(expected))
    ordered = np.sort(expected, axis=1)
    margin = ordered[:, -1] - ordered[:, -2] if expected.shape[1] > 1 else np.zeros(len(expected))
    decided = margin > tolerance.max_error * logits_range
    agrees = got.argmax(axis=1) == expected.argmax(axis=1)
    return Verification(
        n=len(expected),
        max_error=float(error.max()),
        mean_error=float(error.mean()),
        cosine=_cosine(got, expected),
        logits_range=logits_range,
        tolerance=tolerance,
        top1_agreement=float(agrees.mean()),
        top1_decided=int(decided.sum()),
        top1_disagreements=int((decided & ~agrees).sum()),
    )


def _cosine(got: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    a, b = got.ravel().astype(np.float64), expected.ravel().astype(np.float64)
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norms if norms else float(np.array_equal(a, b))

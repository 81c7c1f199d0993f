"""What an artifact is compared with: the network as it came, and the clips that it is asked about.

A ``model.pt`` runs in PyTorch in its training form, not in the form that was exported, so that rewriting it for
inference is verified along with everything after.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from s2tf_edge.calibration.budget import Budget
from s2tf_edge.calibration.calibration_clips import CalibrationClips
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError, UnsupportedError, VerificationError
from s2tf_edge.export.sources.network import SourceNetwork
from s2tf_edge.export.targets.registry import is_engine
from s2tf_edge.export.verify.agreement import verify_artifact
from s2tf_edge.export.verify.expected import write_expected
from s2tf_edge.export.verify.seeded_clips import SEEDED_CLIPS, Frames, seeded_clips
from s2tf_edge.export.verify.verification import (
    TOLERANCES,
    Verification,
    compare_logits,
    compare_session,
    run_clips,
)
from s2tf_edge.preprocess import normalize
from s2tf_edge.progress import Progress, begin_step, no_progress
from s2tf_edge.runtime.artifact import ArtifactMeta
from s2tf_edge.runtime.open import artifact_info
from s2tf_edge.runtime.session import Clips, Outputs, concatenate
from s2tf_edge.spec import ClipSpec
from s2tf_edge.step_spec import StepSpec

__all__ = ["Reference", "compare_stripped", "verification_clips", "verify_export"]

logger = logging.getLogger(__name__)

_REAL_CLIPS: Final = 16
"""Clips of evaluation data, and of those that were not calibrated on, at most."""
_REAL_RUNS: Final = 4
_SEEDED_RUNS: Final = 2
"""Of a network that steps, each of which is compared at every frame."""
_WIDENED_CLIPS: Final = 2
"""Clips that a file in half precision is asked about as it came."""
_REPEAT: Final = 1e-3
"""How far logits may be from run to run, as a fraction of their range: threads may add up in another order."""
_SECONDS: Final = 20.0
"""After which the network is asked about no further clip."""
_FLOAT_CLIPS: Final = 2
"""Clips that the float form of an int8 export is compared on: an operator that differs, differs on any."""
_FEWEST: Final = 4
"""Clips that it is asked about however long it takes."""

_ADVICE: Final = {
    "int8": "try more calibration clips or another precision",
    "fp16": "try fp32",
    "fp32": "another precision would not help; export for another target",
}


@dataclass(kw_only=True)
class _Answers:
    of_clips: Outputs | None = None
    of_seeded: dict[ClipSpec, Outputs] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The network, asked about clips when its answers are first needed."""

    source: SourceNetwork
    precision: str
    clips: Sequence[Frames]
    kind: str
    """Where the clips come from: seeded, unseen, calibration or evaluation."""
    progress: Progress = no_progress
    """Is told of each clip."""
    answers: _Answers = field(default_factory=_Answers)
    """What the network was heard to say; the same for a copy of another precision, so that it is asked once."""

    @property
    def expected(self) -> Outputs:
        """What the network says of the clips; of the first few, where it takes seconds for each."""
        if self.answers.of_clips is None:
            logger.info("asking the network itself about %d %s clips", len(self.clips), self.kind)
            begin_step(self.progress, "asking the network")
            self.answers.of_clips = _run(self.source, self.clips, budget=Budget(_SECONDS), progress=self.progress)
        return self.answers.of_clips

    @property
    def compared(self) -> Sequence[Frames]:
        """The clips of ``expected``."""
        return self.clips[: len(self.expected.logits) // self._answers_of_clip]

    @property
    def _answers_of_clip(self) -> int:
        step = self.source.step
        return 1 if step is None else 1 + (len(self.clips[0]) - step.warm_up) // step.hop

    def of_floats(self) -> Reference:
        """The same for the float form that integers are made from: few clips, and the tolerance of fp32."""
        count = _FLOAT_CLIPS * self._answers_of_clip
        logits, mask = self.expected.logits[:count], self.expected.mask
        known = Outputs(logits=logits, mask=None if mask is None else mask[:count])
        answers = _Answers(of_clips=known)
        return dataclasses.replace(self, precision="fp32", clips=self.compared[:_FLOAT_CLIPS], answers=answers)

    def seeded(self, spec: ClipSpec) -> Outputs:
        """What the network says of all of ``seeded_clips(spec)``; where it steps, at the end of each."""
        if self.kind == "seeded" and self.source.step is None and len(self.compared) == len(self.clips):
            return self.expected
        if spec not in self.answers.of_seeded:
            self.answers.of_seeded[spec] = _run(self.source, seeded_clips(spec))
        return self.answers.of_seeded[spec]


def _run(
    source: SourceNetwork, clips: Sequence[Frames], *, budget: Budget | None = None, progress: Progress = no_progress
) -> Outputs:
    answers: list[Outputs] = []
    # A run is many answers.
    fewest = _FEWEST if source.step is None else 1
    try:
        with source.session() as session:
            for clip in clips:
                if budget is not None and budget.is_spent and len(answers) >= fewest:
                    _say_slow(len(answers), len(clips), budget)
                    break
                answers.append(run_clips(session, [clip]))
                progress(len(answers), len(clips))
            again = run_clips(session, clips[:1])
    except VerificationError as error:
        msg = f"{source.given} itself computes logits that are not finite; train or import it again"
        raise InputFileError(msg) from error
    outputs = concatenate(answers)
    _check_repeats(source, outputs, again)
    _check_widened(source, clips[:_WIDENED_CLIPS], outputs)
    return outputs


def _check_repeats(source: SourceNetwork, outputs: Outputs, again: Outputs) -> None:
    """Whether the network says the same of a clip twice: else there is nothing to compare an artifact with."""
    error = float(np.abs(outputs.logits[: len(again.logits)] - again.logits).max())
    if error <= _REPEAT * float(np.ptp(outputs.logits)):
        return
    msg = (
        f"{source.given} is not deterministic: logits of one clip differ by {error:.3g} from run to run; look for "
        "random numbers, dropout or norms in training mode in it, and export it again after model.eval()"
    )
    raise InputFileError(msg)


def _check_widened(source: SourceNetwork, clips: Sequence[Frames], outputs: Outputs) -> None:
    """Whether a file in half precision agrees with its float32 form, which stands for it from here on."""
    session = source.half_session()
    if session is None:
        return
    try:
        with session:
            got = run_clips(session, clips).logits
    except VerificationError:
        logger.warning("%s overflows in half precision; what is exported is its float32 form", source.given)
        return
    except UnsupportedError as error:
        logger.warning("%s does not run here in half precision (%s) to be compared with float32", source.given, error)
        return
    found = compare_logits(got, outputs.logits[: len(got)], tolerance=TOLERANCES["fp16"])
    if not found.passed:
        msg = (
            f"{source.given} says something else in half precision, as it came, than in float32, as it is exported: "
            f"{found}; export it from its framework in float32"
        )
        raise VerificationError(msg)


def _say_slow(done: int, total: int, budget: Budget) -> None:
    seconds = budget.spent / done
    logger.warning("comparing on %d of %d clips: the network itself takes %.1f s for one here", done, total, seconds)


def verified_spec(spec: ClipSpec, step: StepSpec | None) -> ClipSpec:
    """What is compared: clips, and of a network that steps runs that outlast its past by a clip."""
    if step is None:
        return spec
    steps = math.ceil((step.receptive_field + step.warm_up) / step.hop)
    return dataclasses.replace(spec, frames=steps * step.hop)


def verification_clips(
    spec: ClipSpec, *, calibration: CalibrationClips | None, evaluation: Videos | None, are_runs: bool = False
) -> tuple[Sequence[Frames], str]:
    """Clips to compare on, and which they are: of the evaluation data, else those not calibrated on, else seeded ones.

    Where there is calibration data, but nothing that was not calibrated on, the clips are of those that were.

    Raises:
        InputFileError: none of the videos can be read.
    """
    count = _REAL_RUNS if are_runs else _REAL_CLIPS
    if evaluation is not None:
        return CalibrationClips(evaluation, spec, count=count).frames(), "evaluation"
    if calibration is None:
        return seeded_clips(spec, count=_SEEDED_RUNS if are_runs else SEEDED_CLIPS), "seeded"
    if unseen := calibration.unseen(count, length=spec.frames):
        return unseen, "unseen"
    seen = calibration.frames(count, length=spec.frames)
    logger.warning(
        "no clip is left that is not calibrated on; verifying on %d that are; `eval` takes others", len(seen)
    )
    return seen, "calibration"


def verify_export(reference: Reference, folder: Path, meta: ArtifactMeta) -> Verification:
    """Verifies a new artifact; beside an engine, keeps what the network says of seeded clips.

    Raises:
        VerificationError: they do not agree; the message names the first layer that differs.
    """
    if is_engine(meta.target):
        write_expected(reference.seeded(artifact_info(folder, meta).spec), folder)
    return verify_artifact(
        folder,
        meta,
        expected=reference.expected,
        clips=reference.compared,
        kind=reference.kind,
        progress=reference.progress,
        explain=functools.partial(_explain, reference, folder, meta),
    )


def compare_stripped(reference: Reference) -> None:
    """Says how far a network that came quantized is from its float form, where that is far and is exported instead."""
    quantized = reference.source.stripped_from
    if quantized is None:
        return
    with quantized.session() as session:
        found = compare_session(session, reference.expected, reference.compared, precision="int8")
    if not found.passed:
        logger.warning("without its Q/DQ, %s says something else than with them: %s", quantized.given, found)


def _explain(reference: Reference, folder: Path, meta: ArtifactMeta, found: str) -> str:
    is_kept = reference.source.quantization is not None
    advice = "strip its Q/DQ with `requantize=True`" if is_kept else _ADVICE[reference.precision]
    return (
        f"the {meta.target} {reference.precision} artifact does not agree with {reference.source.path.name}: {found}; "
        f"{_name_divergence(reference, folder, meta)}; nothing was written; {advice}"
    )


def _name_divergence(reference: Reference, folder: Path, meta: ArtifactMeta) -> str:
    try:
        return _find_divergence(reference, folder, meta)
    except Exception as error:
        # The verdict stands, whatever keeps the search from finding the place.
        logger.debug("cannot search the layer that differs", exc_info=error)
        return "the layer that differs could not be found"


def _find_divergence(reference: Reference, folder: Path, meta: ArtifactMeta) -> str:
    # Not on a device that has no ONNX.
    from s2tf_edge.export.verify.divergence import artifact_layers, find_divergence

    source = reference.source
    expected = source.layers(_first_clip(reference, source.spec))
    got = artifact_layers(folder, meta, _first_clip(reference, meta.clip))
    return find_divergence(got, expected, tolerance=TOLERANCES[reference.precision].max_error)


def _first_clip(reference: Reference, spec: ClipSpec) -> Clips:
    clip: Clips = normalize(reference.clips[0], spec)[np.newaxis]
    return clip

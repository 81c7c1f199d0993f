"""The accuracy gate: the fastest integer form whose loss of top-1 is within a bound.

Presets are measured as they are, the fastest first. If none is good enough, layers of the fastest go back to float, the
most harmful first. The saliency path comes before all others: its sigmoids, products and means squeeze what differs
into few integers. Then layers follow in the order of the noise that quantizing each alone puts on the logits
(``sensitivity``), in groups that double:

    trial   preset     returned to float
    1       fastest    ·
    2       second     ·
    3       fastest    saliency path
    4       fastest    saliency path, worst
    5       fastest    saliency path, worst, 2nd
    6       fastest    saliency path, worst, 2nd, 3rd, 4th

The first trial within the bound is the result. Doubling finds it in few trials, for each takes an evaluation of all
videos; it may return up to twice as many layers as the least that would do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s2tf_edge.calibration.base import Judge, Quantizer
from s2tf_edge.calibration.candidates import Candidate
from s2tf_edge.calibration.sensitivity import LayerRanking
from s2tf_edge.errors import AccuracyError, S2TFError, UsageError
from s2tf_edge.runtime.evaluation.accuracy import Drop
from s2tf_edge.words import counted

__all__ = ["GateResult", "Trial", "find_within_bound"]

logger = logging.getLogger(__name__)

_SALIENCY_PATH: Final = "saliency."
"""How names of its layers begin."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One measurement: a preset with some layers returned to float, and what is lost."""

    preset: str
    returned: tuple[str, ...]
    """Layers that are in float besides those that are excluded in any case."""
    path: Path
    drop: Drop | None
    """None where it does not run."""
    complaint: str | None = None
    """Why it does not run, or how its logits differ from the network's; None if they agree."""

    def is_within(self, max_drop: float) -> bool:
        """Whether it runs, agrees and loses at most so many points."""
        return self.complaint is None and self.drop is not None and self.drop.points <= max_drop

    def to_dict(self) -> dict[str, Any]:
        """For ``calib.json``, in percent and points."""
        values = {"recipe": self.preset, "layers_in_float": len(self.returned), "complaint": self.complaint}
        return values if self.drop is None else values | _to_values(self.drop)

    def __str__(self) -> str:
        words = [_to_words(self.drop)] if self.drop is not None else []
        words += [self.complaint] if self.complaint is not None else []
        returned = f"{counted(len(self.returned), 'layer')} returned to float"
        return f"{self.preset}, {returned}: {'; '.join(words)}"


def _to_values(drop: Drop) -> dict[str, Any]:
    values = {
        "float_top1": drop.baseline_top1,
        "top1": drop.top1,
        "drop_points": drop.points,
        "drop_low": drop.low,
        "drop_high": drop.high,
    }
    return {"n": drop.n, **{key: round(value, 3) for key, value in values.items()}}


def _to_words(drop: Drop) -> str:
    loss = f"a drop of {drop.points:.1f} points ({drop.low:.1f} to {drop.high:.1f})"
    return f"top-1 {drop.top1:.1f} %, in float {drop.baseline_top1:.1f} %: {loss}, n = {drop.n}"


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """The integer form within the bound, and all that were measured."""

    chosen: Trial
    trials: tuple[Trial, ...]
    """In their order; the last is ``chosen``."""


def find_within_bound(
    quantizer: Quantizer,
    ranked: Sequence[Candidate],
    folder: Path,
    *,
    judge: Judge,
    max_drop: float,
    rank_layers: LayerRanking,
    excluded: Sequence[str] = (),
) -> GateResult:
    """Finds a form that loses at most ``max_drop``.

    Args:
        quantizer: for one network and target.
        ranked: presets that compile and agree, the fastest first, with their files.
        folder: a folder for what is tried.
        judge: measures the loss; it must have data to do so.
        max_drop: percentage points of top-1 that may be lost.
        rank_layers: called only if no preset is good enough as it is, nor with the saliency path in float.
        excluded: layers that stay in float in any case.

    Raises:
        AccuracyError: the bound is not met before next to nothing is integer; the message has the best that was found.
        UsageError: there is no data to measure the loss on.
    """
    trials: list[Trial] = []
    for trial in _run_trials(quantizer, ranked, folder, judge=judge, rank_layers=rank_layers, excluded=excluded):
        logger.info("int8, %s", trial)
        trials.append(trial)
        if trial.is_within(max_drop):
            return GateResult(chosen=trial, trials=tuple(trials))
    lines = "\n".join(f"  {each}" for each in trials)
    msg = (
        f"no int8 form that agrees with the network loses at most {max_drop:g} points of top-1; the best found: "
        f"{_describe_best(trials)}; allow more, calibrate on more clips, or export it as fp16 instead\n{lines}"
    )
    raise AccuracyError(msg)


def _describe_best(trials: Sequence[Trial]) -> str:
    losses = [(each.drop.points, index) for index, each in enumerate(trials) if each.drop is not None]
    return str(trials[min(losses)[1]]) if losses else "none runs"


def _run_trials(
    quantizer: Quantizer,
    ranked: Sequence[Candidate],
    folder: Path,
    *,
    judge: Judge,
    rank_layers: LayerRanking,
    excluded: Sequence[str],
) -> Iterator[Trial]:
    """One after the other, as in the table above; what comes behind the last one asked for is never made."""
    for candidate in ranked:
        yield _run_trial(quantizer, candidate.name, candidate.written, judge=judge, returned=())
    fastest = ranked[0].name
    layers = [layer for layer in quantizer.list_layers(fastest) if layer not in excluded]
    for index, returned in enumerate(_groups_to_return(layers, rank_layers)):
        place = folder / f"round-{index}"
        place.mkdir()
        path = quantizer.write(fastest, place, excluded={*excluded, *returned})
        yield _run_trial(quantizer, fastest, path, judge=judge, returned=returned)


def _run_trial(quantizer: Quantizer, preset: str, path: Path, *, judge: Judge, returned: tuple[str, ...]) -> Trial:
    try:
        with quantizer.make_session(path) as session:
            audit = quantizer.audit(session)
            if not audit.integer:
                reason = f"no layer is integer: {audit.explain()}"
                return Trial(preset=preset, returned=returned, path=path, drop=None, complaint=reason)
            drop, complaint = judge.measure_drop(session), judge.find_disagreement(session)
    except UsageError:
        # No data: true of every trial, and for the user to mend.
        raise
    except S2TFError as error:
        # Not every mixture of integers and floats has kernels.
        return Trial(preset=preset, returned=returned, path=path, drop=None, complaint=str(error))
    return Trial(preset=preset, returned=returned, path=path, drop=drop, complaint=complaint)


def _groups_to_return(layers: Sequence[str], rank_layers: LayerRanking) -> Iterator[tuple[str, ...]]:
    """Layers to return to float, more each time: the saliency path, then the worst one, two, four and so on.

    Never all of them, for that would be the float network. Of seven other layers:

        worst first   a b c d e f g
        2**0          a
        2**1          a b
        2**2          a b c d               2**3 would be all
    """
    saliency = tuple(layer for layer in layers if layer.startswith(_SALIENCY_PATH))
    if saliency and len(saliency) < len(layers):
        yield saliency
    others = [layer for layer in layers if layer not in saliency]
    if len(others) < 2:
        return
    # Only now: ranking quantizes and runs the network once for each layer.
    worst = rank_layers(others)
    # The largest power of two that is less than their number is the last.
    for power in range((len(worst) - 1).bit_length()):
        yield (*saliency, *worst[: 2**power])

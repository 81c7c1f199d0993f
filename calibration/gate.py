"""The accuracy gate: the fastest integer form whose loss of top-1 is within a bound.

Recipes are measured as they are, the fastest first. If none is good enough, layers of the fastest go back to float, the
most harmful first. The saliency path comes before all others: its sigmoids, products and means squeeze what differs
into few integers. Then layers follow in the order of the noise that quantizing each alone puts on the logits
(``sensitivity``), in groups that double.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s2tf_edge.calibration.base import Drop, Judge, Quantizer
from s2tf_edge.calibration.search import Attempt
from s2tf_edge.calibration.sensitivity import Sensitivity
from s2tf_edge.errors import AccuracyError, S2TFError, UsageError

__all__ = ["Gated", "Round", "meet_bound"]

logger = logging.getLogger(__name__)

_SUSPECT: Final = "saliency."


@dataclass(frozen=True, kw_only=True)
class Round:
    """One measurement: a recipe with so many layers returned to float, and what is lost."""

    recipe: str
    floats: tuple[str, ...]
    path: Path
    drop: Drop | None
    """None where it does not run."""
    complaint: str | None = None
    """Why it does not run, or how its logits differ from the network's; None if they agree."""

    def is_within(self, max_drop: float) -> bool:
        """Whether it runs, agrees and loses at most so many points."""
        return self.complaint is None and self.drop is not None and self.drop.points <= max_drop

    def to_dict(self) -> dict[str, Any]:
        """For ``calib.json``."""
        drop = {} if self.drop is None else self.drop.to_dict()
        return {"recipe": self.recipe, "layers_in_float": len(self.floats), "complaint": self.complaint, **drop}

    def __str__(self) -> str:
        found = [str(each) for each in (self.drop, self.complaint) if each is not None]
        returned = f"{len(self.floats)} {'layer' if len(self.floats) == 1 else 'layers'} returned to float"
        return f"{self.recipe}, {returned}: {'; '.join(found)}"


@dataclass(frozen=True, kw_only=True)
class Gated:
    """The integer form within the bound, and all that were measured."""

    chosen: Round
    rounds: tuple[Round, ...]


def meet_bound(
    quantizer: Quantizer,
    ranked: Sequence[Attempt],
    folder: Path,
    *,
    judge: Judge,
    max_drop: float,
    rank_layers: Sensitivity,
    floats: Sequence[str] = (),
) -> Gated:
    """Finds a form that loses at most ``max_drop``.

    Args:
        quantizer: for one network and target.
        ranked: recipes that compile and agree, the fastest first, with their files.
        folder: a folder for what is tried.
        judge: measures the loss; it must have data to do so.
        max_drop: percentage points of top-1 that may be lost.
        rank_layers: orders layers; asked only if no recipe is good enough as it is.
        floats: layers that stay in float in any case.

    Raises:
        AccuracyError: the bound is not met before next to nothing is integer; the message has the best that was found.
        UsageError: there is no data to measure the loss on.
    """
    rounds: list[Round] = []
    for each in _rounds(quantizer, ranked, folder, judge=judge, rank_layers=rank_layers, floats=floats):
        logger.info("int8, %s", each)
        rounds.append(each)
        if each.is_within(max_drop):
            return Gated(chosen=each, rounds=tuple(rounds))
    lines = "\n".join(f"  {each}" for each in rounds)
    msg = (
        f"no int8 form that agrees with the network loses at most {max_drop:g} points of top-1; the best found: "
        f"{_best(rounds)}; allow more, calibrate on more clips, or export it as fp16 instead\n{lines}"
    )
    raise AccuracyError(msg)


def _best(rounds: Sequence[Round]) -> str:
    losses = [(each.drop.points, index) for index, each in enumerate(rounds) if each.drop is not None]
    return str(rounds[min(losses)[1]]) if losses else "none runs"


def _rounds(
    quantizer: Quantizer,
    ranked: Sequence[Attempt],
    folder: Path,
    *,
    judge: Judge,
    rank_layers: Sensitivity,
    floats: Sequence[str],
) -> Iterator[Round]:
    for attempt in ranked:
        if attempt.path is not None:
            yield _measured(quantizer, attempt.recipe, attempt.path, judge=judge, floats=())
    fastest = ranked[0].recipe
    layers = [layer for layer in quantizer.layers(fastest) if layer not in floats]
    for index, returned in enumerate(_groups(layers, rank_layers)):
        place = folder / f"round-{index}"
        place.mkdir()
        path = quantizer.write(fastest, place, floats={*floats, *returned})
        yield _measured(quantizer, fastest, path, judge=judge, floats=returned)


def _measured(quantizer: Quantizer, recipe: str, path: Path, *, judge: Judge, floats: tuple[str, ...]) -> Round:
    try:
        with quantizer.session(path) as session:
            drop, complaint = judge.drop(session), judge.complaint(session)
    except UsageError:
        raise
    except S2TFError as error:
        # Not every mixture of integers and floats has kernels.
        return Round(recipe=recipe, floats=floats, path=path, drop=None, complaint=str(error))
    return Round(recipe=recipe, floats=floats, path=path, drop=drop, complaint=complaint)


def _groups(layers: Sequence[str], rank_layers: Sensitivity) -> Iterator[tuple[str, ...]]:
    """Layers to return to float, more each time: the suspects, then the worst one, two, four and so on, but not all."""
    suspects = tuple(layer for layer in layers if layer.startswith(_SUSPECT))
    if suspects and len(suspects) < len(layers):
        yield suspects
    others = [layer for layer in layers if layer not in suspects]
    if len(others) < 2:
        return
    worst = rank_layers(others)
    for power in range((len(worst) - 1).bit_length()):
        yield (*suspects, *worst[: 2**power])

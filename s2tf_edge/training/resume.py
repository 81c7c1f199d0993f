"""Which checkpoint a run continues from, and whether it is one of the same run."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.file_kinds import TRAINING_RUN, check_kind
from s2tf_edge.training.config import TrainConfig, without_effect
from s2tf_edge.training.module import RUN_KEY
from s2tf_edge.training.position import POSITION_KEY, Position
from s2tf_edge.words import first_few

__all__ = [
    "LAST_FILE",
    "Resumption",
    "check_checkpoint",
    "check_steps",
    "check_weights_fit",
    "describe_run",
    "find_checkpoint",
]

logger = logging.getLogger(__name__)

LAST_FILE: Final = "last.ckpt"
_NEEDED: Final = ("labels", "optimizer", "freeze")
"""What is of no use to a run where it is another one's: what an optimizer remembers of each weight, what a class is."""
_ANEW: Final = "begin a new run in another `out`, with the model.pt beside it as `pretrained`"
_MEASURE: Final = ("validation", "frames", "size", "resize_short_side", "stride", "fps")
"""What top-1 depends on beside the weights."""


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """Where a run goes on."""

    checkpoint: Path
    position: Position
    measures_alike: bool = True
    """Whether its epochs were validated on the same videos, by the same clips, as this run's are."""

    @property
    def epochs_done(self) -> int | None:
        """Whole epochs, None within one."""
        return None if self.position.is_within_epoch else self.position.epochs


def describe_run(
    config: TrainConfig,
    videos: LabeledVideos,
    validation: LabeledVideos,
    pretrained: Path | None,
    *,
    processes: int = 1,
) -> dict[str, Any]:
    """All that decides in which weights a run ends, as plain values."""
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key not in without_effect()}
    return settings | {
        "labels": list(videos.labels),
        "videos": _names_hash(videos),
        "validation": _names_hash(validation),
        "pretrained": None if pretrained is None else str(pretrained),
        "processes": processes,
    }


def find_checkpoint(resume: str | Path, out: Path, run: Mapping[str, Any]) -> Resumption | None:
    """The checkpoint to continue from, None to start anew.

    Args:
        resume: ``auto`` for ``out/last.ckpt`` where there is one, ``never``, or a checkpoint of the same network, whose
            run may have had other settings.
        out: the run's folder.
        run: what ``describe_run`` says of the run.

    Raises:
        InputFileError: the checkpoint is missing, damaged or no checkpoint of a training run.
        UsageError: ``auto`` found a checkpoint of a run with other settings, labels or videos; or the checkpoint is of
            a run with other classes, another optimizer or other frozen weights, or has more epochs behind it than the
            run is to have.
    """
    path = out / LAST_FILE if resume == "auto" else Path(resume)
    if resume == "never" or (resume == "auto" and not path.is_file()):
        return None
    position, before = _read_run(path)
    _check_alike(path, before, run)
    changes = "; ".join(_differences(before, run))
    if changes and resume == "auto":
        on = f"`resume={str(path)!r}` to go on all the same, " if _has_same_weights(before, run) else ""
        msg = f"{path} is of another run: {changes}; give `resume='never'` to start anew, {on}or another `out`"
        raise UsageError(msg)
    _check_epochs(path, position, run["epochs"])
    if changes:
        logger.warning("going on from %s with other settings: %s", path, changes)
    is_done = position.epochs == run["epochs"]
    where = f"already trained for all {position.epochs} epochs" if is_done else position.describe(run["epochs"])
    logger.info("%s: %s", path, where if is_done else f"resuming {where}")
    measures_alike = is_done or all(before.get(name) == run[name] for name in _MEASURE)
    if not measures_alike:
        logger.warning("validated otherwise than before: the best epoch is one of those to come")
    return Resumption(checkpoint=path, position=position, measures_alike=measures_alike)


def check_checkpoint(path: Path) -> None:
    """Looks whether there is a checkpoint of a training run.

    Raises:
        InputFileError: it is missing, damaged or something else.
    """
    _read_run(path)


def check_steps(resumption: Resumption, *, steps_of_epoch: int, clips_of_step: int) -> None:
    """Looks whether the epoch that was under way can go on: whether its steps are those of this run.

    Raises:
        UsageError: they are not.
    """
    then, path = resumption.position, resumption.checkpoint
    if then.is_within_epoch and (then.steps_of_epoch, then.clips_of_step) != (steps_of_epoch, clips_of_step):
        msg = (
            f"{path} lies within an epoch of {then.steps_of_epoch} steps of {then.clips_of_step} clips, and now an "
            f"epoch has {steps_of_epoch} steps of {clips_of_step}; give the same videos, number of processes, "
            f"`batch_size` and `clips_per_video`, or `resume='never'` to start anew"
        )
        raise UsageError(msg)


def check_weights_fit(resumption: Resumption, module: nn.Module) -> None:
    """Looks whether a checkpoint has the weights of this run.

    Raises:
        UsageError: it has others, as of another network, or none of a moving average.
    """
    kept = _load(resumption.checkpoint)["state_dict"]
    wanted = module.state_dict()
    other = kept.keys() ^ wanted.keys()
    other |= {name for name in kept.keys() & wanted.keys() if kept[name].shape != wanted[name].shape}
    if other:
        msg = (
            f"{resumption.checkpoint} has other weights than this run, such as {min(other)}; give the `model`, "
            f"`teacher` and `ema` that it was trained with, or {_ANEW}"
        )
        raise UsageError(msg)


def _check_alike(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name in _NEEDED:
        if before.get(name) != now[name]:
            other = "other classes" if name == "labels" else f"another `{name}`"
            values = before.get(name), now[name]
            then, today = (first_few(value) if isinstance(value, list) else value for value in values)
            msg = f"{path} cannot go on with {other}: {then} then, {today} now; give what was then, or {_ANEW}"
            raise UsageError(msg)


def _has_same_weights(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether one run can go on from the other, as far as their settings tell."""
    averages = [bool(run.get("ema")) for run in (before, now)]
    return before.get("model") == now["model"] and averages[0] == averages[1]


def _check_epochs(path: Path, position: Position, epochs: int) -> None:
    begun = position.epochs + position.is_within_epoch
    if begun > epochs:
        msg = f"{path} has {begun} epochs behind it, more than the {epochs} asked for; give `epochs={begun + 1}`"
        raise UsageError(msg)


def _read_run(path: Path) -> tuple[Position, Mapping[str, Any]]:
    check_kind(path, TRAINING_RUN)
    if not path.is_file():
        msg = f"{path} does not exist; `resume` takes auto, never or a checkpoint such as runs/a/{LAST_FILE}"
        raise InputFileError(msg)
    try:
        checkpoint = _load(path)
        return Position.from_dict(checkpoint[POSITION_KEY]), dict(checkpoint[RUN_KEY])
    except Exception as error:  # whatever a file that is no checkpoint makes the unpickler raise
        msg = f"{path} is not a checkpoint of a training run; give `resume='never'` to start anew"
        raise InputFileError(msg) from error


def _load(path: Path) -> dict[str, Any]:
    """A checkpoint whose tensors are read when they are looked at."""
    loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    return loaded


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = [key for key in now if before.get(key) != now[key]]
    hidden = {"videos", "validation", "labels"}
    return [f"other {key}" if key in hidden else f"{key} {before.get(key)} then, {now[key]} now" for key in names]


def _names_hash(videos: LabeledVideos) -> str:
    listed = "\n".join(f"{video.label} {video.name}" for video in videos.videos)
    return hashlib.sha256(listed.encode()).hexdigest()

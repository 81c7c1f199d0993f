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

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.file_kinds import TRAINING_RUN, check_kind
from s2tf_edge.training.config import TrainConfig, without_effect
from s2tf_edge.training.module import RUN_KEY

__all__ = ["LAST_FILE", "Resumption", "describe_run", "find_checkpoint"]

logger = logging.getLogger(__name__)

LAST_FILE: Final = "last.ckpt"


@dataclass(frozen=True, kw_only=True)
class Resumption:
    """Where a run goes on."""

    checkpoint: Path
    epochs: int
    """Epochs that are done."""


def describe_run(
    config: TrainConfig, videos: LabeledVideos, validation: LabeledVideos, pretrained: Path | None
) -> dict[str, Any]:
    """All that decides in which weights a run ends, as plain values."""
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key not in without_effect()}
    return settings | {
        "labels": list(videos.labels),
        "videos": _names_hash(videos),
        "validation": _names_hash(validation),
        "pretrained": None if pretrained is None else str(pretrained),
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
        UsageError: ``auto`` found a checkpoint of a run with other settings, labels or videos; or the checkpoint has
            more epochs behind it than the run is to have.
    """
    path = out / LAST_FILE if resume == "auto" else Path(resume)
    if resume == "never" or (resume == "auto" and not path.is_file()):
        return None
    epochs, before = _read_run(path)
    changes = "; ".join(_differences(before, run))
    if changes and resume == "auto":
        msg = (
            f"{path} is of another run: {changes}; give `resume='never'` to start anew, "
            f"`resume={str(path)!r}` to go on all the same, or another `out`"
        )
        raise UsageError(msg)
    if epochs > run["epochs"]:
        msg = (
            f"{path} has {epochs} epochs behind it, more than the {run['epochs']} asked for; give `epochs={epochs + 1}`"
        )
        raise UsageError(msg)
    if changes:
        logger.warning("going on from %s with other settings: %s", path, changes)
    done = "already trained for all" if epochs == run["epochs"] else "resuming after"
    logger.info("%s: %s %d epochs", path, done, epochs)
    return Resumption(checkpoint=path, epochs=epochs)


def _read_run(path: Path) -> tuple[int, Mapping[str, Any]]:
    check_kind(path, TRAINING_RUN)
    if not path.is_file():
        msg = f"{path} does not exist; `resume` takes auto, never or a checkpoint such as runs/a/{LAST_FILE}"
        raise InputFileError(msg)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        # Written at the end of an epoch, before the trainer counts it.
        return int(checkpoint["epoch"]) + 1, dict(checkpoint[RUN_KEY])
    except Exception as error:  # whatever a file that is no checkpoint makes the unpickler raise
        msg = f"{path} is not a checkpoint of a training run; give `resume='never'` to start anew"
        raise InputFileError(msg) from error


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = [key for key in now if before.get(key) != now[key]]
    hidden = {"videos", "validation", "labels"}
    return [f"other {key}" if key in hidden else f"{key} {before.get(key)} then, {now[key]} now" for key in names]


def _names_hash(videos: LabeledVideos) -> str:
    listed = "\n".join(f"{video.label} {video.name}" for video in videos.videos)
    return hashlib.sha256(listed.encode()).hexdigest()

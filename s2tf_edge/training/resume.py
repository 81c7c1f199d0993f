"""Which checkpoint a run continues from, and whether it is one of the same run."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from s2tf_edge.data.labelled import LabelledVideos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.module import RUN_KEY

__all__ = ["LAST_FILE", "describe_run", "find_checkpoint"]

logger = logging.getLogger(__name__)

LAST_FILE: Final = "last.ckpt"
_WITHOUT_EFFECT: Final = ("workers",)
"""Settings that leave the weights as they are."""


def describe_run(
    config: TrainConfig, videos: LabelledVideos, validation: LabelledVideos, pretrained: Path | None
) -> dict[str, Any]:
    """All that decides in which weights a run ends, as plain values."""
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key not in _WITHOUT_EFFECT}
    return settings | {
        "labels": list(videos.labels),
        "videos": _names_hash(videos),
        "validation": _names_hash(validation),
        "pretrained": None if pretrained is None else str(pretrained),
    }


def find_checkpoint(resume: str | Path, out: Path, run: Mapping[str, Any]) -> Path | None:
    """The checkpoint to continue from, None to start anew.

    Args:
        resume: ``auto`` for ``out/last.ckpt`` where there is one, ``never``, or a checkpoint of the same network, whose
            run may have had other settings.
        out: the run's folder.
        run: what ``describe_run`` says of the run.

    Raises:
        InputFileError: the checkpoint is missing, damaged or no checkpoint of a training run.
        UsageError: ``auto`` found a checkpoint of a run with other settings, labels or videos.
    """
    path = out / LAST_FILE if resume == "auto" else Path(resume)
    if resume == "never" or (resume == "auto" and not path.is_file()):
        return None
    differing = _differences(_read_run(path), run)
    if not differing:
        return path
    changes = "; ".join(differing)
    if resume == "auto":
        msg = (
            f"{path} is of another run: {changes}; give --resume never to start anew, "
            f"--resume {path} to go on all the same, or another --out"
        )
        raise UsageError(msg)
    logger.warning("going on from %s with other settings: %s", path, changes)
    return path


def _read_run(path: Path) -> Mapping[str, Any]:
    try:
        run = torch.load(path, map_location="cpu", weights_only=True, mmap=True)[RUN_KEY]
    except FileNotFoundError as error:
        msg = f"{path} does not exist; --resume takes auto, never or a checkpoint such as runs/a/{LAST_FILE}"
        raise InputFileError(msg) from error
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        msg = f"{path} is not a checkpoint of a training run ({type(error).__name__}); use --resume never to start anew"
        raise InputFileError(msg) from error
    if not isinstance(run, Mapping):
        msg = f"{path} is not a checkpoint of a training run; use --resume never to start anew"
        raise InputFileError(msg)
    return run


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    names = [key for key in now if before.get(key) != now[key]]
    hidden = {"videos", "validation", "labels"}
    return [f"other {key}" if key in hidden else f"{key} {before.get(key)} then, {now[key]} now" for key in names]


def _names_hash(videos: LabelledVideos) -> str:
    listed = "\n".join(f"{video.label} {video.name}" for video in videos.videos)
    return hashlib.sha256(listed.encode()).hexdigest()

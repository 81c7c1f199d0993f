"""The settings of a training run: defaults, checks, and overrides from a TOML file."""

from __future__ import annotations

import dataclasses
import math
import sys
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.file_kinds import SETTINGS, check_kind

__all__ = ["LOSSES", "PRECISIONS", "TrainConfig", "read_overrides"]

LOSSES: Final = ("ce", "ce-l1", "ce-l1-l2")
PRECISIONS: Final = ("fp32", "bf16-mixed", "16-mixed")


_CLIPS_OF_A_PASS: Final = 240


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a network is trained.

    Raises:
        UsageError: a value is out of its range.
    """

    model: str
    """Name of the network, options behind a question mark: ``s2tf_r3d_10?width=0.25``."""
    epochs: int = 60
    """Passes over the training videos."""
    clips_per_video: int = 0
    """Clips taken of each training video in a pass; 0 takes as many as make 240 or more clips in all."""
    batch_size: int = 8
    """Clips in a step, on each process."""
    lr: float = 2e-3
    """Peak learning rate of AdamW, reached after the warm-up and brought to zero along a cosine."""
    weight_decay: float = 0.05
    """Weight decay of AdamW; norms and biases have none."""
    warmup: float = 0.1
    """Share of all steps in which the learning rate rises."""
    label_smoothing: float = 0.1
    """Share of each target spread over all classes."""
    dropout: float = 0.2
    """Dropout before the classifier."""
    frames: int | None = None
    """Frames in a clip; the network's own by default."""
    size: int | None = None
    """Side of the crop in pixels; the network's own by default."""
    resize_short_side: int | None = None
    """Pixels of the short side before cropping; 8/7 of the crop by default."""
    stride: int | None = None
    """Sampling stride in frames of a video of ``fps``; the network's own by default."""
    fps: float | None = None
    """Frames a second that the stride counts in; the network's own by default."""
    loss: str | None = None
    """ce, ce-l1 (mask) or ce-l1-l2 (mask and edges); by default all that the network has terms for."""
    min_scale: float = 0.7
    """Smallest training crop, as a share of the short side; 1 turns scale jitter off."""
    brightness: float = 0.2
    """Largest change of brightness and of contrast, as a share; 0 turns it off."""
    flips: bool = True
    """Whether clips may be mirrored; data sets whose classes are directions never are."""
    precision: str = "fp32"
    """fp32, bf16-mixed or 16-mixed."""
    workers: int = 1
    """Processes that read videos; 0 reads in the training process."""
    seed: int = 0
    """Seed of the weights, the order of clips and the augmentation."""

    def __post_init__(self) -> None:
        _check(self.epochs >= 1, "epochs must be one or more", self.epochs)
        _check(self.clips_per_video >= 0, "clips_per_video must be zero or more", self.clips_per_video)
        _check(self.batch_size >= 1, "batch-size must be one or more", self.batch_size)
        _check(self.lr > 0, "lr must be above zero", self.lr)
        _check(self.weight_decay >= 0, "weight_decay must be zero or more", self.weight_decay)
        _check(self.workers >= 0, "workers must be zero or more", self.workers)
        _check(0 < self.min_scale <= 1, "min_scale must lie in (0, 1]", self.min_scale)
        for name in ("warmup", "label_smoothing", "dropout", "brightness"):
            _check(0 <= getattr(self, name) < 1, f"{name} must lie in [0, 1)", getattr(self, name))
        _check(self.loss in (None, *LOSSES), f"loss must be one of {', '.join(LOSSES)}", self.loss)
        _check(self.precision in PRECISIONS, f"precision must be one of {', '.join(PRECISIONS)}", self.precision)

    def repeats(self, videos: int) -> int:
        """How many clips of each of ``videos`` videos make a pass."""
        return self.clips_per_video or math.ceil(_CLIPS_OF_A_PASS / videos)


def read_overrides(path: Path) -> dict[str, Any]:
    """Settings from a TOML file whose keys are the fields of ``TrainConfig``.

    Raises:
        InputFileError: the file cannot be read, is not TOML, or has a key that is no setting.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    check_kind(path, SETTINGS)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        msg = f"cannot read {path} as TOML: {error}"
        raise InputFileError(msg) from error
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    unknown = sorted(set(values) - set(names))
    if unknown:
        msg = f"{path} has unknown keys {unknown}; allowed are {names}"
        raise InputFileError(msg)
    types = typing.get_type_hints(TrainConfig)
    for key, value in values.items():
        allowed = _types(types[key])
        if type(value) not in allowed:
            wanted = " or ".join(kind.__name__ for kind in allowed)
            msg = f"{path}: {key} must be of type {wanted}, got {value!r}"
            raise InputFileError(msg)
    return values


def _types(hint: Any) -> tuple[type, ...]:
    """The types of TOML values that a field takes: ``int | None`` takes int, ``float`` takes int as well."""
    kinds = tuple(kind for kind in (typing.get_args(hint) or (hint,)) if kind is not type(None))
    return (*kinds, int) if kinds == (float,) else kinds


def _check(holds: bool, rule: str, got: object) -> None:
    if not holds:
        msg = f"{rule}, got {got!r}"
        raise UsageError(msg)

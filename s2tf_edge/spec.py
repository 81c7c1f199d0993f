"""What a network wants to see: one frozen description that training, calibration, evaluation and streaming share."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from s2tf_edge.errors import InputFileError, UsageError

__all__ = ["LAYOUT_DTYPES", "MAX_FRAMES", "ClipSpec"]

LAYOUT_DTYPES: Final = {"NCTHW": "float32", "NTHWC": "uint8"}
"""The two forms in which a network takes a clip, and the dtype that goes with each layout."""

MAX_FRAMES: Final = 1024
"""In a clip."""
_MAX_SIZE = 4096


@dataclass(frozen=True, kw_only=True)
class ClipSpec:
    """How a clip is cut from a video and fed to a network.

    A clip is ``frames`` frames, ``stride / fps`` seconds apart, scaled so that the short side has ``resize_short_side``
    pixels, cropped to ``size × size`` and normalized as ``(pixel / 255 - mean) / std``, channels in the order RGB.

    Raises:
        UsageError: a value is out of its range, or values contradict each other.
    """

    frames: int
    """Frames in a clip (T)."""
    size: int
    """Side of the square crop in pixels (H and W)."""
    stride: int = 1
    """Sampling stride: one frame is taken of every ``stride`` frames of a video of ``fps`` frames a second."""
    fps: float = 25.0
    """Frames a second that ``stride`` counts in; videos of any other frame rate are sampled at the same times."""
    resize_short_side: int = 0
    """Pixels that the short side is scaled to before cropping; 0 stands for ``size``."""
    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    """Mean by channel, of pixels in [0, 1]."""
    std: tuple[float, float, float] = (0.225, 0.225, 0.225)
    """Standard deviation by channel, of pixels in [0, 1]."""
    layout: str = "NCTHW"
    """Order of the network's input axes: NCTHW (normalized outside the graph) or NTHWC (raw pixels)."""
    dtype: str = "float32"
    """Type of the network's input: float32 with NCTHW, uint8 with NTHWC."""

    def __post_init__(self) -> None:
        if not self.resize_short_side:
            object.__setattr__(self, "resize_short_side", self.size)
        _check_range("frames", self.frames, 1, MAX_FRAMES)
        _check_range("size", self.size, 1, _MAX_SIZE)
        _check_range("stride", self.stride, 1, 1000)
        _check_range("resize_short_side", self.resize_short_side, self.size, _MAX_SIZE)
        if not 0 < self.fps <= 1000:
            msg = f"fps must lie in (0, 1000], got {self.fps}"
            raise UsageError(msg)
        for name in ("mean", "std"):
            self._set_channels(name)
        if LAYOUT_DTYPES.get(self.layout) != self.dtype:
            allowed = " or ".join(f"{layout} with {dtype}" for layout, dtype in LAYOUT_DTYPES.items())
            msg = f"layout and dtype must be {allowed}, got {self.layout} with {self.dtype}"
            raise UsageError(msg)

    def _set_channels(self, name: str) -> None:
        values = tuple(float(value) for value in getattr(self, name))
        if len(values) != 3 or not all(map(math.isfinite, values)) or (name == "std" and min(values) <= 0):
            msg = f"{name} must be three finite numbers{' above zero' if name == 'std' else ''}, got {list(values)}"
            raise UsageError(msg)
        object.__setattr__(self, name, values)

    @property
    def period_seconds(self) -> float:
        """Seconds between two frames of a clip."""
        return self.stride / self.fps

    @property
    def span_seconds(self) -> float:
        """Seconds from the first frame of a clip to its last."""
        return (self.frames - 1) * self.period_seconds

    def input_shape(self, batch: int = 1) -> tuple[int, int, int, int, int]:
        """The shape of the network's input for ``batch`` clips, in ``layout``."""
        if self.layout == "NCTHW":
            return (batch, 3, self.frames, self.size, self.size)
        return (batch, self.frames, self.size, self.size, 3)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; ``from_dict`` takes it back."""
        values = dataclasses.asdict(self)
        return values | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ClipSpec:
        """Reads what ``to_dict`` wrote.

        Raises:
            InputFileError: a key is unknown or missing, or a value is not allowed.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - names)
        if unknown:
            msg = f"clip spec has unknown keys {unknown}; allowed are {sorted(names)}"
            raise InputFileError(msg)
        try:
            return cls(**values)
        except (TypeError, ValueError, OverflowError, UsageError) as error:
            msg = f"clip spec is not valid: {error}"
            raise InputFileError(msg) from error


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        msg = f"{name} must be a whole number from {low} to {high}, got {value!r}"
        raise UsageError(msg)

"""A network's saliency mask as a heat map over the pictures of its source: where it looked to tell the action.

┌─────┬───────────────┬─────┐
│     ⌜      ░░░      ⌝     │    the network sees the center crop, between the corner marks
│     │    ░▒▓█▓▒░    │     │    what it holds for important glows, the rest stays clear
│     ⌞      ░▒░      ⌟     │
└─────┴───────────────┴─────┘
"""

from __future__ import annotations

import functools
import math
from typing import Final

import av
import numpy as np
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from s2tf_edge.preprocess import crop_corner, scaled_size
from s2tf_edge.spec import ClipSpec

__all__ = ["HeatMap", "crop_region"]

_Floats = NDArray[np.float32]

_SIDE: Final = 96
"""Pixels of the glow before it is scaled to the picture: far more than a mask has."""
_FADE: Final = 5
"""Of these pixels at each edge."""
_FOLLOW_SECONDS: Final = 0.2
"""In which the glow covers two thirds of the way to a new mask, so that it moves rather than jumps."""
_SETTLED: Final = 1 / 255
_LOW_PERCENT: Final = 50.0
_DECAY: Final = 0.1
"""Weight of the newest mask in the running range; a mask that exceeds the range widens it at once."""
_MIN_CONTRAST: Final = 0.1
"""Fraction of the mask's own size that its range spans at the least: a flat mask is no finding."""
_TINY: Final = 1e-30
_CLEAR: Final = 0.12
"""Strength up to which nothing is drawn."""
_OPACITY: Final = 0.7
_MARK_OPACITY: Final = 110
_COLORS: Final = (
    (0.0, (70, 10, 120)),
    (0.3, (150, 20, 140)),
    (0.55, (230, 60, 80)),
    (0.75, (250, 130, 30)),
    (0.9, (250, 205, 60)),
    (1.0, (250, 245, 190)),
)
"""Strength and color, ever lighter. None is above 250: the rounding of a blend has room."""


def crop_region(height: int, width: int, spec: ClipSpec) -> tuple[slice, slice]:
    """The rows and columns of a picture that the network sees of it, as ``s2tf_edge.preprocess`` cuts them."""
    scaled_height, scaled_width = scaled_size(height, width, short_side=spec.resize_short_side)
    top, left = crop_corner(scaled_height, scaled_width, spec.size)
    return _scale_slice(top, spec.size, height / scaled_height), _scale_slice(left, spec.size, width / scaled_width)


class HeatMap:
    """The glow of one source; made once for each mask or step between two, laid over any number of pictures."""

    def __init__(self, spec: ClipSpec) -> None:
        self._spec = spec
        self._range: tuple[float, float] | None = None
        self._target: _Floats | None = None
        self._shown: _Floats | None = None
        self._shown_at = -math.inf
        self._glow: _Glow | None = None

    def update(self, mask: _Floats) -> None:
        """Takes the next mask, float32 [H', W'] over the crop."""
        strength = self._strength(np.nan_to_num(mask))
        if self._shown is None or self._shown.shape != strength.shape:
            self._shown, self._glow = strength, None
        self._target = strength

    def clear(self) -> None:
        """Forgets the mask, as where the signal is lost; its range stays, it is the network's."""
        self._target = self._shown = None

    def draw(self, image: NDArray[np.uint8], *, pts_seconds: float) -> None:
        """Draws the glow into ``image``, uint8 [H, W, 3] in RGB, as it stands at ``pts_seconds``."""
        moved = self._follow(pts_seconds)
        if self._shown is None:
            return
        rows, columns = crop_region(image.shape[0], image.shape[1], self._spec)
        region = image[rows, columns]
        if self._glow is None or self._glow.shape != region.shape:
            self._glow, moved = _Glow(region.shape[0], region.shape[1]), True
        if moved:
            self._glow.update(self._shown)
        self._glow.blend(region)
        _mark_corners(region)

    def _follow(self, pts_seconds: float) -> bool:
        """Moves what is shown toward the newest mask; returns whether it moved."""
        elapsed_seconds, self._shown_at = pts_seconds - self._shown_at, pts_seconds
        if self._shown is None or self._target is None or self._shown is self._target:
            return False
        weight = 1 - math.exp(-elapsed_seconds / _FOLLOW_SECONDS)
        step = weight * (self._target - self._shown)
        is_there = float(np.abs(self._target - self._shown - step).max()) < _SETTLED
        self._shown = self._target if is_there else self._shown + step
        return True

    def _strength(self, mask: _Floats) -> _Floats:
        """The mask in [0, 1], by a range that follows the masks slowly, so that the glow does not flicker."""
        low, high = float(np.percentile(mask, _LOW_PERCENT)), float(mask.max())
        if self._range is not None:
            before_low, before_high = self._range
            low = before_low + _DECAY * (low - before_low)
            high = max(high, before_high + _DECAY * (high - before_high))
        self._range = low, high
        span = max(high - low, _MIN_CONTRAST * max(abs(low), abs(high)), _TINY)
        strength: _Floats = np.clip((mask - low) / span, 0, 1, dtype=np.float32)
        return strength


class _Glow:
    """Colors for one region: ``picture · keep / 256 + light``, plane by plane."""

    def __init__(self, height: int, width: int) -> None:
        self.shape = (height, width, 3)
        self._scaler = VideoReformatter()
        self._light: list[NDArray[np.uint8]] = []
        self._keep = np.empty((height, width), np.uint16)
        self._blended = np.empty((height, width), np.uint16)

    def update(self, strength: _Floats) -> None:
        rows, columns = _weights(strength.shape[0]), _weights(strength.shape[1])
        levels = np.clip(255 * _fading() * (rows @ strength @ columns.T), 0, 255).astype(np.uint8)
        *self._light, keep = self._scale_planes([table[levels] for table in _tables()])
        # From 1 to 256, so that a clear pixel comes out as it is.
        np.add(keep, 1, out=self._keep, dtype=np.uint16)

    def blend(self, region: NDArray[np.uint8]) -> None:
        for channel, light in enumerate(self._light):
            plane = region[..., channel]
            np.multiply(plane, self._keep, out=self._blended)
            np.right_shift(self._blended, 8, out=self._blended)
            np.add(self._blended, light, out=plane, casting="unsafe")

    def _scale_planes(self, planes: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        """Four planes in the region's size. For swscale they are Y, U, V and A, all of which it scales alike."""
        small = av.VideoFrame(_SIDE, _SIDE, "yuva444p")
        for plane, values in zip(small.planes, planes, strict=True):
            _pixels(plane)[:] = values
        large = self._scaler.reformat(small, self.shape[1], self.shape[0], interpolation="BILINEAR")
        return [_pixels(plane) for plane in large.planes]


def _pixels(plane: VideoPlane) -> NDArray[np.uint8]:
    """The plane as an array, uint8 [H, W], in its own memory."""
    rows = np.asarray(memoryview(plane)).view(np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


@functools.cache
def _weights(cells: int) -> _Floats:
    """How each of ``_SIDE`` pixels is made of ``cells`` cells, float32 [_SIDE, cells].

    The cubic filter of Mitchell and Netravali (1988), smooth and with hardly any ringing; beyond the edge the last cell
    goes on.
    """
    centers = (np.arange(_SIDE) + 0.5) * cells / _SIDE - 0.5
    weights = np.zeros((_SIDE, cells))
    for offset in range(-1, 3):
        index = np.floor(centers).astype(int) + offset
        x = np.abs(centers - index)
        near, far = (7 * x**3 - 12 * x**2 + 16 / 3) / 6, (-7 / 3 * x**3 + 12 * x**2 - 20 * x + 32 / 3) / 6
        np.add.at(weights, (np.arange(_SIDE), index.clip(0, cells - 1)), np.where(x < 1, near, far))
    return weights.astype(np.float32)


@functools.cache
def _fading() -> _Floats:
    """One but toward the edge of the crop, where the glow ends softly: float32 [_SIDE, _SIDE]."""
    from_edge = np.minimum(np.arange(_SIDE), np.arange(_SIDE)[::-1])
    line = np.minimum(1, (from_edge + 0.5) / _FADE).astype(np.float32)
    return np.outer(line, line)


@functools.cache
def _tables() -> tuple[NDArray[np.uint8], ...]:
    """For each of 256 strengths the red, green and blue that are added, and what is kept of the picture."""
    strength = np.linspace(0, 1, 256)
    rise = np.clip((strength - _CLEAR) / (1 - _CLEAR), 0, 1)
    alpha = _OPACITY * rise
    stops, colors = zip(*_COLORS, strict=True)
    lights = [alpha * np.interp(strength, stops, channel) for channel in zip(*colors, strict=True)]
    return tuple(table.astype(np.uint8) for table in (*lights, 255 * (1 - alpha)))


def _mark_corners(region: NDArray[np.uint8]) -> None:
    """Faint corner marks, so that one sees what the network cannot see."""
    height, width = region.shape[:2]
    length, line = max(2, min(height, width) // 14), max(1, min(height, width) // 240)
    for rows in (slice(line), slice(height - line, height)):
        for columns in (slice(length), slice(width - length, width)):
            _lighten(region[rows, columns])
    for rows in (slice(line, length), slice(height - length, height - line)):
        for columns in (slice(line), slice(width - line, width)):
            _lighten(region[rows, columns])


def _lighten(part: NDArray[np.uint8]) -> None:
    part += ((255 - part).astype(np.uint16) * _MARK_OPACITY // 255).astype(np.uint8)


def _scale_slice(start: int, size: int, scale: float) -> slice:
    return slice(round(start * scale), round((start + size) * scale))

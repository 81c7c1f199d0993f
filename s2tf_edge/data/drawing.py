"""Shapes, backgrounds and noise for synthetic scenes, in vectorized numpy."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHAPES", "background", "cover", "hue_colors", "noise"]

Floats = NDArray[np.float32]
Shape = Callable[[Floats, Floats], Floats]
"""Depth below a shape's edge, negative outside, at coordinates (to the right, downwards) within the unit circle."""

_OCTAVES: Final = ((3, 0.30), (7, 0.22), (15, 0.14))
"""Cells along the short side and amplitude of each layer of a background."""
_RIM: Final = 0.14
"""Width of a shape's dark rim, in radii."""


def hue_colors(hues: NDArray[np.float64]) -> Floats:
    """Saturated colors, float32 [..., 3] in [0, 1], of hues in cycles: 0 is red, 1/3 green, 2/3 blue."""
    ramps = np.abs((hues[..., None] * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    colors: Floats = np.clip(ramps, 0.08, 0.95).astype(np.float32)
    return colors


def cover(
    shape: Shape,
    *,
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
    radius: NDArray[np.float64],
    angle: NDArray[np.float64],
) -> tuple[Floats, Floats]:
    """Which pixels a shape covers in each of T frames.

    Args:
        shape: one of ``SHAPES``.
        rows: [T, H], pixels downwards from the shape's center.
        columns: [T, W], pixels to the right of it.
        radius: [T], pixels.
        angle: [T], radians clockwise.

    Returns:
        Coverage and brightness, both float32 [T, H, W] in [0, 1]: edges are smooth, and have a dark rim.
    """
    cos, sin = (np.cos(angle) / radius)[:, None], (np.sin(angle) / radius)[:, None]
    right = (cos * columns).astype(np.float32)[:, None, :] + (sin * rows).astype(np.float32)[:, :, None]
    downwards = (-sin * columns).astype(np.float32)[:, None, :] + (cos * rows).astype(np.float32)[:, :, None]
    depth = shape(right, downwards)
    coverage: Floats = np.clip(depth * radius.astype(np.float32)[:, None, None] + np.float32(0.5), 0, 1)
    brightness: Floats = np.clip(depth * np.float32(0.6 / _RIM) + np.float32(0.4), np.float32(0.4), 1)
    return coverage, brightness


def background(seed: int, height: int, width: int, offsets: NDArray[np.int64]) -> Floats:
    """A texture with scattered shapes, shifted for each frame.

    Args:
        seed: of the texture.
        height: pixels.
        width: pixels.
        offsets: [T, 2], pixels down and across; what leaves at one edge comes back at the other.

    Returns:
        Float32 [T, H, W, 3] in [0, 1], new.
    """
    return _rolled(_texture(seed, height, width), offsets)


def noise(seed: int, height: int, width: int, ticks: NDArray[np.int64]) -> Floats:
    """Pixel noise of unit variance, float32 [T, H, W, 3]: the same for the same one of T ``ticks``, whenever asked."""
    # One tile at offsets as good as random: drawing it anew for each frame takes longer than the rest of a scene.
    offsets = np.stack([ticks * 7919 % height, ticks * 104729 % width], axis=1)
    return _rolled(_noise_tile(seed, height, width), offsets)


def _rolled(tile: Floats, offsets: NDArray[np.int64]) -> Floats:
    frames = np.empty((len(offsets), *tile.shape), np.float32)
    for frame, (down, across) in zip(frames, offsets.tolist(), strict=True):
        frame[...] = np.roll(tile, (down, across), axis=(0, 1))
    return frames


@functools.lru_cache(maxsize=4)
def _noise_tile(seed: int, height: int, width: int) -> Floats:
    return np.random.default_rng((seed, 1)).standard_normal((height, width, 3), np.float32)


@functools.lru_cache(maxsize=4)
def _texture(seed: int, height: int, width: int) -> Floats:
    rng = np.random.default_rng((seed, 2))
    short = min(height, width)
    texture = np.full((height, width, 3), rng.uniform(0.3, 0.6), np.float32)
    for cells, amplitude in _OCTAVES:
        grid = rng.uniform(-1, 1, (round(cells * height / short), round(cells * width / short), 3))
        # Mostly gray, slightly colored.
        grid = amplitude * (0.65 * grid[..., :1] + 0.35 * grid)
        down, across = _interpolation(height, grid.shape[0]), _interpolation(width, grid.shape[1])
        texture += np.einsum("hg,gkc,wk->hwc", down, grid, across, optimize=True).astype(np.float32)
    for _ in range(int(rng.integers(3, 7))):
        _scatter(texture, rng)
    return np.clip(texture, 0.03, 0.97)


def _scatter(texture: Floats, rng: np.random.Generator) -> None:
    """Paints one muted shape that stands still on the texture, over its edges where it lies there."""
    height, width, _ = texture.shape
    coverage, brightness = cover(
        SHAPES[int(rng.integers(len(SHAPES)))],
        rows=_ring(height, rng.uniform(0, height))[None],
        columns=_ring(width, rng.uniform(0, width))[None],
        radius=rng.uniform(0.08, 0.18, 1) * min(height, width),
        angle=rng.uniform(0, 2 * np.pi, 1),
    )
    color = 0.35 * hue_colors(rng.uniform(size=1)) + np.float32(rng.uniform(0.05, 0.4))
    texture += coverage[0, ..., None] * np.float32(0.8) * (color * brightness[0, ..., None] - texture)


def _ring(length: int, origin: float) -> NDArray[np.float64]:
    """Signed distance of each of ``length`` pixels from ``origin``, the shorter way round."""
    distance = np.arange(length, dtype=np.float64) - origin
    return (distance + length / 2) % length - length / 2


def _interpolation(length: int, cells: int) -> NDArray[np.float64]:
    """Weights [length, cells] that spread a ring of ``cells`` values smoothly over ``length`` pixels."""
    position = (np.arange(length) + 0.5) / length * cells
    cell = position.astype(np.int64)
    share = position - cell
    share = share * share * (3 - 2 * share)
    weights = np.zeros((length, cells))
    np.add.at(weights, (np.arange(length), cell % cells), 1 - share)
    np.add.at(weights, (np.arange(length), (cell + 1) % cells), share)
    return weights


def _either(first: Floats, second: Floats) -> Floats:
    union: Floats = np.maximum(first, second)
    return union


def _both(first: Floats, second: Floats) -> Floats:
    overlap: Floats = np.minimum(first, second)
    return overlap


def _box(right: Floats, down: Floats, *, left: float, top: float, width: float, height: float) -> Floats:
    across: Floats = np.float32(width / 2) - np.abs(right - np.float32(left + width / 2))
    along: Floats = np.float32(height / 2) - np.abs(down - np.float32(top + height / 2))
    return _both(across, along)


def _disc(right: Floats, down: Floats, *, x: float, y: float, radius: float) -> Floats:
    distance: Floats = np.sqrt(np.square(right - np.float32(x)) + np.square(down - np.float32(y)))
    return np.float32(radius) - distance


def _cone(right: Floats, down: Floats, *, slope: float) -> Floats:
    """From a base at -0.1 to a tip at 1, ``slope`` being the sine of half the angle there."""
    along: Floats = (np.float32(1) - right) * np.float32(slope)
    away: Floats = np.abs(down) * np.float32(math.sqrt(1 - slope**2))
    return _both(right + np.float32(0.1), along - away)


def _arrow(right: Floats, down: Floats) -> Floats:
    head = _cone(right, down, slope=0.6)
    return _either(head, _box(right, down, left=-0.9, top=-0.28, width=0.95, height=0.56))


def _corner(right: Floats, down: Floats) -> Floats:
    upright = _box(right, down, left=-0.6, top=-0.8, width=0.55, height=1.6)
    return _either(upright, _box(right, down, left=-0.6, top=0.25, width=1.3, height=0.55))


def _flag(right: Floats, down: Floats) -> Floats:
    pole = _box(right, down, left=-0.55, top=-0.85, width=0.34, height=1.7)
    return _either(pole, _disc(right, down, x=0.1, y=-0.33, radius=0.52))


def _drop(right: Floats, down: Floats) -> Floats:
    return _either(_cone(right, down, slope=0.46), _disc(right, down, x=-0.35, y=0.0, radius=0.6))


SHAPES: Final[tuple[Shape, ...]] = (_arrow, _corner, _flag, _drop)
"""None of them looks the same after part of a turn."""

"""RandAugment (Cubuk et al., NeurIPS 2020) over clips: a few operations, each with the same parameters in every frame.

The operations are those of timm, SlowFast and PyTorchVideo but for inversion. What they measure, as a histogram, they
measure over the whole clip: measured frame by frame, it would flicker.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from s2tf_edge.training.augmentation.colors import LUMA
from s2tf_edge.training.settings.augmentation import MAX_MAGNITUDE

__all__ = ["OPERATIONS", "randaugment"]

_Clip = NDArray[np.uint8]
_MAX_CHANGE: Final = 0.9
"""Of a factor: from 0.1 to 1.9."""
_MAX_DEGREES: Final = 30
_MAX_SHEAR: Final = 0.3
_MAX_SHIFT: Final = 0.45
_MAX_LOST_BITS: Final = 4
_LEVELS: Final = np.arange(256)
_CENTER_WEIGHT: Final = 5
"""In the blur that sharpness is told from: PIL's, of which the eight neighbors have a weight of 1."""


def randaugment(
    frames: _Clip, rng: np.random.Generator, *, count: int, magnitude: float, fill: NDArray[np.float32]
) -> _Clip:
    """Applies operations drawn at random, one after the other.

    Args:
        frames: uint8 [T, H, W, 3].
        rng: what operations and the signs of their magnitudes are drawn from.
        count: of operations; one may be drawn twice.
        magnitude: from 0, which changes next to nothing, to 10.
        fill: float32 [3], from 0 to 255: what comes into sight where the picture is moved.

    Returns:
        Uint8 [T, H, W, 3].
    """
    names = list(OPERATIONS)
    for _ in range(count):
        name = names[int(rng.integers(len(names)))]
        sign = 1.0 if rng.random() < 0.5 else -1.0
        frames = OPERATIONS[name](frames, sign * magnitude / MAX_MAGNITUDE, fill)
    return frames


def _posterize(frames: _Clip, level: float, _fill: NDArray[np.float32]) -> _Clip:
    lost = round(abs(level) * _MAX_LOST_BITS)
    return frames & np.uint8(0xFF << lost & 0xFF)


def _solarize(frames: _Clip, level: float, _fill: NDArray[np.float32]) -> _Clip:
    return _map_levels(frames, np.where(np.less(_LEVELS, 256 * (1 - abs(level))), _LEVELS, 255 - _LEVELS))


def _stretch_contrast(frames: _Clip, _level: float, _fill: NDArray[np.float32]) -> _Clip:
    low, high = frames.min(axis=(0, 1, 2)), frames.max(axis=(0, 1, 2))
    tables: list[NDArray[np.floating]] = [
        (_LEVELS - float(least)) * (255 / max(1.0, float(most) - float(least)))
        for least, most in zip(low, high, strict=True)
    ]
    return _map_channels(frames, tables)


def _equalize(frames: _Clip, _level: float, _fill: NDArray[np.float32]) -> _Clip:
    tables: list[NDArray[np.floating]] = []
    for channel in range(3):
        shares = np.cumsum(np.bincount(frames[..., channel].ravel(), minlength=256))
        darkest = shares[shares > 0][0]
        tables.append((shares - darkest) * (255.0 / max(1, shares[-1] - darkest)))
    return _map_channels(frames, tables)


def _change_brightness(frames: _Clip, level: float, _fill: NDArray[np.float32]) -> _Clip:
    return _map_levels(frames, _LEVELS * (1 + _MAX_CHANGE * level))


def _change_contrast(frames: _Clip, level: float, _fill: NDArray[np.float32]) -> _Clip:
    gray = float(frames.mean(axis=(0, 1, 2)) @ LUMA)
    return _map_levels(frames, gray + (_LEVELS - gray) * (1 + _MAX_CHANGE * level))


def _change_color(frames: _Clip, level: float, _fill: NDArray[np.float32]) -> _Clip:
    gray = (frames.astype(np.float32) @ LUMA.astype(np.float32))[..., None]
    return _to_pixels(gray + (frames - gray) * np.float32(1 + _MAX_CHANGE * level))


def _change_sharpness(frames: _Clip, level: float, _fill: NDArray[np.float32]) -> _Clip:
    pictures = _to_tensor(frames)
    kernel = torch.ones(3, 1, 3, 3)
    kernel[:, :, 1, 1] = _CENTER_WEIGHT
    padded = functional.pad(pictures, (1, 1, 1, 1), mode="replicate")
    blurred = functional.conv2d(padded, kernel / kernel[0].sum(), groups=3)
    return _to_frames(torch.lerp(blurred, pictures, 1 + _MAX_CHANGE * level))


def _rotate(frames: _Clip, level: float, fill: NDArray[np.float32]) -> _Clip:
    angle = math.radians(_MAX_DEGREES * level)
    # Coordinates run from -1 to 1 in both directions, whatever the proportions.
    aspect = frames.shape[1] / frames.shape[2]
    cosine, sine = math.cos(angle), math.sin(angle)
    return _warp(frames, [[cosine, -sine * aspect, 0], [sine / aspect, cosine, 0]], fill)


def _shear_x(frames: _Clip, level: float, fill: NDArray[np.float32]) -> _Clip:
    return _warp(frames, [[1, _MAX_SHEAR * level, 0], [0, 1, 0]], fill)


def _shear_y(frames: _Clip, level: float, fill: NDArray[np.float32]) -> _Clip:
    return _warp(frames, [[1, 0, 0], [_MAX_SHEAR * level, 1, 0]], fill)


def _translate_x(frames: _Clip, level: float, fill: NDArray[np.float32]) -> _Clip:
    return _warp(frames, [[1, 0, 2 * _MAX_SHIFT * level], [0, 1, 0]], fill)


def _translate_y(frames: _Clip, level: float, fill: NDArray[np.float32]) -> _Clip:
    return _warp(frames, [[1, 0, 0], [0, 1, 2 * _MAX_SHIFT * level]], fill)


def _warp(frames: _Clip, matrix: list[list[float]], fill: NDArray[np.float32]) -> _Clip:
    """Moves the picture: where each pixel is taken from, in coordinates from -1 to 1."""
    background = torch.from_numpy(fill).view(1, 3, 1, 1)
    pictures = _to_tensor(frames) - background
    grid = functional.affine_grid(torch.tensor([matrix]), [1, *pictures.shape[1:]], align_corners=False)
    moved = functional.grid_sample(pictures, grid.expand(len(frames), -1, -1, -1), align_corners=False)
    return _to_frames(moved + background)


def _to_tensor(frames: _Clip) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float()


def _to_frames(pictures: torch.Tensor) -> _Clip:
    return _to_pixels(pictures.permute(0, 2, 3, 1).numpy())


def _to_pixels(values: NDArray[np.floating]) -> _Clip:
    pixels: _Clip = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return pixels


def _map_levels(frames: _Clip, table: NDArray[np.floating] | NDArray[np.integer]) -> _Clip:
    mapped: _Clip = _to_pixels(table.astype(np.float64))[frames]
    return mapped


def _map_channels(frames: _Clip, tables: list[NDArray[np.floating]]) -> _Clip:
    return np.stack([_to_pixels(table)[frames[..., channel]] for channel, table in enumerate(tables)], axis=-1)


OPERATIONS: Final[dict[str, Callable[[_Clip, float, NDArray[np.float32]], _Clip]]] = {
    "stretch_contrast": _stretch_contrast,
    "equalize": _equalize,
    "posterize": _posterize,
    "solarize": _solarize,
    "brightness": _change_brightness,
    "contrast": _change_contrast,
    "color": _change_color,
    "sharpness": _change_sharpness,
    "rotate": _rotate,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
}
"""From a clip, a level from -1 to 1 and what fills holes to a clip."""

"""Which part of the picture a clip shows, and its resizing.

Resizing is PyTorch's antialiased bilinear filter, which takes a whole clip at once in a quarter of the time that
swscale takes frame by frame. Where a side becomes three quarters as long or longer, the two differ by two levels of 255
at most.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

__all__ = ["draw_box", "draw_crop", "resize"]


def draw_crop(
    frames: NDArray[np.uint8], rng: np.random.Generator, *, min_scale: float, aspect_jitter: float
) -> NDArray[np.uint8]:
    """A random part of the picture, the same in every frame.

    Args:
        frames: uint8 [T, H, W, 3].
        rng: what it is drawn from.
        min_scale: its smallest side, as a share of the short side of the frames.
        aspect_jitter: its width is exp(±aspect_jitter) times its height, at most; the area stays, as far as it fits.

    Returns:
        A view, uint8 [T, h, w, 3]; square without jitter.
    """
    side = min(frames.shape[1:3]) * rng.uniform(min_scale, 1)
    stretch = math.exp(rng.uniform(-aspect_jitter, aspect_jitter) / 2) if aspect_jitter else 1.0
    height, width = (
        min(max(1, round(length)), limit)
        for length, limit in zip((side / stretch, side * stretch), frames.shape[1:3], strict=True)
    )
    top, left = draw_box(frames.shape[1:3], (height, width), rng)
    return frames[:, top : top + height, left : left + width]


def draw_box(picture: tuple[int, ...], box: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Row and column of the upper left pixel of a box that lies anywhere in a picture; both by height and width."""
    return int(rng.integers(picture[0] - box[0] + 1)), int(rng.integers(picture[1] - box[1] + 1))


def resize(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scales frames to a square, whatever their proportions.

    Args:
        frames: uint8 [T, H, W, 3].
        size: side of the square in pixels.

    Returns:
        Uint8 [T, size, size, 3]; ``frames`` themselves where they are of that size.
    """
    if frames.shape[1:3] == (size, size):
        return frames
    pictures = torch.from_numpy(frames).permute(0, 3, 1, 2)
    scaled = functional.interpolate(pictures, size=(size, size), mode="bilinear", antialias=True)
    result: NDArray[np.uint8] = scaled.permute(0, 2, 3, 1).numpy()
    return result

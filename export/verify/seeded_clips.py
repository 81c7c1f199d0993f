"""Clips to verify on where there are no videos."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.spec import ClipSpec

__all__ = ["SEEDED_CLIPS", "Frames", "seeded_clips"]

Frames = NDArray[np.uint8]
"""A clip before it is normalized: uint8 [T, S, S, 3]."""
SEEDED_CLIPS: Final = 8
"""How many there are, unless asked for more or fewer."""


def seeded_clips(spec: ClipSpec, *, count: int = SEEDED_CLIPS, seed: int = 0) -> list[Frames]:
    """Clips to compare on where there are no videos: colored blobs that drift and fade, the same for the same seed.

    White noise would do worse: the first layers average it away, and whatever the clip, the logits are nearly the same.

    Returns:
        ``count`` clips of frames, each uint8 [T, S, S, 3].
    """
    random = np.random.default_rng(seed)
    return [_seeded_clip(spec, random) for _ in range(count)]


def _seeded_clip(spec: ClipSpec, random: np.random.Generator) -> Frames:
    cells = int(random.integers(2, 7))
    blobs = random.random((max(2, spec.frames // 4), cells, cells, 3)) * 255
    for axis, length in enumerate((spec.frames, spec.size, spec.size)):
        blobs = _stretch(blobs, length, axis=axis)
    return blobs.astype(np.uint8)


def _stretch(values: NDArray[np.float64], length: int, *, axis: int) -> NDArray[np.float64]:
    """Interpolates linearly along one axis of two or more points."""
    places = np.linspace(0, values.shape[axis] - 1, length)
    below = np.minimum(places.astype(int), values.shape[axis] - 2)
    shape = [-1 if index == axis else 1 for index in range(values.ndim)]
    weight = (places - below).reshape(shape)
    stretched: NDArray[np.float64] = values.take(below, axis=axis) * (1 - weight)
    stretched += values.take(below + 1, axis=axis) * weight
    return stretched

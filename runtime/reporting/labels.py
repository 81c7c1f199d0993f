"""Where the labels of a plot go, so that they cover neither points nor one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

__all__ = ["Box", "place_labels"]

_STEP = 6
_REACH = 96
_OUTSIDE_WEIGHT = 20.0
_THIN_WEIGHT = 0.2
_DISTANCE_WEIGHT = 4.0
_OFFSETS: Final = [
    (across, up) for across in range(-_REACH, _REACH + 1, _STEP) for up in range(-_REACH, _REACH + 1, _STEP)
]
"""Distances from a point to its label's nearest edge; 0 centers the label on the point in that direction."""


class Box(NamedTuple):
    """A rectangle in pixels, y upwards."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Area in common."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(width, 0) * max(height, 0)

    @property
    def area(self) -> float:
        """In square pixels."""
        return (self.right - self.left) * (self.top - self.bottom)


def place_labels(
    anchors: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    *,
    obstacles: Sequence[Box],
    thin: Sequence[Box],
    bounds: Box,
) -> list[Box]:
    """Gives each label a place near its point that covers little, in the order given.

    Args:
        anchors: the point of each label.
        sizes: width and height of each label.
        obstacles: what no label should cover.
        thin: lines that a label had better not cover, but may rather than move far away.
        bounds: what no label should leave.
    """
    taken = list(obstacles)
    placed = []
    for anchor, size in zip(anchors, sizes, strict=True):

        def cost(
            offset: tuple[int, int], anchor: tuple[float, float] = anchor, size: tuple[float, float] = size
        ) -> float:
            box = _box(anchor, size, offset)
            covered = sum(box.overlap(other) for other in taken) + _THIN_WEIGHT * sum(map(box.overlap, thin))
            outside = box.area - box.overlap(bounds)
            return covered + _OUTSIDE_WEIGHT * outside + _DISTANCE_WEIGHT * math.hypot(*offset)

        best = _box(anchor, size, min(_OFFSETS, key=cost))
        taken.append(best)
        placed.append(best)
    return placed


def _box(anchor: tuple[float, float], size: tuple[float, float], offset: tuple[int, int]) -> Box:
    left = _edge(anchor[0], size[0], offset[0])
    bottom = _edge(anchor[1], size[1], offset[1])
    return Box(left, bottom, left + size[0], bottom + size[1])


def _edge(at: float, length: float, offset: int) -> float:
    """The lower edge of a label that lies beyond its point on the side of ``offset``, or is centered on it for 0."""
    if offset == 0:
        return at - length / 2
    return at + offset if offset > 0 else at + offset - length

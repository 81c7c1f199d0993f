"""Draws the zones of a picture: a frame around each, and in its upper left corner its name and its best label.

┌──────────┬───────────────┐
│          ┏━━━━━━━━━┓     │
│          ┃▒door▒▒▒▒┃     │    the name, and below it the label and its score
│          ┃▒walk▒91%┃     │
│          ┗━━━━━━━━━┛     │
└──────────────────────────┘
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.runtime.sinks.glyphs import draw_text
from s2tf_edge.runtime.streaming.regions import to_pixels
from s2tf_edge.runtime.streaming.zones import Zone

__all__ = ["ZoneBoxes", "part_of"]

_MIN_LINE: Final = 12
"""Pixels of a line of text that can still be read."""
_COLORS: Final = ((0, 150, 140), (214, 112, 20), (104, 92, 214), (196, 48, 96), (58, 138, 48), (30, 116, 200))
_OPACITY: Final = 0.75
"""Of what lies behind a text."""
_MAX_TAGS: Final = 64
"""Texts that are kept drawn, and zones whose colors are remembered; regions that move come and go."""


def part_of(image: NDArray[np.uint8], zone: Zone) -> NDArray[np.uint8]:
    """The part of a picture of any size, uint8 [H, W, 3], that a zone is: a view."""
    height, width = image.shape[:2]
    left, top, across, down = to_pixels(zone.shares, height, width) if zone.shares else (0, 0, width, height)
    return image[top : top + max(1, down), left : left + max(1, across)]


class ZoneBoxes:
    """Draws onto the pictures of one source; a text is drawn once as long as it stays the same.

    Zones have colors in the order in which they come, and keep them.
    """

    def __init__(self) -> None:
        self._next_color = itertools.cycle(_COLORS)
        self._colors: dict[tuple[int, str | None], NDArray[np.float32]] = {}
        self._tags: dict[tuple[str, int], NDArray[np.float32]] = {}

    def draw(self, image: NDArray[np.uint8], zones: Sequence[tuple[Zone, str]]) -> None:
        """Draws all zones.

        Args:
            image: uint8 [H, W, 3] in RGB, of any size.
            zones: each with what is said of it; empty where nothing is yet.
        """
        height, width = image.shape[:2]
        line, thickness = max(_MIN_LINE, min(height, width) // 28), max(1, min(height, width) // 240)
        for zone, text in zones:
            color = self._color(zone)
            part = part_of(image, zone)
            _outline(part, color, thickness)
            top = thickness
            for words in filter(None, (zone.region or "", text)):
                top += self._draw_line(part[top:, thickness:], words, color, line)

    def _color(self, zone: Zone) -> NDArray[np.float32]:
        """Its own, float32 [3]."""
        key = zone.source, zone.region
        if key not in self._colors:
            self._colors[key] = np.array(next(self._next_color), np.float32)
        # What was drawn last is last.
        self._colors[key] = color = self._colors.pop(key)
        if len(self._colors) > _MAX_TAGS:
            del self._colors[next(iter(self._colors))]
        return color

    def _draw_line(self, place: NDArray[np.uint8], text: str, color: NDArray[np.float32], line: int) -> int:
        """A line of text in the upper left corner of a place; returns its height."""
        ink = self._ink(text, line)[: place.shape[0], : place.shape[1]]
        height, width = int(ink.shape[0]), int(ink.shape[1])
        under = place[:height, :width]
        shaded = under * np.float32(1 - _OPACITY) + color * np.float32(_OPACITY)
        under[:] = shaded + ink * (255 - shaded)
        return height

    def _ink(self, text: str, line: int) -> NDArray[np.float32]:
        """Float32 [h, w, 1]: the letters, with a margin around them."""
        key = text, line
        if key not in self._tags:
            letters = draw_text(text, height=line)[..., None] / np.float32(255)
            self._tags[key] = np.pad(letters, ((line // 8, line // 8), (line // 3, line // 3), (0, 0)))
        # What was drawn last is last.
        self._tags[key] = ink = self._tags.pop(key)
        if len(self._tags) > _MAX_TAGS:
            del self._tags[next(iter(self._tags))]
        return ink


def _outline(part: NDArray[np.uint8], color: NDArray[np.float32], thickness: int) -> None:
    for edge in (part[:thickness], part[-thickness:], part[:, :thickness], part[:, -thickness:]):
        edge[:] = color

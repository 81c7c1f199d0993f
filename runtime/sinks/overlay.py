"""Draws the best labels with bars for their scores onto pictures.

┌──────────────────────────────────┐
│                                  │
│ ████████████████▌░░░░░           │    the label, its score as a bar and in percent
│ ██▌░░░░░░░░░░░░░░░░░░░           │    the next ones, while they fill less than a third of the picture
└──────────────────────────────────┘
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.runtime.sinks.glyphs import draw_text
from s2tf_edge.runtime.streaming.records import Prediction

__all__ = ["Overlay"]

_ROWS: Final = 3
_MIN_LINE: Final = 12
_MIN_OTHERS: Final = 11
"""Pixels of a line of text that can still be read."""
_BACKGROUND: Final = (16, 18, 24)
_BEST: Final = (0, 128, 128)
_OTHERS: Final = (70, 84, 104)
_INK: Final = (255, 255, 255)
_OPACITY: Final = 205
"""Of the panel, from 0 to 255; text is opaque."""


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """What is laid over a part of the picture: ``picture · (255 - alpha) / 255 + color``."""

    premultiplied: NDArray[np.uint16]
    """Uint16 [h, w, 3]: color times alpha."""
    alpha: NDArray[np.uint16]
    """Uint16 [h, w, 1], from 0 to 255."""


class Overlay:
    """Draws onto pictures of one size; a panel is made once for each prediction."""

    def __init__(self, width: int, height: int) -> None:
        self.size = height, width
        line = max(_MIN_LINE, min(width, height) // 19)
        self._margin = line // 2
        self._lines = _lines_that_fit(line, height // 3 - self._margin)
        self._width = max(1, min(width - 2 * self._margin, max(width * 2 // 5, 14 * line)))
        self._fits = width >= 4 * line and height >= 4 * line
        self._shown: Prediction | None = None
        self._panel: _Panel | None = None

    def draw(self, image: NDArray[np.uint8], prediction: Prediction) -> None:
        """Draws ``prediction`` into ``image``, uint8 [H, W, 3] in RGB, at the lower left; a tiny one stays as it is."""
        if not self._fits:
            return
        if self._panel is None or prediction is not self._shown:
            self._panel, self._shown = self._make(prediction), prediction
        height, width = self._panel.alpha.shape[:2]
        bottom = image.shape[0] - self._margin
        region = image[bottom - height : bottom, self._margin : self._margin + width]
        region[:] = (region * (255 - self._panel.alpha) + self._panel.premultiplied) // 255

    def _make(self, prediction: Prediction) -> _Panel:
        shown = prediction.best(_ROWS)
        rows = [
            self._row(label, score, line=line, color=_OTHERS if index else _BEST)
            for index, (line, (label, score)) in enumerate(zip(self._lines, shown, strict=False))
        ]
        color, alpha = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        return _Panel(premultiplied=(color * alpha).astype(np.uint16), alpha=alpha.astype(np.uint16))

    def _row(
        self, label: str, score: float, *, line: int, color: tuple[int, int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        height, width, pad = _row_height(line), self._width, self._lines[0] // 3
        pixels = np.empty((height, width, 3), np.float32)
        pixels[:] = _BACKGROUND
        pixels[:, : round(width * score)] = color
        number = draw_text(f"{100 * score:.0f} %", height=line)
        ink = np.zeros((height, width, 1), np.float32)
        text = _fit_label(label, height=line, width=width - number.shape[1] - 3 * pad)
        _place(ink, text, left=pad, top=line // 6)
        _place(ink, number, left=max(0, width - number.shape[1] - pad), top=line // 6)
        pixels += ink * (np.array(_INK, np.float32) - pixels)
        alpha = _OPACITY + ink * (255 - _OPACITY)
        # A line of the picture shows between two rows.
        return np.pad(pixels, ((0, 1), (0, 0), (0, 0))), np.pad(alpha, ((0, 1), (0, 0), (0, 0)))


def _row_height(line: int) -> int:
    return line + 2 * (line // 6)


def _lines_that_fit(line: int, height: int) -> list[int]:
    """Heights of the lines of text from the best label down: the others are smaller."""
    lines = [line]
    others = max(_MIN_OTHERS, line * 3 // 4)
    while len(lines) < _ROWS and sum(_row_height(each) + 1 for each in [*lines, others]) <= height:
        lines.append(others)
    return lines


def _fit_label(label: str, *, height: int, width: int) -> NDArray[np.uint8]:
    text = draw_text(label or " ", height=height)
    while text.shape[1] > width and label:
        label = label[:-1]
        text = draw_text(f"{label.rstrip()}…", height=height)
    return text


def _place(ink: NDArray[np.float32], text: NDArray[np.uint8], *, left: int, top: int) -> None:
    height, width = text.shape[0], min(text.shape[1], ink.shape[1] - left)
    ink[top : top + height, left : left + width, 0] = text[:, :width] / np.float32(255)

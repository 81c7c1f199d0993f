"""Text as pixels, without a font library: letters from ``glyphs.npz``, scaled to the size asked for.

The letters are DejaVu Sans, drawn by ``tools/make_glyphs.py``: Latin, Greek and Cyrillic; any other is shown as a box.
"""

from __future__ import annotations

import functools
import unicodedata
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_text"]

_ATLAS: Final = Path(__file__).with_name("glyphs.npz")
_MISSING: Final = "\N{WHITE SQUARE}"


def draw_text(text: str, *, height: int) -> NDArray[np.uint8]:
    """One line of text.

    Args:
        text: one character or more.
        height: of the line in pixels, from the highest accent to the lowest descender.

    Returns:
        Coverage, uint8 [height, W]: 0 for the background, 255 for the ink.
    """
    glyphs = _glyphs()
    letters = unicodedata.normalize("NFC", text)
    line = np.concatenate([glyphs.get(letter, glyphs[_MISSING]) for letter in letters], axis=1)
    width = max(1, round(line.shape[1] * height / line.shape[0]))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(line), format="gray8")
    scaled = frame.reformat(width, height, format="gray8", interpolation="AREA").to_ndarray()
    return scaled.astype(np.uint8, copy=False)


@functools.cache
def _glyphs() -> dict[str, NDArray[np.uint8]]:
    with np.load(_ATLAS) as atlas:
        columns = np.split(atlas["pixels"], np.cumsum(atlas["advances"])[:-1], axis=1)
        return {chr(code): column for code, column in zip(atlas["codes"], columns, strict=True)}

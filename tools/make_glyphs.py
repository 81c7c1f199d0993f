"""Draws ``runtime/sinks/glyphs.npz``, the letters of saved videos, with Pillow and a TrueType font.

    python tools/make_glyphs.py DejaVuSans.ttf runtime/sinks/glyphs.npz

The one in the repository shows DejaVu Sans 2.37 (https://dejavu-fonts.github.io; free to embed and to redistribute, see
its license, that of Bitstream Vera), as it comes with matplotlib.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

EM_PIXELS = 32
LEVELS = 16
RANGES = (
    (0x20, 0x7F),
    (0xA1, 0x180),
    (0x386, 0x3CF),
    (0x400, 0x460),
    (0x1E80, 0x1E86),
    (0x2010, 0x2027),
    (0x25A1, 0x25A2),
)
"""Latin, Greek, Cyrillic, punctuation, and a box for all that is missing."""


def main(font_path: Path, out: Path) -> None:
    """Draws every letter into one strip and writes it with the letters' codes and widths."""
    font = ImageFont.truetype(str(font_path), EM_PIXELS)
    ascent, descent = font.getmetrics()
    codes = [code for low, high in RANGES for code in range(low, high) if code != 0xAD]
    columns, advances = [], []
    for code in codes:
        advance = round(font.getlength(chr(code)))
        image = Image.new("L", (max(advance, 1), ascent + descent))
        ImageDraw.Draw(image).text((0, 0), chr(code), fill=255, font=font)
        columns.append(np.asarray(image))
        advances.append(image.width)
    step = 255 // (LEVELS - 1)
    pixels = (np.concatenate(columns, axis=1).astype(np.uint16) + step // 2) // step * step
    np.savez_compressed(
        out, codes=np.array(codes, np.uint32), advances=np.array(advances, np.uint8), pixels=pixels.astype(np.uint8)
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("font", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    main(arguments.font, arguments.out)

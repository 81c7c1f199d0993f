"""Pictures as JPEG, by FFmpeg."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import av
import numpy as np
from av.video.reformatter import ColorRange
from numpy.typing import NDArray

__all__ = ["to_jpeg"]

_QUALITY: Final = 4
"""FFmpeg's scale: 2 is the best, 31 the worst."""


def to_jpeg(image: NDArray[np.uint8]) -> bytes:
    """Encodes a picture.

    Args:
        image: uint8 [H, W, 3] in RGB.
    """
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    frame = frame.reformat(format="yuv420p", dst_color_range=ColorRange.JPEG)
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = frame.width, frame.height, "yuv420p"
    encoder.color_range, encoder.time_base = ColorRange.JPEG, Fraction(1)
    encoder.qmin = encoder.qmax = _QUALITY
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])

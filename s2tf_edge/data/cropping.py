"""A part of a decoded frame, cut before it is scaled: only what lies in the box is converted.

The rows of the box are copied plane by plane in the frame's own pixel format, so that the part is what a decoder would
have given of a video cropped to the box.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import av
import numpy as np
from av.video.format import VideoFormat
from av.video.plane import VideoPlane
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from s2tf_edge.errors import UsageError
from s2tf_edge.preprocess import INTERPOLATION

__all__ = ["PixelBox", "crop_frame"]

PixelBox = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""
_COARSEST: Final = 4
"""Pixels in a row, or in a column, that share a value of color at the most."""


def crop_frame(frame: av.VideoFrame, box: PixelBox) -> av.VideoFrame:
    """The part of a frame that lies in a box, and a pixel or so more where pixels at its edge share their color.

    Args:
        frame: of any pixel format; one whose pixels cannot be cut as they are becomes RGB.
        box: as decoded, before the frame is turned.

    Returns:
        A frame in memory of its own, without the times of ``frame``; ``frame`` itself where the box is all of it.

    Raises:
        UsageError: the box does not lie within the frame.
    """
    left, top, width, height = box
    if min(left, top) < 0 or min(width, height) < 1 or left + width > frame.width or top + height > frame.height:
        msg = f"a box of {width}×{height} at {left}, {top} does not lie in a picture of {frame.width}×{frame.height}"
        raise UsageError(msg)
    if (width, height) == (frame.width, frame.height):
        return frame
    sizes = _pixel_bytes(frame)
    if sizes is None:
        frame, sizes = VideoReformatter().reformat(frame, format="rgb24", interpolation=INTERPOLATION), [3]
    across, down = _color_grid(frame.format)
    left, right = _widen(left, left + width, across, end=frame.width)
    top, bottom = _widen(top, top + height, down, end=frame.height)
    part = _like(frame, width=right - left, height=bottom - top)
    for source, target, size in zip(frame.planes, part.planes, sizes, strict=True):
        row = top // (down if source.height < frame.height else 1)
        column = left // (across if source.width < frame.width else 1)
        rows = _bytes(source)[row : row + target.height]
        _bytes(target)[:, : target.width * size] = rows[:, column * size : (column + target.width) * size]
    return part


def _pixel_bytes(frame: av.VideoFrame) -> list[int] | None:
    """For each plane the bytes from one pixel to the next; None for formats that hold their pixels in another way."""
    planes = frame.planes
    sizes, bits = [0] * len(planes), 0.0
    for component in frame.format.components:
        size = (component.bits + 7) // 8
        sizes[component.plane] += size
        bits += 8 * size * component.width * component.height / (frame.width * frame.height)
    # Padding, bits across bytes and mosaics show in the sum, a palette as a plane without components, and packed pixels
    # that share a color as components of several sizes in one plane.
    is_plain = round(bits) == frame.format.padded_bits_per_pixel and all(sizes)
    ordered = sorted(frame.format.components, key=lambda component: component.plane)
    is_plain &= all(one.plane != other.plane or one.width == other.width for one, other in pairwise(ordered))
    return sizes if is_plain and all(plane.line_size > 0 for plane in planes) else None


def _color_grid(format: VideoFormat) -> tuple[int, int]:
    """How many pixels share a value of color, in a row and in a column."""
    return _COARSEST // format.chroma_width(_COARSEST), _COARSEST // format.chroma_height(_COARSEST)


def _widen(start: int, stop: int, grid: int, *, end: int) -> tuple[int, int]:
    """The least part of 0 to ``end`` that holds what is asked for and begins and ends on the grid."""
    return start // grid * grid, min(end, -(-stop // grid) * grid)


def _like(frame: av.VideoFrame, *, width: int, height: int) -> av.VideoFrame:
    """An empty frame of another size whose values mean the same colors."""
    part = av.VideoFrame(width, height, frame.format.name)
    part.colorspace, part.color_range = frame.colorspace, frame.color_range
    part.color_primaries, part.color_trc = frame.color_primaries, frame.color_trc
    return part


def _bytes(plane: VideoPlane) -> NDArray[np.uint8]:
    """The memory of a plane, uint8 [rows, bytes]."""
    return np.asarray(memoryview(plane)).view(np.uint8).reshape(-1, plane.line_size)[: plane.height]

"""A part of a decoded frame, cut before it is scaled: only what lies in the box is converted.

FFmpeg's filter cuts it in the frame's own pixel format and keeps what the values mean, such as where between the pixels
their colors lie, so that the part is what a decoder would have given of a video cropped to the box.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.format import VideoFormat
from av.video.reformatter import VideoReformatter

from s2tf_edge.errors import UsageError
from s2tf_edge.preprocess import INTERPOLATION

__all__ = ["PixelBox", "crop_frame"]

PixelBox = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""
_COARSEST: Final = 4
"""Pixels in a row, or in a column, that share a value of color at the most."""
_MAX_CUTTERS: Final = 64
"""Of a thread: one for each zone of its sources."""
_TIME_BASE: Final = Fraction(1, 1000)
"""A filter wants one and makes no use of it."""
_local = threading.local()


def crop_frame(frame: av.VideoFrame, box: PixelBox) -> av.VideoFrame:
    """The part of a frame that lies in a box, and a pixel or so more where pixels at its edge share their color.

    Args:
        frame: of any pixel format; one whose pixels cannot be cut as they are becomes RGB.
        box: as decoded, before the frame is turned.

    Returns:
        A frame in the memory of ``frame``; ``frame`` itself where the box is all of it.

    Raises:
        UsageError: the box does not lie within the frame.
    """
    left, top, width, height = box
    if min(left, top) < 0 or min(width, height) < 1 or left + width > frame.width or top + height > frame.height:
        msg = f"a box of {width}×{height} at {left}, {top} does not lie in a picture of {frame.width}×{frame.height}"
        raise UsageError(msg)
    if (width, height) == (frame.width, frame.height):
        return frame
    if not _can_be_cut(frame.format):
        frame = VideoReformatter().reformat(frame, format="rgb24", interpolation=INTERPOLATION)
    across, down = _color_grid(frame.format)
    left, right = _widen(left, left + width, across, end=frame.width)
    top, bottom = _widen(top, top + height, down, end=frame.height)
    return _cutter(frame, (left, top, right - left, bottom - top)).cut(frame)


@dataclass(frozen=True)
class _Cutter:
    """A filter for frames of one size and format, and one box; making it takes longer than all that it does."""

    graph: Graph
    """Its filters go with it, and do not hold it themselves."""
    source: FilterContext
    sink: FilterContext

    @classmethod
    def for_frames(cls, frame: av.VideoFrame, box: PixelBox) -> _Cutter:
        left, top, width, height = box
        graph = Graph()
        # Threads would be of no use to it, and a forked worker would wait for its parent's.
        graph.threads = 1
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_TIME_BASE)
        crop = graph.add("crop", x=str(left), y=str(top), w=str(width), h=str(height), exact="1")
        sink = graph.add("buffersink")
        graph.link_nodes(source, crop, sink).configure()
        return cls(graph, source, sink)

    def cut(self, frame: av.VideoFrame) -> av.VideoFrame:
        self.source.push(frame)
        part = self.sink.pull()
        if not isinstance(part, av.VideoFrame):
            msg = f"FFmpeg's crop gave a {type(part).__name__} for a picture"
            raise TypeError(msg)
        return part


def _cutter(frame: av.VideoFrame, box: PixelBox) -> _Cutter:
    """This thread's own for frames and a box like these; one a process, as a fork leaves its parent's alone."""
    by_process: dict[int, dict[object, _Cutter]] = _local.__dict__.setdefault("by_process", {})
    cutters = by_process.setdefault(os.getpid(), {})
    key = frame.format.name, frame.height, frame.width, box
    # Last used is last: where zones move, boxes come and go.
    cutters[key] = cutter = cutters.pop(key, None) or _Cutter.for_frames(frame, box)
    if len(cutters) > _MAX_CUTTERS:
        del cutters[next(iter(cutters))]
    return cutter


def _can_be_cut(format: VideoFormat) -> bool:
    """Whether a box of pixels is a box of whole bytes; FFmpeg would turn the rest into a format of its choice."""
    shares_color = _color_grid(format) != (1, 1)
    return not (format.is_bit_stream or format.is_bayer or (shares_color and not format.is_planar))


def _color_grid(format: VideoFormat) -> tuple[int, int]:
    """How many pixels share a value of color, in a row and in a column."""
    return _COARSEST // format.chroma_width(_COARSEST), _COARSEST // format.chroma_height(_COARSEST)


def _widen(start: int, stop: int, grid: int, *, end: int) -> tuple[int, int]:
    """The least part of 0 to ``end`` that holds what is asked for and begins and ends on the grid."""
    return start // grid * grid, min(end, -(-stop // grid) * grid)

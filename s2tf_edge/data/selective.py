"""Decoding of what a clip shows and no more, in videos whose frames are known by their packets.

    packets     I  P  b  b  P  b  b  P  b  b  P  b  b  I  …
    sampled           x     x        x     x
    decoded     I  P  b     P        P     b  P         end: what comes later is not even read

A key frame and all that others refer to must be decoded; a frame that none refers to, only where it is sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, Generic, TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from s2tf_edge.clips import SampleClock
from s2tf_edge.data.container import open_container, rewind, seek, video_stream
from s2tf_edge.data.frames import has_times
from s2tf_edge.data.seeking import from_moment
from s2tf_edge.spec import ClipSpec

__all__ = ["FrameChooser", "FrameIndex", "choose_frames", "decode_chosen", "make_index"]

_Picture = TypeVar("_Picture")
_MAX_FRAMES: Final = 8192
"""Of an index, which is kept for thousands of videos."""
_TELLS_REFERENCES: Final = frozenset({"h264"})
"""Codecs whose frames say that no other refers to them; in HEVC those of a higher layer may."""
_ONE_THREAD_PIXELS: Final = 640 * 480
"""Up to this size starting threads takes longer than they save."""
_MARGIN_SECONDS: Final = 0.01


@dataclass(frozen=True, kw_only=True)
class FrameIndex:
    """When the frames of a video are presented."""

    ticks: NDArray[np.int64]
    """In order of presentation."""
    time_base: Fraction

    def frames_from(self, start_seconds: float) -> Iterator[tuple[float, int]]:
        """Seconds and ticks of what is seen from a moment on, as ``from_moment`` has it."""
        seconds = self.ticks * self.time_base.numerator / self.time_base.denominator
        first = max(0, int(np.searchsorted(seconds, start_seconds - _MARGIN_SECONDS)) - 1)
        frames = zip(seconds[first:].tolist(), self.ticks[first:].tolist(), strict=True)
        for shown, (_, ticks) in from_moment(frames, start_seconds):
            yield shown, ticks


def make_index(stream: VideoStream, ticks: Collection[int | None], *, parts: int) -> FrameIndex | None:
    """The index of a video, of the presentation times of its packets.

    None where packets do not tell the frames: without times or with one twice, in AVI, whose times are others, with a
    clock that begins anew; or where there are too many.
    """
    known = {each for each in ticks if each is not None}
    is_told = has_times(stream) and stream.container.format.name != "avi" and parts == 1
    if not is_told or len(known) != len(ticks) or not 0 < len(known) <= _MAX_FRAMES or stream.time_base is None:
        return None
    return FrameIndex(ticks=np.array(sorted(known), np.int64), time_base=stream.time_base)


class FrameChooser(Generic[_Picture]):
    """Shown one frame after the other from a clip's start on, says which of them the clip shows, and how often."""

    def __init__(self, spec: ClipSpec) -> None:
        self._spec = spec
        self._clock: SampleClock | None = None
        self._last: _Picture | None = None
        self._left = spec.frames

    @property
    def is_full(self) -> bool:
        """Whether the clip has all of its samples."""
        return not self._left

    def show(self, seconds: float, frame: _Picture) -> list[tuple[_Picture, int]]:
        """The frame before and this one, as far as they now serve samples, each with their number.

        Args:
            seconds: when the frame comes into sight.
            frame: the next in order.
        """
        self._clock = self._clock or SampleClock(self._spec, start_seconds=seconds)
        chosen = []
        for each, due in ((self._last, self._clock.hold), (frame, self._clock.take)):
            count = min(due(seconds), self._left)
            if each is not None and count:
                self._left -= count
                chosen.append((each, count))
        self._last = frame
        return chosen


def choose_frames(frames: Iterable[tuple[float, _Picture]], spec: ClipSpec) -> Iterator[tuple[_Picture, int]]:
    """Which of the frames from a clip's start on it shows, and how often.

    Args:
        frames: with the seconds at which they come into sight, in order.
        spec: what a clip is.

    Yields:
        Frames with a number of samples above zero, ``spec.frames`` samples at most in all.
    """
    chooser: FrameChooser[_Picture] = FrameChooser(spec)
    for seconds, frame in frames:
        yield from chooser.show(seconds, frame)
        if chooser.is_full:
            return


def decode_chosen(
    path: str | Path,
    chosen: Collection[int],
    *,
    start_seconds: float,
    scale: Callable[[av.VideoFrame], NDArray[np.uint8]],
) -> dict[int, NDArray[np.uint8]] | None:
    """Decodes frames by their presentation times.

    Args:
        path: the video.
        chosen: ticks of the frames.
        start_seconds: the moment from which they are.
        scale: makes a picture of each.

    Returns:
        Pictures by ticks; None where the file does not hold what its index says, as one that is corrupt.

    Raises:
        InputFileError: the file cannot be opened.
    """
    with open_container(path) as container:
        stream = video_stream(container)
        context = stream.codec_context
        if context.width * context.height <= _ONE_THREAD_PIXELS:
            context.thread_count = 1
        stream.thread_type = "AUTO"
        packets = _packets_from(container, stream, start_seconds, first=min(chosen, default=0))
        pictures: dict[int, NDArray[np.uint8]] = {}
        try:
            for frame in _decode(packets, stream, set(chosen)):
                if frame.pts is not None and frame.pts in chosen and not frame.is_corrupt:
                    pictures[frame.pts] = scale(frame)
        except av.FFmpegError:
            return None
    return pictures if len(pictures) == len(chosen) else None


def _packets_from(
    container: InputContainer, stream: VideoStream, start_seconds: float, *, first: int
) -> Iterator[Packet[VideoStream]]:
    """Packets from a key frame on that is presented no later than the frame at ``first``."""
    if seek(container, stream, start_seconds):
        packets = container.demux(stream)
        packet = next(packets)
        if packet.is_keyframe and packet.pts is not None and packet.pts <= first:
            yield packet
            yield from packets
            return
        # Without an index, a seek may lead anywhere.
        rewind(container, stream)
    yield from container.demux(stream)


def _decode(packets: Iterable[Packet[VideoStream]], stream: VideoStream, left: set[int]) -> Iterator[av.VideoFrame]:
    """Frames up to the last of those that are ``left`` to read, and some that are decoded for them."""
    tells = stream.codec_context.name in _TELLS_REFERENCES
    for packet in packets:
        if tells:
            stream.codec_context.skip_frame = "DEFAULT" if packet.pts in left else "NONREF"
        yield from packet.decode()
        if packet.pts is not None:
            left.discard(packet.pts)
        if not left and packet.size:
            yield from stream.codec_context.decode(None)
            return

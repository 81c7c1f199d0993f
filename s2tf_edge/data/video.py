"""Reading videos with PyAV: what a file holds, and clips of it.

Frames are turned as their metadata asks, scaled while they are converted to RGB, and carry their real presentation
times. Where a part of a file is corrupt, what decodes is used.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from s2tf_edge.clips import SampleClock, clip_start_seconds
from s2tf_edge.data.container import open_container, rewind, seek, video_stream
from s2tf_edge.data.frames import FrameTimes, has_times, nominal_fps, scale_frame, turned
from s2tf_edge.data.seeking import from_moment, read_sought, skip_to
from s2tf_edge.data.timeline import Timeline, drain
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.spec import ClipSpec

__all__ = ["VideoInfo", "frames_around", "probe", "read_clip", "scale_frame", "scaled"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a file was found to hold, whatever its header says."""

    first_seconds: float
    """Presentation time of the first frame."""
    last_seconds: float
    """Presentation time of the last frame."""
    width: int
    """Pixels, as shown: after rotation."""
    height: int
    """Pixels, as shown: after rotation."""
    rotation_degrees: int
    """Rotation that the metadata asks for, counter-clockwise, from 0 to 359."""
    average_fps: float
    frames: int
    """Number of packets; a corrupt one counts, though it does not decode."""
    parts: int = 1
    """How often its clock begins, as that of recordings strung together: times go on from part to part."""


def probe(path: str | Path) -> VideoInfo:
    """Reads a file once, decoding its first frame only.

    Raises:
        InputFileError: the file cannot be read or holds no frame.
    """
    return _probe(str(path), Path(path).stat().st_mtime_ns if Path(path).exists() else 0)


def read_clip(path: str | Path, spec: ClipSpec, *, at: float = 0.5) -> NDArray[np.uint8]:
    """Reads one clip; the last frame is repeated where the video is too short.

    Args:
        path: a video file.
        spec: which frames to take, and the short side to scale them to.
        at: where in the video, from 0 (the clip begins with the video) to 1 (it ends with it).

    Returns:
        Uint8 [T, h, w, 3], not yet cropped.

    Raises:
        InputFileError: the file cannot be read, holds no frame, or its picture changes size or cannot be scaled.
        UsageError: ``at`` lies outside [0, 1].
    """
    info = probe(path)
    start = functools.partial(clip_start_seconds, spec, first_seconds=info.first_seconds, at=at)
    images = _sample(path, spec, start(last_seconds=info.last_seconds))
    if not images:
        # The end of the file does not decode: the clip is placed within what does.
        last_seconds = max((seconds for seconds, _ in _frames_from(path, None)), default=info.last_seconds)
        images = _sample(path, spec, start(last_seconds=last_seconds))
    if not images:
        msg = f"{path} holds no frame that decodes; record or convert it again"
        raise InputFileError(msg)
    if len({image.shape for image in images}) != 1:
        msg = f"{path} changes the size of its picture within a clip; convert it to one size"
        raise InputFileError(msg)
    return np.stack(images + images[-1:] * (spec.frames - len(images)))


def _sample(path: str | Path, spec: ClipSpec, start_seconds: float) -> list[NDArray[np.uint8]]:
    images: list[NDArray[np.uint8]] = []
    clock: SampleClock | None = None
    last: av.VideoFrame | None = None
    for seconds, frame in _frames_from(path, start_seconds):
        clock = clock or SampleClock(spec, start_seconds=seconds)
        for each, due in ((last, clock.hold), (frame, clock.take)):
            count = min(due(seconds), spec.frames - len(images))
            if each is not None and count:
                images += [_scale(path, each, spec.resize_short_side)] * count
        if len(images) == spec.frames:
            break
        last = frame
    return images


def _scale(path: str | Path, frame: av.VideoFrame, short_side: int) -> NDArray[np.uint8]:
    try:
        return scale_frame(frame, short_side)
    except UsageError as error:
        msg = f"{path} cannot be used: {error}"
        raise InputFileError(msg) from error


def _frames_from(path: str | Path, start_seconds: float | None) -> Iterator[tuple[float, av.VideoFrame]]:
    """The frames from ``start_seconds`` on, with their times."""
    if start_seconds is None:
        yield from frames_around(path, None)
        return
    for seconds, (_, frame) in from_moment(frames_around(path, start_seconds), start_seconds):
        yield seconds, frame


def frames_around(path: str | Path, start_seconds: float | None) -> Iterator[tuple[float, av.VideoFrame]]:
    """The frames that tell what is seen from ``start_seconds`` on, and some before, with their times, in order.

    Raises:
        InputFileError: the file cannot be opened.
    """
    # Where the clock starts anew, one time is found in several places.
    skips = start_seconds is not None and probe(path).parts > 1
    with open_container(path) as container:
        stream = video_stream(container)
        stream.thread_type = "AUTO"

        def read() -> Iterator[tuple[float, av.VideoFrame]]:
            return _frames_with_times(container, stream, path, skip_seconds=start_seconds if skips else None)

        if start_seconds is not None and not skips and seek(container, stream, start_seconds):
            yield from read_sought(start_seconds, rewind=lambda: rewind(container, stream), read=read)
        else:
            yield from read()


def _frames_with_times(
    container: InputContainer, stream: VideoStream, path: str | Path, *, skip_seconds: float | None
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Frames with their times, without most of those before ``skip_seconds``."""
    timeline = Timeline(stream)
    packets = _packets(container, stream, path, timeline=timeline)
    if skip_seconds is not None and stream.time_base:
        packets = skip_to(packets, skip_seconds / float(stream.time_base))
    times = FrameTimes(stream)
    for frame in _intact_frames(packets, stream, path, timeline=timeline):
        yield times.seconds(frame), frame


def _intact_frames(
    packets: Iterator[Packet[VideoStream]], stream: VideoStream, path: str | Path, *, timeline: Timeline
) -> Iterator[av.VideoFrame]:
    """What decodes; after a corrupt packet nothing until the next key frame, as frames refer to what was lost."""
    waiting, part = False, 0
    for packet in packets:
        if timeline.part(packet) != part:
            part = timeline.part(packet)
            yield from [] if waiting else drain(stream)
            waiting = False
        frames = _decode_packet(packet)
        if frames is None:
            _warn_of_corruption(str(path))
            waiting = True
        for frame in frames or ():
            waiting = waiting and not frame.key_frame
            if not waiting:
                yield frame


@functools.lru_cache(maxsize=4096)
def _warn_of_corruption(path: str) -> None:
    """Once for a file, however many clips are read from it."""
    _logger.warning("%s is corrupt in parts; only the frames that decode are used", path)


def _packets(
    container: InputContainer, stream: VideoStream, path: str | Path, *, timeline: Timeline
) -> Iterator[Packet[VideoStream]]:
    """All packets, up to where the file breaks; the last one is empty and makes the decoder hand out what it holds."""
    try:
        for packet in container.demux(stream):
            timeline.place(packet)
            yield packet
    except av.FFmpegError:
        _warn_of_corruption(str(path))


def _decode_packet(packet: Packet[VideoStream]) -> list[av.VideoFrame] | None:
    """The frames that a packet completes; None where it is corrupt."""
    try:
        return packet.decode()
    except av.FFmpegError:
        return None


@functools.lru_cache(maxsize=4096)
def _probe(path: str, _modified_ns: int) -> VideoInfo:
    with open_container(path) as container:
        stream = video_stream(container)
        first: av.VideoFrame | None = None
        seconds: list[float] = []
        timeline = Timeline(stream)
        for packet in _packets(container, stream, path, timeline=timeline):
            first = first or next(iter(_decode_packet(packet) or ()), None)
            if packet.size and not packet.is_discard:
                seconds.append(_packet_seconds(packet, stream, before=seconds[-1] if seconds else None))
        if first is None:
            msg = f"{path} holds no frame that decodes; record or convert it again"
            raise InputFileError(msg)
        return _describe(first, seconds, fps=float(nominal_fps(stream)), parts=timeline.parts)


def _packet_seconds(packet: Packet[VideoStream], stream: VideoStream, *, before: float | None) -> float:
    """Of one without a time, as many in a program stream, a frame after the one before, as ``FrameTimes`` has it."""
    ticks = packet.dts if packet.pts is None else packet.pts
    if ticks is None or packet.time_base is None or not has_times(stream):
        return 0.0 if before is None else before + 1 / float(nominal_fps(stream))
    return float(ticks * packet.time_base)


def _describe(first: av.VideoFrame, seconds: list[float], *, fps: float, parts: int) -> VideoInfo:
    height, width = turned(np.empty((first.height, first.width, 0), np.uint8), first).shape[:2]
    duration = max(seconds) - min(seconds)
    return VideoInfo(
        first_seconds=min(seconds),
        last_seconds=max(seconds),
        width=width,
        height=height,
        rotation_degrees=first.rotation % 360,
        average_fps=(len(seconds) - 1) / duration if duration else fps,
        frames=len(seconds),
        parts=parts,
    )


def scaled(path: str | Path, frame: av.VideoFrame, *, short_side: int) -> NDArray[np.uint8]:
    """A frame of a file as a clip has it: uint8 [h, w, 3].

    Raises:
        InputFileError: it is too long and narrow to be scaled.
    """
    return _scale(path, frame, short_side=short_side)

"""Reading videos with PyAV: what a file holds, and clips of it.

Frames are turned as their metadata asks, scaled while they are converted to RGB, and carry their real presentation
times. Where a part of a file is corrupt, what decodes is used.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from s2tf_edge.clips import clip_start_seconds
from s2tf_edge.data.container import open_container, rewind, seek, video_stream
from s2tf_edge.data.frames import FrameTimes, has_times, nominal_fps, scale_frame, turned
from s2tf_edge.data.seeking import from_moment, read_sought, skip_to
from s2tf_edge.data.selective import FrameIndex, choose_frames, decode_chosen, make_index
from s2tf_edge.data.timeline import Timeline, drain
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.spec import ClipSpec

__all__ = ["VideoInfo", "frames_around", "place_clip", "probe", "read_clip", "read_frames", "scale_frame", "scaled"]

_logger = logging.getLogger(__name__)
_Picture = TypeVar("_Picture")


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
    return _look_through(path)[0]


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
    info, index = _look_through(path)
    images = place_clip(
        spec,
        at=at,
        first_seconds=info.first_seconds,
        last_seconds=info.last_seconds,
        sample=functools.partial(_sample, path, spec, index=index),
        find_last=lambda: max((seconds for seconds, _ in read_frames(path)), default=None),
    )
    if not images:
        msg = f"{path} holds no frame that decodes; record or convert it again"
        raise InputFileError(msg)
    if len({image.shape for image in images}) != 1:
        msg = f"{path} changes the size of its picture within a clip; convert it to one size"
        raise InputFileError(msg)
    return np.stack(images + images[-1:] * (spec.frames - len(images)))


def place_clip(
    spec: ClipSpec,
    *,
    at: float,
    first_seconds: float,
    last_seconds: float,
    sample: Callable[[float], list[_Picture]],
    find_last: Callable[[], float | None],
) -> list[_Picture]:
    """The pictures of a clip; where the end of the file does not decode, it lies within what does.

    Args:
        spec: gives the clip's length in time.
        at: where in the video, from 0 to 1.
        first_seconds: presentation time of the first frame, as the packets say.
        last_seconds: that of the last.
        sample: gives the pictures of a clip by the moment at which it starts, none behind the end.
        find_last: finds when the last frame that decodes is presented; None where none does.

    Raises:
        UsageError: ``at`` lies outside [0, 1].
    """
    start = functools.partial(clip_start_seconds, spec, first_seconds=first_seconds, at=at)
    pictures = sample(start(last_seconds=last_seconds))
    if pictures:
        return pictures
    decoded = find_last()
    return sample(start(last_seconds=last_seconds if decoded is None else decoded))


def _sample(
    path: str | Path, spec: ClipSpec, start_seconds: float, *, index: FrameIndex | None = None
) -> list[NDArray[np.uint8]]:
    scale = functools.partial(scaled, path, short_side=spec.resize_short_side)
    if index is not None:
        chosen = list(choose_frames(index.frames_from(start_seconds), spec))
        pictures = decode_chosen(path, {ticks for ticks, _ in chosen}, start_seconds=start_seconds, scale=scale)
        if pictures is not None:
            return [pictures[ticks] for ticks, count in chosen for _ in range(count)]
    images: list[NDArray[np.uint8]] = []
    for frame, count in choose_frames(read_frames(path, start_seconds), spec):
        images += [scale(frame)] * count
    return images


def scaled(path: str | Path, frame: av.VideoFrame, *, short_side: int) -> NDArray[np.uint8]:
    """A frame of a file as a clip has it: uint8 [h, w, 3].

    Raises:
        InputFileError: it is too long and narrow to be scaled.
    """
    try:
        return scale_frame(frame, short_side)
    except UsageError as error:
        msg = f"{path} cannot be used: {error}"
        raise InputFileError(msg) from error


def read_frames(path: str | Path, start_seconds: float | None = None) -> Iterator[tuple[float, av.VideoFrame]]:
    """The frames from ``start_seconds`` on, or all of them, with their times.

    Raises:
        InputFileError: the file cannot be read.
    """
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


def _look_through(path: str | Path) -> tuple[VideoInfo, FrameIndex | None]:
    return _probe(str(path), Path(path).stat().st_mtime_ns if Path(path).exists() else 0)


@functools.lru_cache(maxsize=4096)
def _probe(path: str, _modified_ns: int) -> tuple[VideoInfo, FrameIndex | None]:
    with open_container(path) as container:
        stream = video_stream(container)
        first: av.VideoFrame | None = None
        seconds: list[float] = []
        ticks: list[int | None] = []
        timeline = Timeline(stream)
        for packet in _packets(container, stream, path, timeline=timeline):
            first = first or next(iter(_decode_packet(packet) or ()), None)
            if packet.size:
                ticks.append(None if packet.is_discard else packet.pts)
            if packet.size and not packet.is_discard:
                seconds.append(_packet_seconds(packet, stream, before=seconds[-1] if seconds else None))
        if first is None:
            msg = f"{path} holds no frame that decodes; record or convert it again"
            raise InputFileError(msg)
        info = _describe(first, seconds, fps=float(nominal_fps(stream)), parts=timeline.parts)
        return info, make_index(stream, ticks, parts=timeline.parts)


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

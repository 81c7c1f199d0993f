"""Decodes one source frame by frame, with the time at which each frame was presented."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from time import perf_counter
from typing import NamedTuple

import av
from av.packet import Packet
from av.video.stream import VideoStream

from s2tf_edge.data.frames import FrameTimes, nominal_fps, said_fps
from s2tf_edge.data.seeking import from_moment, read_sought, skip_to
from s2tf_edge.data.timeline import drain, may_restart
from s2tf_edge.errors import InputFileError, S2TFError, SourceError
from s2tf_edge.runtime.sources.continuity import Continuity
from s2tf_edge.runtime.sources.packets import PacketReader
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.runtime.sources.timing import StageTimes

__all__ = ["Decoded", "Decoder"]

logger = logging.getLogger(__name__)


class _Timed(NamedTuple):
    """A frame, its place on the line of time, and the part of the source that it is of."""

    seconds: float
    presented_at: float
    """``perf_counter``."""
    frame: av.VideoFrame
    part: int


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A frame and its times."""

    frame: av.VideoFrame
    pts_seconds: float
    """Presentation time; a live source starts at 0, and no clock that starts anew turns it back."""
    own_seconds: float
    """Presentation time by the source's own clock; the same where it has none, or its frames are counted."""
    presented_at: float
    """``perf_counter`` when a live source presented it, or when its packet was read from a file."""
    follows_cut: bool = False
    """Whether frames before it were left out because decoding was behind."""
    follows_restart: bool = False
    """Whether the source's clock started anew with it."""


class Decoder:
    """Reads a source once, to its end or until ``stop`` is set.

    What hangs in a read, and returns once ``stop`` is set, neither logs nor counts any more.

    Args:
        source: what is read.
        stop: ends reading from another thread.
        times: where the time of decoding goes.
        start_seconds: where to begin in a file, from its first frame.
        fps: frames a second to ask of a camera, or to count any other source by; None leaves it to the source.
        hwaccel: as ``open_hwaccel`` takes it.
        catch_up: whether frames of a live source are left out when decoding falls behind.
        continuity: what is remembered of the source, where it was read before.

    Raises:
        InputFileError: the file cannot be read or holds no video.
        SourceError: the address or device cannot be opened.
    """

    def __init__(
        self,
        source: Source,
        *,
        stop: threading.Event,
        times: StageTimes,
        start_seconds: float = 0.0,
        fps: float | None = None,
        hwaccel: str | None = None,
        catch_up: bool = True,
        continuity: Continuity | None = None,
    ) -> None:
        self._stop = stop
        self._times = times
        # A camera gives what is asked for, or what it can; its times say so.
        self._count_fps = None if source.is_camera else fps
        self._skipped = 0
        self.corrupt = 0
        """Packets that did not decode."""
        self._packets = PacketReader(
            source, stop=stop, fps=fps, hwaccel=hwaccel, catch_up=catch_up, continuity=continuity
        )
        self.source = source = self._packets.source
        """What the source turned out to be: whether an address is live may be known only once it is open."""
        self._start_seconds = 0.0 if source.live else start_seconds
        self._stream = self._packets.stream
        # Threads that each decode a frame hold back as many frames, which a live source cannot afford.
        self._stream.thread_type = "SLICE" if source.live else "AUTO"

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the source."""
        self._packets.close()

    @property
    def continuity(self) -> Continuity:
        """What is remembered of the source by now."""
        return self._packets.continuity

    @property
    def broken(self) -> str:
        """Why a file ended before its end, if it did."""
        return self._packets.broken

    @property
    def behind(self) -> int:
        """Frames left out because decoding was behind."""
        return self._skipped + self._packets.left_out

    @property
    def frame_seconds(self) -> float:
        """The usual time between two frames, as the source declares it; 0 where it does not."""
        rate = self._count_fps or said_fps(self._stream)
        return float(1 / rate) if rate else 0.0

    @property
    def duration_seconds(self) -> float | None:
        """From the first frame that is read to the end, as the source declares it; None where it does not."""
        duration = self._packets.duration_seconds
        if duration is not None and self._count_fps is not None:
            duration *= float(nominal_fps(self._stream)) / self._count_fps
        return None if duration is None else max(0.0, duration - self._start_seconds)

    def frames(self) -> Iterator[Decoded]:
        """Yields every frame that decodes, in order of presentation.

        Raises:
            InputFileError: a file in which no frame decodes, or none from the start asked for.
            SourceError: a live source that was lost, or gave no frame.
        """
        origin: float | None = None
        newest_part: int | None = None
        for seconds, timed in self._frames_from_start():
            part = 0 if self._count_fps is not None else timed.part
            # A live source begins at 0, whatever its clock says; the times of a file are those of the video.
            origin = (seconds if self.source.live else 0.0) if origin is None else origin
            before, newest_part = newest_part, part
            follows_cut, self._packets.was_cut = self._packets.was_cut, False
            yield Decoded(
                frame=timed.frame,
                pts_seconds=seconds - origin,
                own_seconds=seconds - origin + self._own_offset_seconds(part, origin),
                presented_at=timed.presented_at,
                follows_cut=follows_cut,
                follows_restart=before not in (None, part),
            )
        if origin is None and not self._stop.is_set() and not self.continuity.is_known:
            raise self._make_no_frame_error()

    def _own_offset_seconds(self, part: int, origin: float) -> float:
        if self._packets.is_timed_by_arrival or self._count_fps is not None:
            return 0.0
        return origin + self._packets.timeline.own_offset_seconds(part)

    def _frames_from_start(self) -> Iterator[tuple[float, _Timed]]:
        """The frames from the start on, which counts from the first frame: its time need not be 0."""
        frames = self._timed_frames()
        first = next(frames, None)
        if first is None:
            return
        begin = first.seconds + self._start_seconds
        if self._start_seconds:
            rest = self._seek(begin)
            yield from from_moment(chain([first], frames) if rest is None else rest, begin)
        else:
            yield from ((timed.seconds, timed) for timed in chain([first], frames))

    def _seek(self, seconds: float) -> Iterator[_Timed] | None:
        """The frames from a key frame at or before ``seconds`` on; None where they are read one after another."""
        if self._count_fps is not None:
            return None
        if may_restart(self._stream):
            # One time may be found in several places, to any of which a seek would lead.
            return self._timed_frames(skip_seconds=seconds) if self._packets.rewind() else None
        if not self._packets.seek(seconds):
            return None
        return read_sought(seconds, rewind=self._packets.rewind, read=self._timed_frames)

    def _timed_frames(self, *, skip_seconds: float | None = None) -> Iterator[_Timed]:
        """Frames with their times, without most of those before ``skip_seconds``."""
        packets = iter(self._packets)
        if skip_seconds is not None and self._stream.time_base:
            packets = skip_to(packets, skip_seconds / float(self._stream.time_base))
        # FrameTimes remembers the frame before: each reading of the packets has its own.
        times = FrameTimes(self._stream, fps=self._count_fps)
        for part, frame in self._decode_all(packets):
            presented_at = self._packets.presented_at(frame)
            if presented_at is None:
                continue
            seconds = presented_at if self._packets.is_timed_by_arrival else times.seconds(frame)
            yield _Timed(seconds, presented_at, frame, part)

    def _decode_all(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames, each with the part of the source that it is of."""
        waiting, part = False, 0
        for packet in packets:
            if self._packets.timeline.part(packet) != part:
                # Of another clock: what the decoder holds comes before it, and it refers to nothing of that.
                yield from ((part, frame) for frame in ([] if waiting else drain(self._stream)))
                waiting, part = False, self._packets.timeline.part(packet)
            frames = self._decode(packet)
            waiting = waiting or frames is None
            for frame in frames or ():
                # What refers to a lost frame is garbage: nothing until the next key frame, as for files read at once.
                waiting = waiting and not frame.key_frame
                if not waiting:
                    yield part, frame

    def _decode(self, packet: Packet[VideoStream]) -> list[av.VideoFrame] | None:
        started = perf_counter()
        skips = self._packets.skips
        # What the decoder itself leaves out costs it nothing, and no other frame refers to it.
        self._stream.codec_context.skip_frame = "NONREF" if skips else "DEFAULT"
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            self.corrupt += 1
            if self.corrupt == 1 and not self._stop.is_set():
                logger.warning("%s is corrupt in parts (%s); what decodes is used", self.source.name, error.strerror)
            return None
        finally:
            if not self._stop.is_set():
                self._times.add("decode", 1e3 * (perf_counter() - started))
        self._skipped += skips and not frames
        return frames

    def _make_no_frame_error(self) -> S2TFError:
        name = self.source.name
        if self.source.live or self.source.is_remote:
            return SourceError(f"{name} gave no frame that decodes; check that it sends video")
        if self._packets.cannot_go_back:
            why = "has its index at its end, and a pipe cannot go back to its frames"
            return InputFileError(f"the MP4 on {name} {why}; name the file, or redirect it: - < clip.mp4")
        if self._start_seconds:
            return InputFileError(f"{name} ends before {self._start_seconds:g} s; give an earlier start")
        return InputFileError(f"{name} holds no frame that decodes; {self.broken or 'record or convert it again'}")

"""Reads the packets of one source, in real time where it is live, with the time at which each was presented."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Iterator
from time import perf_counter
from typing import Final

import av
from av.format import Flags
from av.packet import Packet
from av.video.stream import VideoStream

from s2tf_edge.data.container import open_container, reason, rewind, seek, video_stream
from s2tf_edge.errors import SourceError
from s2tf_edge.runtime.sources.catch_up import CatchUp
from s2tf_edge.runtime.sources.hardware_decoding import open_hwaccel
from s2tf_edge.runtime.sources.presentation import PresentationClock
from s2tf_edge.runtime.sources.source import OPEN_SECONDS, READ_SECONDS, Source

__all__ = ["PacketReader"]

logger = logging.getLogger(__name__)

_NO_TIMES: Final[int] = Flags.no_timestamps.value  # type: ignore[assignment]  # the stub gives the flag itself
_MAX_HELD: Final = 64
"""Packets that a decoder may hold before it hands out the first of their frames."""


class PacketReader:
    """The packets of an open source, each with the time at which it was presented.

    Whatever FFmpeg is asked for, opening or the next packet, may return only after ``stop`` was set: nothing is logged
    then, and no packet given.

    Args:
        source: what is read.
        stop: ends reading from another thread.
        fps: frames a second to ask of a camera, or to assume of a source without times.
        hwaccel: as ``open_hwaccel`` takes it.
        catch_up: whether packets of a live source are left out when their decoding falls behind.

    Raises:
        InputFileError: the file cannot be read or holds no video.
        SourceError: the address or device cannot be opened.
    """

    def __init__(
        self, source: Source, *, stop: threading.Event, fps: float | None, hwaccel: str | None, catch_up: bool
    ) -> None:
        self._source = source
        self._stop = stop
        self._clock = PresentationClock()
        self._catch_up = CatchUp() if source.live and catch_up else None
        self._presented_at: dict[int | None, float] = {}
        self._started_at: float | None = None
        self._has_begun = False
        self.left_out = 0
        """Packets left out because their decoding was behind."""
        self.was_cut = False
        """Whether packets were left out since this was last set to false."""
        self.broken = ""
        """Why a file ended before its end, if it did."""
        self._container = open_container(
            source.url,
            format=source.format,
            options=dict(source.options) | ({} if fps is None else {"framerate": str(fps)}),
            timeout_seconds=(OPEN_SECONDS, READ_SECONDS) if source.live or source.is_remote else None,
            hwaccel=open_hwaccel(hwaccel, stop=stop),
        )
        self.stream = video_stream(self._container)
        has_no_times = self._container.format.flags & _NO_TIMES != 0
        self.is_timed_by_arrival = source.live and has_no_times and fps is None
        """Whether frames have no other time than that of their arrival."""
        if fps is not None and not has_no_times and not source.is_camera and not stop.is_set():
            _warn_of_rate(source.name, fps)

    def close(self) -> None:
        """Closes the source."""
        self._container.close()

    @property
    def duration_seconds(self) -> float | None:
        """Of all of the source, as it declares; None where it does not."""
        duration = self._container.duration
        return duration / av.time_base if duration and duration > 0 else None

    @property
    def cannot_go_back(self) -> bool:
        """Whether it broke as an MP4 does that comes through a pipe and has its index behind its frames: at once."""
        is_mp4_on_pipe = self._source.url.startswith("pipe:") and "mp4" in self._container.format.name
        return is_mp4_on_pipe and bool(self.broken) and not self._has_begun

    @property
    def skips(self) -> bool:
        """Whether frames that no other frame refers to are to be left out."""
        return self._catch_up is not None and self._catch_up.skips

    def seek(self, seconds: float) -> bool:
        """Goes to a key frame at or before ``seconds``; false where the container cannot (``container.seek``)."""
        return seek(self._container, self.stream, seconds)

    def rewind(self) -> None:
        """Goes back to the first frame, after a seek."""
        rewind(self._container, self.stream)

    def presented_at(self, frame: av.VideoFrame) -> float:
        """``perf_counter`` when a live source presented a frame, or when its packet was read from a file."""
        return self._presented_at.pop(frame.pts, None) or perf_counter()

    def __iter__(self) -> Iterator[Packet[VideoStream]]:
        """The packets to decode, up to the end or the place where a file breaks.

        Raises:
            SourceError: a live source was lost.
        """
        packets = self._container.demux(self.stream)
        while not self._stop.is_set():
            asked_at = perf_counter()
            try:
                packet = next(packets)
            except StopIteration:
                self._end()
                return
            except (av.FFmpegError, OSError) as error:
                self._break(reason(error))
                return
            waited_seconds = perf_counter() - asked_at
            if self._source.paced:
                self._pace(packet)
            if self._stop.is_set():
                # While it was waited for; another thread may have gone on with the source since.
                return
            self._has_begun = True
            if self._admit(packet, waited_seconds):
                yield packet

    def _pace(self, packet: Packet[VideoStream]) -> None:
        """Waits until the packet's time has come, counted from that of the first."""
        if packet.pts is None or packet.time_base is None:
            return
        seconds = float(packet.pts * packet.time_base)
        if self._started_at is None:
            self._started_at = perf_counter() - seconds
        self._stop.wait(max(0.0, self._started_at + seconds - perf_counter()))

    def _admit(self, packet: Packet[VideoStream], waited_seconds: float) -> bool:
        """Notes when a packet was presented; tells whether it is to be decoded."""
        arrived_at = perf_counter()
        presented_at = self._estimate_presentation(packet, arrived_at)
        if self._catch_up is not None and packet.size:
            lag_seconds = arrived_at - presented_at
            if self._catch_up.is_idle(lag_seconds, waited_seconds=waited_seconds, arrived_at=arrived_at):
                # Late although it was waited for: not this reader is slow, so that its estimate was wrong.
                self._clock = PresentationClock()
                presented_at = self._estimate_presentation(packet, arrived_at)
            # FFmpeg's virtual device gives whole pictures, though it does not say so.
            is_key = packet.is_keyframe or self._source.paced
            if not self._catch_up.takes(arrived_at - presented_at, is_key=is_key, arrived_at=arrived_at):
                self._leave_out()
                return False
        # Frames that never come out of the decoder leave theirs here: it must not grow.
        if len(self._presented_at) >= _MAX_HELD:
            self._presented_at.clear()
        self._presented_at[packet.pts] = presented_at
        return True

    def _estimate_presentation(self, packet: Packet[VideoStream], arrived_at: float) -> float:
        if not self._source.live or self.is_timed_by_arrival or packet.pts is None or packet.time_base is None:
            return arrived_at
        return self._clock.presented_at(float(packet.pts * packet.time_base), arrived_at=arrived_at)

    def _leave_out(self) -> None:
        if not self.was_cut:
            # What the decoder still holds belongs to the past.
            self.stream.codec_context.flush_buffers()
            self._presented_at.clear()
        self.was_cut = True
        self.left_out += 1

    def _end(self) -> None:
        """A live source has no end, but for those that may come to one, and recordings."""
        if self._source.live and not self._source.ends and not (self._source.is_remote and self.duration_seconds):
            self._break("it ended")

    def _break(self, why: str) -> None:
        """Ends a file where it breaks; a live source is lost."""
        self.broken = f"reading failed: {why}"
        if self._source.live:
            msg = f"{self._source.name} was lost ({why}); check that it is on and connected"
            # PyAV's error quotes the URL with its password, which a traceback in the log would show.
            raise SourceError(msg) from None
        if not self._stop.is_set() and not self.cannot_go_back:
            logger.warning("%s ends early; %s", self._source.name, self.broken)


@functools.lru_cache(maxsize=4096)
def _warn_of_rate(name: str, fps: float) -> None:
    """Once for a source, however often it is opened."""
    logger.warning("%s has times of its own; a frame rate of %g is not used", name, fps)

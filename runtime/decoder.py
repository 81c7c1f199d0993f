"""Decodes one source frame by frame, with the time at which each frame was read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import av
from av.packet import Packet
from av.video.stream import VideoStream

from s2tf_edge.data.container import open_container, video_stream
from s2tf_edge.data.frames import FrameTimes
from s2tf_edge.errors import InputFileError, S2TFError, SourceError
from s2tf_edge.runtime.source import Source
from s2tf_edge.runtime.timing import StageTimes

__all__ = ["Decoded", "Decoder"]

logger = logging.getLogger(__name__)

_LIVE_TIMEOUT_SECONDS: Final = 10.0
_MAX_HELD: Final = 64
"""Packets that a decoder may hold before it hands out the first of their frames."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """A frame and its times."""

    frame: av.VideoFrame
    pts_seconds: float
    """Presentation time; a live source starts at 0."""
    read_at: float
    """``perf_counter`` when its packet had been read."""


class Decoder:
    """Reads a source once, from its beginning to its end or until ``stop`` is set.

    Raises:
        InputFileError: the file cannot be read or holds no video.
        SourceError: the live source cannot be opened.
    """

    def __init__(self, source: Source, *, stop: threading.Event, times: StageTimes) -> None:
        self._source = source
        self._stop = stop
        self._times = times
        self._read_at: dict[int | None, float] = {}
        self._started_at: float | None = None
        self.corrupt = 0
        """Packets that did not decode."""
        self.broken = ""
        """Why a file ended before its end, if it did."""
        self._container = open_container(
            source.url,
            format=source.format,
            options=source.options,
            timeout_seconds=_LIVE_TIMEOUT_SECONDS if source.live else None,
        )
        self._stream = video_stream(self._container)
        # Threads that each decode a frame hold back as many frames, which a live source cannot afford.
        self._stream.thread_type = "SLICE" if source.live else "AUTO"

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    @property
    def frame_seconds(self) -> float:
        """The usual time between two frames, as the source declares it; 0 where it does not."""
        rate = self._stream.average_rate
        return float(1 / rate) if rate else 0.0

    def frames(self) -> Iterator[Decoded]:
        """Yields every frame that decodes, in order of presentation.

        Raises:
            InputFileError: a file in which no frame decodes.
            SourceError: a live source that was lost, or gave no frame.
        """
        clock = FrameTimes(self._stream)
        origin: float | None = None
        for frame, read_at in self._decoded():
            seconds = clock.seconds(frame)
            origin = (seconds if self._source.live else 0.0) if origin is None else origin
            yield Decoded(frame=frame, pts_seconds=seconds - origin, read_at=read_at)
        if origin is None and not self._stop.is_set():
            msg = f"{self._source.name} holds no frame that decodes; {self.broken or 'record or convert it again'}"
            raise self._error(msg)

    def _decoded(self) -> Iterator[tuple[av.VideoFrame, float]]:
        waiting = False
        for packet in self._packets():
            frames = self._decode(packet)
            waiting = waiting or frames is None
            for frame in frames or ():
                # What refers to a lost frame is garbage: nothing until the next key frame, as for files read at once.
                waiting = waiting and not frame.key_frame
                read_at = self._read_at.pop(frame.pts, None)
                if not waiting:
                    yield frame, read_at or perf_counter()

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        packets = self._container.demux(self._stream)
        while not self._stop.is_set():
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.FFmpegError, OSError) as error:
                self._break(error)
                return
            if self._source.paced:
                self._pace(packet)
            if len(self._read_at) >= _MAX_HELD:
                self._read_at.clear()
            self._read_at[packet.pts] = perf_counter()
            yield packet

    def _decode(self, packet: Packet[VideoStream]) -> list[av.VideoFrame] | None:
        started = perf_counter()
        try:
            return packet.decode()
        except av.FFmpegError as error:
            self.corrupt += 1
            if self.corrupt == 1:
                logger.warning("%s is corrupt in parts (%s); what decodes is used", self._source.name, error.strerror)
            return None
        finally:
            self._times.add("decode", 1e3 * (perf_counter() - started))

    def _pace(self, packet: Packet[VideoStream]) -> None:
        if packet.pts is None or packet.time_base is None:
            return
        seconds = float(packet.pts * packet.time_base)
        if self._started_at is None:
            self._started_at = perf_counter() - seconds
        self._stop.wait(max(0.0, self._started_at + seconds - perf_counter()))

    def _break(self, error: Exception) -> None:
        """Ends a file where it breaks; a live source is lost."""
        self.broken = f"reading failed: {getattr(error, 'strerror', None) or error}"
        if self._source.live:
            msg = f"{self._source.name} was lost ({self.broken}); check that it is on and connected"
            raise SourceError(msg) from error
        logger.warning("%s ends early; %s", self._source.name, self.broken)

    def _error(self, message: str) -> S2TFError:
        return SourceError(message) if self._source.live else InputFileError(message)

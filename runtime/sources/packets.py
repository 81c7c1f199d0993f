"""Reads the packets of one source, in real time where it is live, with the time at which each was presented."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from time import perf_counter
from typing import Final, cast

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from s2tf_edge.data.container import open_container, reason, rewind, seek, video_stream
from s2tf_edge.data.frames import DEFAULT_FPS, has_times, said_fps
from s2tf_edge.data.timeline import Timeline
from s2tf_edge.errors import SourceError
from s2tf_edge.runtime.sources.catch_up import CatchUp
from s2tf_edge.runtime.sources.continuity import Continuity, Mark, mark_packet
from s2tf_edge.runtime.sources.hardware_decoding import open_hwaccel
from s2tf_edge.runtime.sources.playlist import PLAYLIST_FORMATS, Playlist, read_playlist
from s2tf_edge.runtime.sources.source import OPEN_SECONDS, Source

__all__ = ["PacketReader"]

logger = logging.getLogger(__name__)

_MAX_HELD: Final = 64
"""Packets that a decoder may hold before it hands out the first of their frames."""


class PacketReader:
    """The packets of an open source, each with the time at which it was presented.

    Whatever FFmpeg is asked for, opening or the next packet, may return only after ``stop`` was set: nothing is logged
    then, and no packet given.

    Args:
        source: what is read.
        stop: ends reading from another thread.
        fps: frames a second to ask of a camera, or to count any other source by; None leaves it to the source.
        hwaccel: as ``open_hwaccel`` takes it.
        catch_up: whether packets of a live source are left out when their decoding falls behind.
        continuity: what is remembered of the source, where it was open before.

    Raises:
        InputFileError: the file cannot be read or holds no video.
        SourceError: the address or device cannot be opened.
    """

    def __init__(
        self,
        source: Source,
        *,
        stop: threading.Event,
        fps: float | None,
        hwaccel: str | None,
        catch_up: bool,
        continuity: Continuity | None = None,
    ) -> None:
        self._stop = stop
        self._open_options = {} if fps is None else {"framerate": str(fps)}
        self._hwaccel = open_hwaccel(hwaccel, stop=stop)
        self._container, self.source, self._playlist = self._open(source, continuity)
        """``source`` is what it turned out to be: whether an address is live may be known only once it is open."""
        source = self.source
        self._repeats = source.live and source.is_playlist
        # Where a source does not repeat itself, its times begin anew whenever it is opened.
        self.continuity = Continuity(continuity if self._repeats else None, has_ended=source.ends)
        """What is remembered of the source by now."""
        self._clock = self.continuity.clock
        slack_seconds = self._playlist.slack_seconds if self._playlist else 0.0
        self._catch_up = CatchUp(slack_seconds=slack_seconds) if source.live and catch_up else None
        self._presented_at: dict[int | None, float] = {}
        self._started_at: float | None = None
        # The last of the segments that are listed is complete: what comes first is older by what is listed behind it.
        self._ahead_seconds = self._playlist.listed_seconds(self._options) if self._playlist else 0.0
        self._has_begun = False
        self.left_out = 0
        """Packets left out because their decoding was behind."""
        self.was_cut = False
        """Whether packets were left out since this was last set to false."""
        self.broken = ""
        """Why a file ended before its end, if it did."""
        self.stream = video_stream(self._container)
        self.timeline = self._begin_timeline()
        """Where packets are placed; a seek begins another one."""
        if source.is_playlist:
            self._leave_other_streams()
        has_no_times = not has_times(self.stream)
        self.is_timed_by_arrival = source.live and has_no_times and fps is None
        """Whether frames have no other time than that of their arrival."""
        if has_no_times and not source.live and fps is None and said_fps(self.stream) is None and not stop.is_set():
            _warn_of_rate(source.name)

    def _open(self, source: Source, before: Continuity | None) -> tuple[InputContainer, Source, Playlist | None]:
        """Opens a source as its playlist asks for, where it is one; gives what it turned out to be."""
        playlist = read_playlist(source) if source.is_playlist else None
        self._options = {**source.options, **self._open_options}
        if playlist is not None:
            source = playlist.settle(source, is_known=before is not None and before.is_known)
            self._options = playlist.options(away_seconds=before.away_seconds if before else 0.0) | self._options
        with ExitStack() as stack:
            file = None if source.open is None else stack.enter_context(closing(source.open()))
            container = open_container(
                source.url,
                format=source.format,
                options=self._options,
                timeout_seconds=(OPEN_SECONDS, source.read_seconds) if source.live or source.is_remote else None,
                hwaccel=self._hwaccel,
                file=file,
            )
            self._closing = stack.pop_all()
        if playlist is None and source.is_remote and container.format.name in PLAYLIST_FORMATS:
            # Its address did not tell.
            container.close()
            return self._open(replace(source, is_playlist=True), before)
        return container, source, playlist

    def _leave_other_streams(self) -> None:
        """Sees to it that the other variants of a playlist, and its sound, are not sent as well."""
        # Early versions of PyAV cannot say so.
        levels = getattr(av.stream, "Discard", None)
        for stream in self._container.streams:
            if stream is not self.stream and levels is not None:
                stream.discard = levels.all

    def close(self) -> None:
        """Closes the source."""
        self._container.close()
        self._closing.close()

    @property
    def duration_seconds(self) -> float | None:
        """Of all of the source, as it declares; None where it does not."""
        duration = self._container.duration
        return duration / av.time_base if duration and duration > 0 else None

    @property
    def cannot_go_back(self) -> bool:
        """Whether it broke as an MP4 does that comes through a pipe and has its index behind its frames: at once."""
        is_mp4_on_pipe = self.source.url.startswith("pipe:") and "mp4" in self._container.format.name
        return is_mp4_on_pipe and bool(self.broken) and not self._has_begun

    @property
    def skips(self) -> bool:
        """Whether frames that no other frame refers to are to be left out."""
        return self._catch_up is not None and self._catch_up.skips

    def _begin_timeline(self) -> Timeline:
        # A playlist waits for its next segment, whatever became of the encoder's clock.
        return Timeline(self.stream, is_live=self.source.live, in_segments=self.source.is_playlist)

    def seek(self, seconds: float) -> bool:
        """Goes to a key frame at or before ``seconds``; false where the container cannot (``container.seek``)."""
        if not seek(self._container, self.stream, seconds):
            return False
        self.timeline = self._begin_timeline()
        return True

    def rewind(self) -> bool:
        """Goes back to the first frame; false where the source cannot, as a pipe."""
        try:
            rewind(self._container, self.stream)
        except av.FFmpegError:
            return False
        self.timeline = self._begin_timeline()
        self.broken = ""
        return True

    def presented_at(self, frame: av.VideoFrame) -> float | None:
        """``perf_counter`` when a live source presented a frame, or when its packet was read from a file.

        None for a frame that was given before the source was lost.
        """
        presented_at = self._presented_at.pop(frame.pts, None) or perf_counter()
        return presented_at if self.continuity.give(frame.pts, presented_at=presented_at) else None

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
                # Where a server does not say how long its answers are, the end is an error to FFmpeg.
                if not (self.source.live and self._has_ended()):
                    self._break(reason(error))
                    return
                packet, packets = _end_packet(self.stream), iter(())
            waited_seconds = perf_counter() - asked_at
            mark = mark_packet(packet) if self._repeats else None
            self.timeline.place(packet, waited_seconds=waited_seconds)
            if self.source.paced:
                self._pace(packet)
            if self._stop.is_set():
                # While it was waited for; another thread may have gone on with the source since.
                return
            self._has_begun = True
            if self._admit(packet, waited_seconds, mark):
                yield packet

    def _pace(self, packet: Packet[VideoStream]) -> None:
        """Waits until the packet's time has come, counted from that of the first."""
        seconds = _seconds(packet)
        if seconds is None:
            return
        if self._started_at is None:
            self._started_at = perf_counter() - seconds
        self._stop.wait(max(0.0, self._started_at + seconds - perf_counter()))

    def _admit(self, packet: Packet[VideoStream], waited_seconds: float, mark: Mark | None) -> bool:
        """Notes when a packet was presented; tells whether it is to be decoded."""
        if self.continuity.hold(packet.pts, mark):
            # Others refer to it: it is decoded, and not given again.
            self._ahead_seconds = 0.0
            return True
        arrived_at = perf_counter()
        presented_at = self._estimate_presentation(packet, arrived_at)
        if self._catch_up is not None and packet.size:
            late_seconds = arrived_at - presented_at
            if self._catch_up.is_idle(late_seconds, waited_seconds=waited_seconds, arrived_at=arrived_at):
                # Late although it was waited for: not this reader is slow, so that its estimate was wrong.
                self._clock.reset()
                _warn_of_clock(self.source.name, round(late_seconds))
                presented_at = self._estimate_presentation(packet, arrived_at)
            lag_seconds = self._catch_up.lag(
                _seconds(packet),
                late_seconds=arrived_at - presented_at,
                # A virtual device makes its frames meanwhile, which is work and no wait.
                waited_seconds=0.0 if self.source.paced else waited_seconds,
                arrived_at=arrived_at,
            )
            # FFmpeg's virtual device gives whole pictures, though it does not say so.
            is_key = packet.is_keyframe or self.source.paced
            if not self._catch_up.takes(lag_seconds, is_key=is_key, arrived_at=arrived_at):
                self._leave_out()
                return False
        # Frames that never come out of the decoder leave theirs here: it must not grow.
        if len(self._presented_at) >= _MAX_HELD:
            del self._presented_at[next(iter(self._presented_at))]
        self._presented_at[packet.pts] = presented_at
        return True

    def _estimate_presentation(self, packet: Packet[VideoStream], arrived_at: float) -> float:
        seconds = _seconds(packet)
        if not self.source.live or self.is_timed_by_arrival or seconds is None:
            return arrived_at
        ahead_seconds, self._ahead_seconds = self._ahead_seconds, 0.0
        return self._clock.presented_at(seconds, arrived_at=arrived_at - ahead_seconds)

    def _leave_out(self) -> None:
        if not self.was_cut:
            # What the decoder still holds belongs to the past.
            self.stream.codec_context.flush_buffers()
            self._presented_at.clear()
        self.was_cut = True
        self.left_out += 1

    def _end(self) -> None:
        """A live source has no end, but for those that may come to one, and recordings."""
        if not self.source.live or self.source.ends or (self.source.is_remote and self.duration_seconds):
            return
        if not self._has_ended():
            self._break("it ended" if self._playlist is None else "its playlist brought nothing more")

    def _has_ended(self) -> bool:
        """Whether a playlist has got its end, which FFmpeg does not tell."""
        try:
            return self._playlist is not None and read_playlist(self.source).has_ended
        except SourceError:
            return False

    def _break(self, why: str) -> None:
        """Ends a file where it breaks; a live source is lost."""
        self.broken = f"reading failed: {why}"
        if self.source.live:
            msg = f"{self.source.name} was lost ({why}); check that it is on and connected"
            # PyAV's error quotes the URL with its password, which a traceback in the log would show.
            raise SourceError(msg) from None
        if not self._stop.is_set() and not self.cannot_go_back:
            logger.warning("%s ends early; %s", self.source.name, self.broken)


def _end_packet(stream: VideoStream) -> Packet[VideoStream]:
    """The empty packet behind the last one, for which a decoder hands out what it holds."""
    packet = cast("Packet[VideoStream]", Packet())
    packet.stream = stream
    return packet


def _seconds(packet: Packet[VideoStream]) -> float | None:
    """Its presentation time, where it has one."""
    return None if packet.pts is None or packet.time_base is None else float(packet.pts * packet.time_base)


@functools.lru_cache(maxsize=4096)
def _warn_of_rate(name: str) -> None:
    """Once for a source, however often it is opened."""
    logger.warning(
        "%s says neither times nor a frame rate: %d a second are assumed; give `fps=F` if there are more or fewer",
        name,
        DEFAULT_FPS,
    )


@functools.lru_cache(maxsize=4096)
def _warn_of_clock(name: str, seconds: int) -> None:
    """Once for a source and for as many seconds."""
    logger.warning(
        "frames of %s come %d s later than at first, though they are waited for: its clock is slow, or its network; "
        "the age of labels counts anew",
        name,
        seconds,
    )

"""One reading of a source, from its opening to its end or its loss: frames in; gaps, pictures and windows out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from s2tf_edge.runtime.sources.decoder import Decoded, Decoder
from s2tf_edge.runtime.sources.hardware_decoding import check_hwaccel
from s2tf_edge.runtime.streaming.records import Gap, Picture
from s2tf_edge.runtime.streaming.source_report import SourceReport
from s2tf_edge.runtime.streaming.window import Window, Windower, gap_seconds
from s2tf_edge.spec import ClipSpec

__all__ = ["ReadOptions", "Reading"]


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How sources are read.

    Raises:
        UsageError: ``hwaccel`` is not known.
    """

    hop: int
    """Samples from the start of one window to the start of the next."""
    keep_all: bool
    """Whether reading waits for the network, rather than windows being replaced by newer ones."""
    duration_seconds: float | None
    """How much of each source is read; None for all of it."""
    pictures: bool
    """Whether every frame is posted too."""
    start_seconds: float = 0.0
    """Where in each file to begin, from its first frame."""
    reconnect: bool = True
    """Whether a live source that is lost is opened again."""
    max_outage_seconds: float | None = None
    """How long a source may stay lost; None for ever, once it has given a frame."""
    hwaccel: str | None = None
    """What decodes in place of the processor."""
    fps: float | None = None
    """Frames a second to ask of a camera, or to assume of a source without times."""

    def __post_init__(self) -> None:
        check_hwaccel(self.hwaccel)


class Reading:
    """An open source.

    A live source that was read before goes on in presentation time: as much later as was lost.

    Args:
        report: of the source; it is kept up to date.
        spec: of the clips.
        options: how to read.
        stop: ends reading from another thread.

    Raises:
        InputFileError: the file cannot be read or holds no video.
        SourceError: the address or device cannot be opened.
    """

    def __init__(self, report: SourceReport, *, spec: ClipSpec, options: ReadOptions, stop: threading.Event) -> None:
        self._report = report
        self._options = options
        self._stop = stop
        self._decoder = Decoder(
            report.source,
            stop=stop,
            times=report.times,
            start_seconds=options.start_seconds,
            fps=options.fps,
            hwaccel=options.hwaccel,
            catch_up=not options.keep_all,
        )
        self._windower = Windower(
            spec,
            hop=options.hop,
            gap_seconds=gap_seconds(spec, frame_seconds=self._decoder.frame_seconds),
            times=report.times,
            source=report.index,
        )
        self._counted = (report.corrupt_packets, report.frames_behind, report.out_of_order)

    def __enter__(self) -> Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()

    def items(self) -> Iterator[list[Gap | Picture | Window]]:
        """Yields for each frame the gap before it, its picture if asked for, and the windows that it completes.

        Raises:
            InputFileError: a file in which no frame decodes, or none from the start asked for.
            SourceError: a live source that was lost, or gave no frame.
        """
        report, was_lost = self._report, self._report.presented_at is not None
        shift_seconds, until = 0.0, self._until(0.0) if report.source.live else None
        report.duration_seconds = self._duration_seconds()
        try:
            for decoded in self._decoder.frames():
                gaps: list[Gap] = []
                if report.presented_at is not None and was_lost:
                    shift_seconds = report.position_seconds + decoded.presented_at - report.presented_at
                    gaps, was_lost = [self._found(shift_seconds)], False
                seconds = decoded.pts_seconds + shift_seconds
                until = self._until(seconds) if until is None else until
                if seconds > until:
                    break
                yield [*gaps, *self._taken(decoded, seconds)]
        finally:
            if not self._stop.is_set():
                self._count()
        if not report.reconnects and not self._stop.is_set():
            yield list(self._windower.finish())

    def _until(self, start_seconds: float) -> float:
        return start_seconds + (self._options.duration_seconds or float("inf"))

    def _duration_seconds(self) -> float | None:
        known = [self._decoder.duration_seconds, self._options.duration_seconds]
        return min((seconds for seconds in known if seconds is not None), default=None)

    def _found(self, seconds: float) -> Gap:
        """The source is back; what follows is presented from ``seconds`` on."""
        self._report.reconnects += 1
        self._report.gaps += 1
        return Gap(source=self._report.index, t_start=self._report.position_seconds, t_end=seconds, cause="lost")

    def _taken(self, decoded: Decoded, seconds: float) -> Iterator[Gap | Picture | Window]:
        report = self._report
        report.first_seconds = report.first_seconds if report.frames else seconds
        report.frames += 1
        report.state, report.message = "playing", None
        report.position_seconds, report.presented_at = seconds, decoded.presented_at
        self._count()
        picture = Picture(source=report.index, pts_seconds=seconds, frame=decoded.frame)
        pictures = [picture] if self._options.pictures else []
        for item in self._windower.add(
            decoded.frame,
            pts_seconds=seconds,
            presented_at=decoded.presented_at,
            cause="behind" if decoded.follows_cut else "pause",
        ):
            report.gaps += isinstance(item, Gap)
            if isinstance(item, Window):
                yield from pictures
                pictures = []
            yield item
        yield from pictures

    def _count(self) -> None:
        """Adds what was left out in this reading to what was before it."""
        corrupt, behind, out_of_order = self._counted
        self._report.corrupt_packets = corrupt + self._decoder.corrupt
        self._report.frames_behind = behind + self._decoder.behind
        self._report.out_of_order = out_of_order + self._windower.out_of_order
        self._report.broken = self._decoder.broken or None

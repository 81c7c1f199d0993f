"""A thread that reads sources one after another and posts windows, so that decoding overlaps the network's runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from s2tf_edge.errors import InputFileError, S2TFError, SourceError
from s2tf_edge.runtime.decoder import Decoded, Decoder
from s2tf_edge.runtime.mailbox import Ended, Item, Mailbox
from s2tf_edge.runtime.predictions import Gap, Picture, SourceStatus
from s2tf_edge.runtime.source import Source
from s2tf_edge.runtime.timing import StageTimes
from s2tf_edge.runtime.window import Window, Windower, gap_seconds
from s2tf_edge.spec import ClipSpec

__all__ = ["Lane", "LaneOptions", "SourceReport"]

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class SourceReport:
    """What became of one source; written by the thread that reads it."""

    index: int
    source: Source
    frames: int = 0
    windows: int = 0
    """Windows that were run."""
    gaps: int = 0
    corrupt_packets: int = 0
    out_of_order: int = 0
    broken: str | None = None
    """Why a file ended before its end."""
    error: str | None = None
    times: StageTimes = field(default_factory=StageTimes)

    def status(self) -> SourceStatus:
        """Where it is now."""
        return SourceStatus(
            name=self.source.name,
            state="failed" if self.error else "playing" if self.frames else "waiting",
            frames=self.frames,
            windows=self.windows,
            gaps=self.gaps,
            reconnects=0,
            position_seconds=0.0,
            duration_seconds=None,
            message=self.error,
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        names = ("frames", "windows", "gaps", "corrupt_packets", "broken", "error")
        return {"name": self.source.name} | {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class LaneOptions:
    """How sources are read."""

    hop: int
    """Samples from the start of one window to the start of the next."""
    keep_all: bool
    """Whether reading waits for the network, rather than windows being replaced by newer ones."""
    duration_seconds: float | None
    """How much of each source is read; None for all of it."""
    pictures: bool
    """Whether every frame is posted too."""


class Lane(threading.Thread):
    """Reads its sources in order; a daemon, as a device may block a read for ever."""

    def __init__(
        self, reports: Sequence[SourceReport], *, mailbox: Mailbox, spec: ClipSpec, options: LaneOptions
    ) -> None:
        super().__init__(name=f"read {reports[0].source.name}", daemon=True)
        self.reports = tuple(reports)
        self.stop = threading.Event()
        self.waiting_since: float | None = None
        """``perf_counter`` when the wait for the source began; None while a frame is in hand."""
        self._mailbox = mailbox
        self._spec = spec
        self._options = options

    def run(self) -> None:
        """Reads all sources; what goes wrong is posted as the end of its source."""
        for report in self.reports:
            self.waiting_since = perf_counter()
            error: S2TFError | None = None
            if self.stop.is_set():
                return
            try:
                self._read(report)
            except Exception as caught:
                error = _of_source(report.source, caught)
            self.waiting_since = None
            self._post(Ended(source=report.index, error=error))

    def _read(self, report: SourceReport) -> None:
        logger.debug("reading %s", report.source.name)
        with Decoder(report.source, stop=self.stop, times=report.times) as decoder:
            windower = Windower(
                self._spec,
                hop=self._options.hop,
                gap_seconds=gap_seconds(self._spec, frame_seconds=decoder.frame_seconds),
                times=report.times,
                source=report.index,
            )
            try:
                self._windows(decoder, windower, report)
            finally:
                report.corrupt_packets, report.out_of_order = decoder.corrupt, windower.out_of_order
                report.broken = decoder.broken or None

    def _windows(self, decoder: Decoder, windower: Windower, report: SourceReport) -> None:
        until: float | None = None
        for decoded in decoder.frames():
            self.waiting_since = None
            if until is None and self._options.duration_seconds is not None:
                until = decoded.pts_seconds + self._options.duration_seconds
            if until is not None and decoded.pts_seconds > until:
                break
            report.frames += 1
            for item in self._items(decoded, windower, report):
                report.gaps += isinstance(item, Gap)
                self._post(item)
            self.waiting_since = perf_counter()
        self.waiting_since = None
        for window in windower.finish():
            self._post(window)

    def _items(self, decoded: Decoded, windower: Windower, report: SourceReport) -> Iterator[Item]:
        """The gap before a frame, the frame itself if asked for, and the windows that it completes."""
        picture = Picture(source=report.index, pts_seconds=decoded.pts_seconds, frame=decoded.frame)
        pictures = [picture] if self._options.pictures else []
        for item in windower.add(decoded.frame, pts_seconds=decoded.pts_seconds, read_at=decoded.read_at):
            if isinstance(item, Window):
                yield from pictures
                pictures = []
            yield item
        yield from pictures

    def _post(self, item: Item) -> None:
        self._mailbox.put(item, wait=self._options.keep_all)


def _of_source(source: Source, error: Exception) -> S2TFError:
    """Whatever happens to one source is an error of that source, so that the others go on."""
    if isinstance(error, InputFileError | SourceError):
        return error
    kind = SourceError if source.live else InputFileError
    found = kind(f"{source.name} cannot be used: {str(error) or type(error).__name__}")
    found.__cause__ = error
    return found

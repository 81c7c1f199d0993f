"""A thread that reads sources one after another and posts windows, so that decoding overlaps the network's runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from s2tf_edge.runtime.decoder import Decoded, Decoder
from s2tf_edge.runtime.mailbox import Ended, Item, Mailbox
from s2tf_edge.runtime.predictions import Gap, Picture
from s2tf_edge.runtime.source import Source
from s2tf_edge.runtime.timing import StageTimes
from s2tf_edge.runtime.window import Windower, gap_seconds
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
        self.alive_at = perf_counter()
        """``perf_counter`` when the last frame came."""
        self._mailbox = mailbox
        self._spec = spec
        self._options = options

    def run(self) -> None:
        """Reads all sources; what goes wrong is posted as the end of its source."""
        for report in self.reports:
            error: Exception | None = None
            if self.stop.is_set():
                return
            try:
                self._read(report)
            except Exception as caught:
                error = caught
            self._post(Ended(source=report.index, error=error))

    def _read(self, report: SourceReport) -> None:
        logger.debug("reading %s", report.source.name)
        with Decoder(report.source, stop=self.stop, times=report.times) as decoder:
            windower = Windower(
                self._spec,
                hop=self._options.hop,
                gap_seconds=gap_seconds(self._spec, frame_seconds=decoder.frame_seconds),
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
            if until is None and self._options.duration_seconds is not None:
                until = decoded.pts_seconds + self._options.duration_seconds
            if until is not None and decoded.pts_seconds > until:
                break
            report.frames += 1
            self.alive_at = perf_counter()
            self._take(decoded, windower, report)
        for window in windower.finish():
            self._post(window)

    def _take(self, decoded: Decoded, windower: Windower, report: SourceReport) -> None:
        if self._options.pictures:
            self._post(Picture(source=report.index, pts_seconds=decoded.pts_seconds, frame=decoded.frame))
        started = perf_counter()
        items = list(windower.add(decoded.frame, pts_seconds=decoded.pts_seconds, read_at=decoded.read_at))
        report.times.add("scale", 1e3 * (perf_counter() - started))
        for item in items:
            report.gaps += isinstance(item, Gap)
            self._post(item)

    def _post(self, item: Item) -> None:
        self._mailbox.put(item, wait=self._options.keep_all)

"""A thread that reads sources one after another and posts windows, so that decoding overlaps the network's runs.

A live source that is lost is opened again. What a source is read by may hang for good, as a driver's read does: such a
thread is left behind, and another one goes on with its source:

    Reader      opens ─ frame ─ frame ─ read ················ (hangs) ·········· returns: sees that it was left, ends
    report           playing                        lost          playing
    successor                              started ─ backoff ─ opens ─ frame ─ frame ─ …
                                         └ half a minute after the read began

Both have the same report and the same queue. So that only one of them writes to these, a thread that comes back from a
read asks first whether it may (``_resume``), under the lock under which it is left behind.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from time import perf_counter
from typing import Final

from s2tf_edge.errors import InputFileError, S2TFError, SourceError
from s2tf_edge.runtime.sources.source import OPEN_SECONDS, Source
from s2tf_edge.runtime.streaming.backoff import Backoff
from s2tf_edge.runtime.streaming.clip_ring import Window
from s2tf_edge.runtime.streaming.fair_queue import Ended, FairQueue, Item
from s2tf_edge.runtime.streaming.reading import Reading
from s2tf_edge.runtime.streaming.records import Gap
from s2tf_edge.runtime.streaming.regions import RegionError
from s2tf_edge.runtime.streaming.source_report import SourceReport
from s2tf_edge.runtime.streaming.stream_options import ReadOptions
from s2tf_edge.spec import ClipSpec

__all__ = ["Reader", "replace_if_hung"]

logger = logging.getLogger(__name__)

_MAX_HANGING: Final = 3
"""Threads of one source that may hang before no more are started."""


class Reader(threading.Thread):
    """Reads its sources in order; a daemon, as a device may block a read for ever.

    Args:
        reports: of the sources, in order; a live one is read alone.
        queue: where what is read goes.
        spec: of the clips.
        options: how to read.
        hop: samples from the start of one window to the start of the next.
        keep_all: whether reading waits for the network, rather than windows being replaced by newer ones.
        keep_recordings: the same, where what was taken for live turns out to be a recording.
        before: the thread that hung with the same sources, in whose place this one goes on.
    """

    def __init__(
        self,
        reports: Sequence[SourceReport],
        *,
        queue: FairQueue,
        spec: ClipSpec,
        options: ReadOptions,
        hop: int,
        keep_all: bool,
        keep_recordings: bool = True,
        before: Reader | None = None,
    ) -> None:
        super().__init__(name=f"read {reports[0].source.name}", daemon=True)
        self.reports = tuple(reports)
        self.stop = threading.Event()
        """Set once nothing more may come of this thread: the run is over, or it was left behind."""
        self._queue = queue
        self._spec = spec
        self._options = options
        self._hop = hop
        self._keep_all = keep_all
        self._keep_recordings = keep_recordings
        self._lock = threading.Lock()
        self._waiting_since: float | None = None
        """When the read began that is under way; None while there is none."""
        self._working_since: float | None = None
        """When work began on what was read; None while it reads, or waits for room or for its source."""
        self._outage: Backoff = Backoff(options.max_outage_seconds) if before is None else before._outage
        self._error = None if before is None else before._make_silence_error()
        self._hanging: list[Reader] = (
            [] if before is None else [reader for reader in (*before._hanging, before) if reader.is_alive()]
        )

    @property
    def hangs(self) -> bool:
        """Whether a live source has neither opened nor given a frame for too long."""
        since = self._waiting_since
        source = self.reports[0].source
        # FFmpeg's own timeouts come first where they work.
        hang_seconds = 2 * (OPEN_SECONDS + source.read_seconds)
        return source.live and since is not None and perf_counter() - since > hang_seconds

    @property
    def busy_seconds(self) -> float:
        """How long it has been at work on what it read last; 0 where it waits for something, as a source that is lost.

        A thread that died at work is at it for ever.
        """
        since = self._working_since
        return 0.0 if since is None else perf_counter() - since

    def leave_behind(self) -> bool:
        """Sees to it that nothing comes of this thread any more, if it hangs; returns whether it does."""
        with self._lock:
            if not self.hangs:
                return False
            self.stop.set()
            return True

    def make_successor(self) -> Reader:
        """One that goes on in the place of this thread, which was left behind."""
        return Reader(
            self.reports,
            queue=self._queue,
            spec=self._spec,
            options=self._options,
            hop=self._hop,
            keep_all=self._keep_all,
            keep_recordings=self._keep_recordings,
            before=self,
        )

    def run(self) -> None:
        """Reads all sources; what goes wrong is posted as the end of its source."""
        for report in self.reports:
            if self.stop.is_set():
                return
            error = self._play(report)
            if not self._resume():
                return
            report.state = "ended" if error is None else "failed"
            report.message = None if error is None else str(error)
            self._working_since = None
            for zone in report.zones:
                self._queue.put(Ended(source=zone.index, error=error), wait=True)

    def _resume(self) -> bool:
        """Ends the wait for a read; false where the run is over or this thread was left behind while it waited.

        Up to the next read it cannot be left behind: what it reports, logs and posts until then is its own.
        """
        with self._lock:
            if self.stop.is_set():
                return False
            self._waiting_since = None
            self._working_since = perf_counter()
            return True

    def _play(self, report: SourceReport) -> S2TFError | None:
        """Reads one source, as often as it is lost; returns why it ended before its time."""
        error = self._error
        while error is None or self._may_open_again(report, error):
            caught = self._attempt(report)
            if not isinstance(caught, SourceError):
                return None if caught is None else _to_source_error(report.source, caught)
            error = caught
        # Whoever asked for so much of a source has it, whether it would have come back or not.
        return None if self._is_over(report) else error

    def _attempt(self, report: SourceReport) -> Exception | None:
        try:
            self._read(report)
        except Exception as error:
            return error
        return None

    def _read(self, report: SourceReport) -> None:
        """Reads a source until it ends or is lost."""
        logger.debug("reading %s", report.source.name)
        # From here on, but for the time in which frames are worked on, another thread may find that this one hangs.
        self._waiting_since = perf_counter()
        with Reading(
            report,
            spec=self._spec,
            options=self._options,
            hop=self._hop,
            keep_all=self._keep_all,
            stop=self.stop,
            resume=self._resume,
        ) as reading:
            for items in reading.items():
                if self._outage.seconds:
                    logger.info("%s is back after %.1f s", report.source.name, self._outage.seconds)
                    self._outage.end()
                self._working_since = None
                wait = self._keep_all or (self._keep_recordings and not report.source.live)
                for together in _group_by_instant(items, report):
                    # May wait as long as the network takes, which is no fault of the source.
                    self._queue.put(*together, wait=wait)
                self._waiting_since = perf_counter()

    def _may_open_again(self, report: SourceReport, error: SourceError) -> bool:
        """Waits until a source that was lost may be opened again; false where it shall not be."""
        if not self._resume() or self._is_over(report) or not self._may_come_back(report):
            return False
        if self._outage.begin():
            logger.warning("%s; it is opened again until it is back", error)
        report.state, report.message = "lost", str(error)
        self._working_since = None
        is_crowded = True
        # Each attempt may hang in its turn: where some threads do already, it is waited until one of them returns.
        while is_crowded and not self._is_over(report):
            wait_seconds = self._outage.next_wait()
            if wait_seconds is None:
                return False
            self.stop.wait(wait_seconds)
            is_crowded = sum(reader.is_alive() for reader in self._hanging) >= _MAX_HANGING
        return not self._is_over(report)

    def _may_come_back(self, report: SourceReport) -> bool:
        """A source that never gave a frame is more likely a wrong address, unless there is a time to wait for it."""
        is_known = report.frames > 0 or self._options.max_outage_seconds is not None
        return report.source.live and self._options.reconnect and is_known

    def _is_over(self, report: SourceReport) -> bool:
        """Whether the source need not be read any further."""
        duration = self._options.duration_seconds
        is_past = duration is not None and report.position_seconds + self._outage.seconds > duration
        return self.stop.is_set() or (report.source.live and is_past)

    def _make_silence_error(self) -> SourceError:
        seconds = perf_counter() - (self._waiting_since or perf_counter())
        return SourceError(
            f"{self.reports[0].source.name} gave no frame for {seconds:.0f} s; check that it is connected"
        )


def replace_if_hung(reader: Reader) -> Reader:
    """The reader itself; or, where it hangs, one that is started in its place."""
    if not reader.leave_behind():
        return reader
    successor = reader.make_successor()
    successor.start()
    return successor


def _to_source_error(source: Source, error: Exception) -> S2TFError:
    """Whatever happens to one source is an error of that source, so that the others go on."""
    if isinstance(error, InputFileError | SourceError):
        return error
    if isinstance(error, RegionError):
        # What was asked for is wrong, not the source, whatever kind it is.
        told = RegionError(f"{source.name}: {error}")
        told.__cause__ = error
        return told
    kind = SourceError if source.live else InputFileError
    found = kind(f"{source.name} cannot be used: {str(error) or type(error).__name__}")
    found.__cause__ = error
    return found


def _group_by_instant(items: Iterable[Item], report: SourceReport) -> Iterator[list[Item]]:
    """Windows of different zones that are complete at once stay together; a gap of the source is one of each zone."""
    together: list[Window] = []
    for item in items:
        is_another = not isinstance(item, Window) or item.key in {window.key for window in together}
        if together and is_another:
            yield [*together]
            together = []
        if isinstance(item, Window):
            together.append(item)
        elif isinstance(item, Gap):
            yield [replace(item, source=zone.index) for zone in report.zones]
        else:
            yield [item]
    if together:
        yield [*together]

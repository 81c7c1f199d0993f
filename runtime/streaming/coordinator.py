"""Who works when in a run: starts the readers, steps the queue and the network's runs, replaces readers that hang."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Final

from s2tf_edge.errors import S2TFError
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sources.hardware_decoding import check_hwaccel
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.runtime.streaming.clip_ring import Window
from s2tf_edge.runtime.streaming.fair_queue import Ended, FairQueue, Item
from s2tf_edge.runtime.streaming.inference import InferencePool, WindowResult
from s2tf_edge.runtime.streaming.ledger import Ledger
from s2tf_edge.runtime.streaming.postprocess import Postprocessor
from s2tf_edge.runtime.streaming.reader import Reader, replace_if_hung
from s2tf_edge.runtime.streaming.record_maker import RecordMaker
from s2tf_edge.runtime.streaming.records import Picture, Record, Status
from s2tf_edge.runtime.streaming.source_report import SourceReport
from s2tf_edge.runtime.streaming.stepping import choose_hop
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

__all__ = ["Coordinator"]

_POLL_SECONDS: Final = 0.1
"""How often it is looked whether a reader hangs, where nothing else happens."""
_JOIN_SECONDS: Final = 2.0
"""Longest wait for readers to end; one that hangs is left to itself, and nothing comes of it any more."""


class Coordinator:
    """Runs one call of ``recognize``, from starting its readers to the Summary.

    Args:
        sources: what is read.
        session: open, and not used by others meanwhile.
        options: how.
        stop: set to end early.

    Raises:
        UsageError: what is to decode is not known, or see ``choose_hop``.
    """

    def __init__(
        self, sources: Sequence[Source], session: Session, options: StreamOptions, stop: threading.Event
    ) -> None:
        check_hwaccel(options.hwaccel)
        self._session = session
        self._options = options
        self._stop = stop
        self._hop = choose_hop(session.info, options.hop)
        regions = () if callable(options.regions) else tuple(options.regions)
        self._ledger = Ledger(sources, status_seconds=options.status_seconds, regions=regions)
        self._maker = RecordMaker(Postprocessor(session.info, options, times=self._ledger.label_times), self._ledger)
        shared = [*_group_by_reader(self._ledger.reports)]
        self._queue = FairQueue([zone.index for report in reports for zone in report.zones] for reports in shared)
        self._readers = [self._make_reader(reports) for reports in shared]
        self._has_live = any(source.live for source in sources)

    @property
    def has_read(self) -> bool:
        """Whether anything could be read, so far as is known."""
        return len(self.failures) < len(self._ledger.indices)

    @property
    def failures(self) -> dict[int, S2TFError]:
        """Why sources failed so far, by their position."""
        return self._ledger.failures

    def run(self) -> Iterator[Record]:
        """Yields the records of the whole run; whoever leaves early ends all threads by closing the iterator."""
        # Where a source cannot wait, what was prepared ahead of its turn would be out of date.
        overlap = self._options.keeps_all(live=self._has_live)
        with InferencePool(self._session, overlap=overlap, on_result=self._queue.wake) as pool:
            if self._has_live:
                # Before a camera is opened, so that its first frames do not wait for the runtime's lazy set-up.
                pool.warm_up()
            yield self._ledger.make_start(self._session, self._options, hop=self._hop)
            try:
                for reader in self._readers:
                    reader.start()
                while self._maker.has_open_sources and not self._stop.is_set():
                    yield from self._step(pool)
            finally:
                self._stop_readers()
            yield from self._finish(pool)
        yield self._ledger.make_summary(self._queue.drops, interrupted=self._stop.is_set())

    def _step(self, pool: InferencePool) -> Iterator[Record]:
        """Waits until something can be done, and does each thing that can be, once."""
        self._queue.wait(
            lambda: self._queue.has_pictures or pool.is_ready or (pool.is_free and not self._queue.is_empty),
            timeout_seconds=_POLL_SECONDS,
        )
        # One at a time: whoever draws or saves them may be slow, and labels are not to wait for that.
        yield from self._take_picture()
        # Nothing is taken that cannot be run at once: in the queue a newer window may still take its place. Where the
        # network takes any number, it is given those of one instant of each reader.
        if pool.is_free:
            pool.put([item for item in self._queue.take(windows=self._session.info.batch) if self._is_wanted(item)])
        for item, result in pool.finished():
            yield from self._make(item, result)
        self._readers = [replace_if_hung(reader) for reader in self._readers]
        yield from self._make_status(pool)

    def _finish(self, pool: InferencePool) -> Iterator[Record]:
        """After an early end: what was under way, pictures, so that a saved video is whole, and the open events."""
        for item, result in pool.finished(wait=True):
            yield from self._make(item, result)
        while self._queue.has_pictures:
            yield from self._take_picture()
        # Windows that were not begun are left; the pictures among them are not.
        while items := self._queue.take(windows=1):
            yield from (item for item in items if isinstance(item, Picture) and self._maker.is_open(item.source))
        yield from self._maker.end_all()

    def _make_reader(self, reports: Sequence[SourceReport]) -> Reader:
        return Reader(
            reports,
            queue=self._queue,
            spec=self._session.info.spec,
            options=self._options,
            hop=self._hop,
            keep_all=self._options.keeps_all(live=reports[0].source.live),
            keep_recordings=self._options.keeps_all(live=False),
        )

    def _stop_readers(self) -> None:
        for reader in self._readers:
            reader.stop.set()
        # Those that wait for room wait no longer, and what they still bring is thrown away.
        self._queue.close()
        deadline = perf_counter() + _JOIN_SECONDS
        for reader in self._readers:
            if reader.is_alive():
                reader.join(max(0.0, deadline - perf_counter()))

    def _make(self, item: Item, result: WindowResult | None) -> Iterator[Record]:
        """The records of one item; before the end of a source come its pictures that went past its windows."""
        if isinstance(item, Ended):
            yield from self._queue.take_pictures_of(item.source)
        yield from self._maker.make(item, result)

    def _take_picture(self) -> Iterator[Picture]:
        picture = self._queue.take_picture()
        if picture is not None and self._maker.is_open(picture.source):
            yield picture

    def _is_wanted(self, item: Item) -> bool:
        """Whether it is of a source that was not given up, and, where it is a window, young enough."""
        limit = self._options.max_age_seconds
        if isinstance(item, Window) and limit is not None and perf_counter() - item.presented_at > limit:
            self._ledger.drops["windows_too_old"] += 1
            return False
        return self._maker.is_open(item.source)

    def _make_status(self, pool: InferencePool) -> Iterator[Status]:
        status = self._ledger.make_status(
            self._queue.drops,
            network_seconds=pool.busy_seconds,
            reader_seconds=max(reader.busy_seconds for reader in self._readers),
        )
        if status is not None:
            yield status


def _group_by_reader(reports: Sequence[SourceReport]) -> Iterator[list[SourceReport]]:
    """Which sources share a thread: all files, one after another; each live source has its own."""
    files = [report for report in reports if not report.source.live]
    if files:
        yield files
    yield from ([report] for report in reports if report.source.live)

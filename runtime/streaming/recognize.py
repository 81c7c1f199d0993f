"""Action recognition in files and live sources: the function behind ``s2tf-stream``.

    for record in recognize("clip.mp4", "model_openvino_fp16"):
        if isinstance(record, Prediction):
            print(record.t_end, record.label, record.score)

Threads read, one for the files and one for each live source; others run the network; the caller's makes records:

    file, file, … ─ decode ─ scale ─ ring ─┐           ┌─ normalize ─ infer ─┐
    camera        ─ decode ─ scale ─ ring ─┼─ queue ─┤                     ├─ smooth ─ records
    camera        ─ decode ─ scale ─ ring ─┘           └─ normalize ─ infer ─┘
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Final

from s2tf_edge.errors import S2TFError, UsageError
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sources.source import Source, parse_source
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.fair_queue import Ended, FairQueue, Item
from s2tf_edge.runtime.streaming.inference import InferencePool, WindowResult
from s2tf_edge.runtime.streaming.postprocess import Postprocessor
from s2tf_edge.runtime.streaming.reader import Reader, replaced_if_hung
from s2tf_edge.runtime.streaming.reading import ReadOptions
from s2tf_edge.runtime.streaming.records import Event, Failure, Gap, Picture, Prediction, Record, Start, Status, Summary
from s2tf_edge.runtime.streaming.source_report import SourceReport
from s2tf_edge.runtime.streaming.stream_options import StreamOptions
from s2tf_edge.runtime.streaming.window import Window

__all__ = ["recognize"]

_POLL_SECONDS: Final = 0.1
_JOIN_SECONDS: Final = 2.0


def recognize(
    sources: str | Path | Source | Sequence[str | Path | Source],
    session: Session | str | Path,
    *,
    options: StreamOptions | None = None,
    stop: threading.Event | None = None,
) -> Generator[Record, None, None]:
    """Recognizes actions in sources until they end.

    Files are read one after another, live sources together with them. A source that fails gives a Failure, and the
    others go on. Whoever does not take all records closes the generator before the session.

    Args:
        sources: see ``parse_source`` for what text may say.
        session: an open session, or what ``open_session`` takes.
        options: how; the defaults unless given.
        stop: set it, from a signal handler or another thread, to end early; the Summary still comes.

    Yields:
        A Start, then Predictions, Events, Gaps, Failures (and Pictures, if asked for) in order for each source, and a
        Summary last.

    Raises:
        UsageError: a source is of a kind that cannot be read, or there is none; or saliency is asked of a network that
            gives no mask.
        InputFileError: the artifact cannot be read; or no source could, and the first of them was a file.
        SourceError: no source could be read, and the first of them was live.
        MissingExtraError: the artifact's runtime is not installed.
        UnsupportedError: the runtime refuses the network on this device.
        VerificationError: the network computes logits that are not finite.
    """
    options = options or StreamOptions()
    parsed = _parse(sources)
    with ExitStack() as stack:
        if not isinstance(session, Session):
            session = stack.enter_context(open_session(session))
        if options.saliency and not session.info.has_mask:
            msg = f"{session.info.name} gives no saliency mask; export an SSF or S2TF network with `mask=True`"
            raise UsageError(msg)
        run = _Run(parsed, session, options, stop or threading.Event())
        yield from run.records()
    failures = run.failures
    if len(failures) == len(parsed):
        raise failures[min(failures)]


def _parse(sources: str | Path | Source | Sequence[str | Path | Source]) -> list[Source]:
    several = [sources] if isinstance(sources, str | Path | Source) else sources
    parsed: list[Source] = []
    for source in several:
        parsed += [source] if isinstance(source, Source) else parse_source(str(source))
    if not parsed:
        msg = "there is no source to read; give one or more"
        raise UsageError(msg)
    return parsed


class _Run:
    """One call of ``recognize``."""

    def __init__(
        self, sources: Sequence[Source], session: Session, options: StreamOptions, stop: threading.Event
    ) -> None:
        self.failures: dict[int, S2TFError] = {}
        self._session = session
        self._info = session.info
        self._spec = session.info.spec
        self._options = options
        self._stop = stop
        self._hop = options.hop or max(1, self._spec.frames // 4)
        self._reports = [SourceReport(index=index, source=source) for index, source in enumerate(sources)]
        self._postprocessor = Postprocessor(session.info, options)
        self._events = 0
        self._has_live = any(report.source.live for report in self._reports)
        readers = [*_readers(self._reports)]
        self._queue = FairQueue([report.index for report in reports] for reports in readers)
        self._drops: Counter[str] = Counter()
        self._readers = [self._reader(reports) for reports in readers]
        self._open = {report.index for report in self._reports}
        self._batch = session.info.batch or len(self._readers)
        self._started_at = perf_counter()
        self._told_at = self._started_at

    def records(self) -> Iterator[Record]:
        # Where a source cannot wait, what was prepared ahead of its turn would be out of date.
        overlap = self._options.keeps_all(live=self._has_live)
        with InferencePool(self._session, overlap=overlap, on_result=self._queue.wake) as pipeline:
            if self._has_live:
                # Before a camera is opened, so that its first frames do not wait for the runtime's lazy set-up.
                pipeline.warm_up()
            yield self._start()
            try:
                for reader in self._readers:
                    reader.start()
                while self._open and not self._stop.is_set():
                    yield from self._step(pipeline)
            finally:
                self._shut()
            yield from self._rest(pipeline)
        yield self._summary(interrupted=self._stop.is_set())

    def _rest(self, pipeline: InferencePool) -> Iterator[Record]:
        """After an early end: what was under way, pictures, so that a saved video is whole, and the open events."""
        for item, result in pipeline.finished(wait=True):
            yield from self._told(item, result)
        while self._queue.has_pictures:
            yield from self._picture()
        while items := self._queue.take(windows=1):
            yield from (item for item in items if isinstance(item, Picture) and item.source in self._open)
        for index in sorted(self._open):
            yield from self._end(index)

    def _reader(self, reports: Sequence[SourceReport]) -> Reader:
        options = ReadOptions(
            hop=self._hop,
            keep_all=self._options.keeps_all(live=reports[0].source.live),
            duration_seconds=self._options.duration_seconds,
            pictures=self._options.pictures,
            start_seconds=self._options.start_seconds,
            reconnect=self._options.reconnect,
            max_outage_seconds=self._options.max_outage_seconds,
            hwaccel=self._options.hwaccel,
            fps=self._options.fps,
        )
        return Reader(reports, queue=self._queue, spec=self._spec, options=options)

    def _shut(self) -> None:
        for reader in self._readers:
            reader.stop.set()
        self._queue.close()
        deadline = perf_counter() + _JOIN_SECONDS
        for reader in self._readers:
            if reader.is_alive():
                reader.join(max(0.0, deadline - perf_counter()))

    def _step(self, pipeline: InferencePool) -> Iterator[Record]:
        self._queue.wait(
            lambda: self._queue.has_pictures or pipeline.is_ready or (pipeline.is_free and not self._queue.is_empty),
            timeout_seconds=_POLL_SECONDS,
        )
        # One at a time: whoever draws or saves them may be slow, and labels are not to wait for that.
        yield from self._picture()
        if pipeline.is_free:
            pipeline.put([item for item in self._queue.take(windows=self._batch) if self._is_wanted(item)])
        for item, result in pipeline.finished():
            yield from self._told(item, result)
        self._readers = [replaced_if_hung(reader) for reader in self._readers]
        yield from self._status()

    def _picture(self) -> Iterator[Picture]:
        picture = self._queue.take_picture()
        if picture is not None and picture.source in self._open:
            yield picture

    def _is_wanted(self, item: Item) -> bool:
        """Whether it is of a source that was not given up, and, where it is a window, young enough."""
        limit = self._options.max_age_seconds
        if isinstance(item, Window) and limit is not None and perf_counter() - item.presented_at > limit:
            self._drops["windows_too_old"] += 1
            return False
        return item.source in self._open

    def _told(self, item: Item, result: WindowResult | None) -> Iterator[Record]:
        if item.source not in self._open:
            return
        if isinstance(item, Window) and result is not None:
            yield from self._counted(self._postprocessor.recognized(item, result), item.source)
        elif isinstance(item, Picture):
            yield item
        elif isinstance(item, Gap):
            yield from self._counted(self._postprocessor.gap(item.source), item.source)
            yield item
        elif isinstance(item, Ended):
            if item.error is not None:
                yield from self._fail(item.source, item.error)
            yield from self._end(item.source)

    def _end(self, index: int) -> Iterator[Record]:
        self._open.discard(index)
        yield from self._counted(self._postprocessor.end(index), index)

    def _counted(self, records: Sequence[Prediction | Event], source: int) -> Iterator[Record]:
        for record in records:
            self._events += isinstance(record, Event)
            self._reports[source].windows += isinstance(record, Prediction)
            yield record

    def _fail(self, index: int, error: S2TFError) -> Iterator[Failure]:
        self.failures[index] = error
        report = self._reports[index]
        report.error = str(error)
        yield Failure(source=index, name=report.source.name, message=str(error), exit_code=error.exit_code)

    def _status(self) -> Iterator[Status]:
        now, period = perf_counter(), self._options.status_seconds
        if period is None or now - self._told_at < period:
            return
        self._told_at = now
        yield Status(
            seconds=now - self._started_at,
            drops=self._all_drops(),
            stages_ms=self._times().to_dict(),
            sources=tuple(report.status() for report in self._reports),
        )

    def _start(self) -> Start:
        info, options, path = self._info, self._options, self._session.path
        return Start(
            artifact=str(path if info.target == "torch" else path.parent),
            network=info.network,
            target=info.target,
            precision=info.precision,
            clip=self._spec,
            labels=len(info.labels),
            hop=self._hop,
            policy=options.policy,
            smooth=str(options.smoothing),
            threshold=options.threshold,
            sources=tuple(report.source.name for report in self._reports),
        )

    def _summary(self, *, interrupted: bool) -> Summary:
        return Summary(
            seconds=perf_counter() - self._started_at,
            interrupted=interrupted,
            frames_in=sum(report.frames for report in self._reports),
            windows=sum(report.windows for report in self._reports),
            events=self._events,
            gaps=sum(report.gaps for report in self._reports),
            drops=self._all_drops(),
            stages_ms=self._times().to_dict(),
            sources=tuple(report.to_dict() for report in self._reports),
        )

    def _times(self) -> StageTimes:
        times = StageTimes()
        for report in self._reports:
            times.merge(report.times)
        times.merge(self._postprocessor.times)
        return times

    def _all_drops(self) -> dict[str, int]:
        drops = Counter(self._queue.drops) + self._drops
        drops["corrupt_packets"] = sum(report.corrupt_packets for report in self._reports)
        drops["frames_behind"] = sum(report.frames_behind for report in self._reports)
        drops["frames_out_of_order"] = sum(report.out_of_order for report in self._reports)
        return {cause: count for cause, count in sorted(drops.items()) if count}


def _readers(reports: Sequence[SourceReport]) -> Iterator[list[SourceReport]]:
    """Which sources share a thread: all files, one after another; each live source has its own."""
    files = [report for report in reports if not report.source.live]
    if files:
        yield files
    yield from ([report] for report in reports if report.source.live)

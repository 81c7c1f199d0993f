"""The accounts of a run: what became of each source, what was dropped, how long each stage took."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from time import perf_counter

from s2tf_edge.errors import S2TFError
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.records import Event, Failure, Prediction, Start, Status, Summary
from s2tf_edge.runtime.streaming.regions import Region
from s2tf_edge.runtime.streaming.source_report import SourceReport
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

__all__ = ["Ledger"]


class Ledger:
    """Keeps one report for each thing that is read, and makes the records that sum them up: Start, Status and Summary.

    Where zones were asked for, each zone of each report is a source of the records.

    Readers write the parts of a report that are theirs, each of its own sources; all else is of the caller's thread.
    """

    def __init__(
        self, sources: Sequence[Source], *, status_seconds: float | None, regions: Sequence[Region] = ()
    ) -> None:
        """Begins the accounts; the seconds of the run count from here.

        Args:
            sources: what is read.
            status_seconds: from one Status to the next; None for none.
            regions: zones of each of them; without any, the whole picture counts.
        """
        each = max(1, len(regions))
        self.reports = tuple(
            SourceReport(index=each * number, source=source, regions=tuple(regions))
            for number, source in enumerate(sources)
        )
        """One for each thing that is read."""
        self._zones = tuple((report, zone) for report in self.reports for zone in report.zones)
        self.failures: dict[int, S2TFError] = {}
        """Why sources failed, by their position."""
        self.drops: Counter[str] = Counter()
        """What was left out by the thread that makes records, by cause."""
        self.label_times = StageTimes()
        """Of the stages from a window to its label; the others are in the reports."""
        self._running = self.reports
        """Those whose times may still grow."""
        self._past_times = StageTimes()
        """Of all others together: of a folder of thousands these are nearly all."""
        self._status_seconds = status_seconds
        self._events = 0
        self._began_at = datetime.now(timezone.utc)
        self._started_at = perf_counter()
        self._status_at = self._started_at

    @property
    def indices(self) -> tuple[int, ...]:
        """The positions of all sources of the records."""
        return tuple(zone.index for _, zone in self._zones)

    def count(self, record: Prediction | Event) -> None:
        """Adds a prediction to the windows of its source that were run, an event to all events."""
        self._events += isinstance(record, Event)
        _, zone = self._zones[record.source]
        zone.windows += isinstance(record, Prediction)

    def fail(self, index: int, error: S2TFError) -> Failure:
        """Notes why a source failed."""
        self.failures[index] = error
        report, zone = self._zones[index]
        report.error = str(error)
        return Failure(source=index, name=zone.name, message=str(error), exit_code=error.exit_code)

    def make_start(self, session: Session, options: StreamOptions, *, hop: int) -> Start:
        """What is about to run.

        Args:
            session: open.
            options: as asked for.
            hop: samples from the start of one window to the start of the next.
        """
        info, path = session.info, session.path
        policies = tuple(options.policy_of(live=report.source.live) for report, _ in self._zones)
        return Start(
            started_at=self._began_at,
            artifact=str(path if info.target == "torch" else path.parent),
            network=info.network,
            target=info.target,
            precision=info.precision,
            form=info.form,
            clip=info.spec,
            labels=len(info.labels),
            hop=hop,
            policy=policies if len(set(policies)) > 1 else policies[0],
            smooth=str(options.smoothing),
            threshold=options.threshold,
            sources=tuple(zone.name for _, zone in self._zones),
            regions=tuple(zone.region for _, zone in self._zones if zone.region is not None),
            pictures=tuple(report.index for report, zone in self._zones if zone.region is not None),
        )

    def make_status(
        self, queue_drops: Mapping[str, int], *, network_seconds: float = 0.0, reader_seconds: float = 0.0
    ) -> Status | None:
        """How things stand, if it is time to say so again.

        Args:
            queue_drops: what the queue left out, by cause.
            network_seconds: as in the Status.
            reader_seconds: likewise.
        """
        now = perf_counter()
        if self._status_seconds is None or now - self._status_at < self._status_seconds:
            return None
        self._status_at = now
        return Status(
            seconds=now - self._started_at,
            drops=self._sum_drops(queue_drops),
            stages_ms=self._merge_times().to_dict(),
            sources=tuple(report.status(zone) for report, zone in self._zones),
            network_seconds=network_seconds,
            reader_seconds=reader_seconds,
        )

    def make_summary(self, queue_drops: Mapping[str, int], *, interrupted: bool) -> Summary:
        """Counts and times of the whole run.

        Args:
            queue_drops: what the queue left out, by cause.
            interrupted: whether the run was ended from outside.
        """
        return Summary(
            seconds=perf_counter() - self._started_at,
            interrupted=interrupted,
            frames_in=sum(report.frames for report in self.reports),
            windows=sum(zone.windows for _, zone in self._zones),
            events=self._events,
            gaps=sum(report.gaps for report, _ in self._zones),
            drops=self._sum_drops(queue_drops),
            stages_ms=self._merge_times().to_dict(),
            sources=tuple(report.to_dict(zone) for report, zone in self._zones),
        )

    def _merge_times(self) -> StageTimes:
        running = []
        for report in self._running:
            # A reader says so once nothing more comes of its source.
            if report.state in ("ended", "failed"):
                self._past_times.merge(report.times)
            else:
                running.append(report)
        self._running = tuple(running)
        times = StageTimes()
        for part in (self._past_times, *(report.times for report in self._running), self.label_times):
            times.merge(part)
        return times

    def _sum_drops(self, queue_drops: Mapping[str, int]) -> dict[str, int]:
        # Copied first, as readers add to it.
        drops = Counter(queue_drops) + self.drops
        drops["corrupt_packets"] = sum(report.corrupt_packets for report in self.reports)
        drops["frames_behind"] = sum(report.frames_behind for report in self.reports)
        drops["frames_out_of_order"] = sum(report.out_of_order for report in self.reports)
        drops["regions_left_out"] = sum(report.regions_left_out for report in self.reports)
        return {cause: count for cause, count in sorted(drops.items()) if count}

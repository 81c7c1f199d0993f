"""A stream in Prometheus' text format: ``/metrics``."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from s2tf_edge.runtime.streaming.records import Event, Prediction, Record, SourceStatus, Start, Status

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_AGE_BUCKETS: Final = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)
_AGE: Final = "From the presentation of a window's newest frame to its label."
_QUANTILES: Final = {"p50": "0.5", "p95": "0.95", "p99": "0.99"}
_SOURCE: Final = ("source", "index")
"""Two sources may have the same name."""
_COUNTERS: Final[tuple[tuple[str, str, Callable[[SourceStatus], int]], ...]] = (
    ("frames", "Frames that were read.", lambda source: source.frames),
    ("windows", "Windows that were run.", lambda source: source.windows),
    ("gaps", "Losses of signal.", lambda source: source.gaps),
    ("reconnects", "Times that a lost source was opened again.", lambda source: source.reconnects),
)


class Metrics(Collector):
    """Counts what a stream says, in a registry of its own, and passes on what the stream counts itself.

    Args:
        missed: how many entries slow clients have missed.
    """

    def __init__(self, *, missed: Callable[[], int] = lambda: 0) -> None:
        self._missed = missed
        self._sources: tuple[str, ...] = ()
        self._status: Status | None = None
        self._counted = own = CollectorRegistry()
        self._info = Info("s2tf_stream", "What runs.", registry=own)
        self._age = Histogram("s2tf_label_age_seconds", _AGE, _SOURCE, buckets=_AGE_BUCKETS, registry=own)
        self._predicted_at = Gauge("s2tf_last_prediction_timestamp_seconds", "Unix time of it.", _SOURCE, registry=own)
        self._events = Counter("s2tf_events", "Actions that have ended.", (*_SOURCE, "label"), registry=own)

    def write(self, record: Record) -> None:
        """Takes a record."""
        if isinstance(record, Start):
            self._sources = record.sources
            shown = ("artifact", "network", "target", "precision")
            policies = [record.policy] if isinstance(record.policy, str) else sorted(set(record.policy))
            self._info.info({name: getattr(record, name) for name in shown} | {"policy": ",".join(policies)})
        elif isinstance(record, Prediction):
            labels = self._labels(record.source)
            self._age.labels(*labels).observe(record.age_ms / 1e3)
            self._predicted_at.labels(*labels).set(time.time())
        elif isinstance(record, Event):
            self._events.labels(*self._labels(record.source), record.label).inc()
        elif isinstance(record, Status):
            self._status = record

    def text(self) -> bytes:
        """All of it, in text format 0.0.4."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """What was counted here, then what the newest Status says."""
        for metric in self._counted.collect():
            # Text format 0.0.4 has no times of creation; each would be a metric of its own.
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
        yield CounterMetricFamily("s2tf_web_missed", "Records that slow clients of the page missed.", self._missed())
        if self._status is not None:
            yield GaugeMetricFamily("s2tf_uptime_seconds", "Since the stream began.", self._status.seconds)
            yield from _of_sources(self._status.sources)
            yield _drops(self._status.drops)
            yield _stages(self._status.stages_ms)

    def _labels(self, source: int) -> tuple[str, str]:
        return (self._sources[source] if source < len(self._sources) else "", str(source))


def _drops(drops: Mapping[str, int]) -> Metric:
    counter = CounterMetricFamily("s2tf_drops", "What was left out, by cause.", labels=["cause"])
    for cause, count in drops.items():
        counter.add_metric([cause], count)
    return counter


def _of_sources(sources: Iterable[SourceStatus]) -> Iterable[Metric]:
    up = GaugeMetricFamily("s2tf_up", "1 while the source plays, else 0.", labels=_SOURCE)
    counters = [CounterMetricFamily(f"s2tf_{name}", text, labels=_SOURCE) for name, text, _ in _COUNTERS]
    for index, source in enumerate(sources):
        labels = (source.name, str(index))
        up.add_metric(labels, source.state == "playing")
        for counter, (_, _, count) in zip(counters, _COUNTERS, strict=True):
            counter.add_metric(labels, count(source))
    return [up, *counters]


def _stages(stages_ms: Mapping[str, Mapping[str, float]]) -> Metric:
    text = "Time that a stage takes, over the whole run."
    gauge = GaugeMetricFamily("s2tf_stage_latency_seconds", text, labels=["stage", "quantile"])
    for stage, values in stages_ms.items():
        for name, quantile in _QUANTILES.items():
            if name in values:
                gauge.add_metric([stage, quantile], values[name] / 1e3)
    return gauge

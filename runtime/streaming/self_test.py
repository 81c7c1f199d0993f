"""Shows on the machine itself that a stream keeps up: made sources, more than can be run, for as long as asked for.

Nothing may grow: neither the age of labels nor memory. Both are compared between the beginning of the run and its end,
a minute each or a third of a shorter run; as much goes before as warm-up, in which runtimes and decoders fill their
caches, for some 25 seconds.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Final

import numpy as np

from s2tf_edge.errors import UsageError
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.hardware import resident_memory_mb
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Prediction, Record, Status, Summary
from s2tf_edge.runtime.streaming.stepping import choose_hop
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

__all__ = ["SelfTest", "self_test"]

LOAD: Final = 2.0
"""Windows that come for each that can be run."""
MAX_AGE_GROWTH: Final = 1.2
MAX_MEMORY_GROWTH: Final = 1.02
_MAX_SOURCES: Final = 16
_SOURCE: Final = "lavfi:testsrc2=size=320x240:rate={rate:g}"
_RUNS: Final = 5
_PART_SECONDS: Final = 60.0
_MIN_SECONDS: Final = 30.0


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """Label age and memory at the beginning of a run under overload, and at its end."""

    seconds: float
    sources: int
    windows: int
    """Windows that were run."""
    superseded: int
    """Windows that newer ones took the place of."""
    age_ms: tuple[float, float]
    """p95 of the labels' age in the first and the last part."""
    memory_mb: tuple[float, float]
    """Median resident memory in the first and the last part, in MB of 10^6 bytes."""

    @property
    def load(self) -> float:
        """Windows that came for each that was run."""
        return (self.windows + self.superseded) / max(1, self.windows)

    @property
    def complaints(self) -> tuple[str, ...]:
        """What grew; empty if nothing did."""
        grown = []
        for name, unit, (first, last), most in (
            ("label age (p95)", "ms", self.age_ms, MAX_AGE_GROWTH),
            ("memory", "MB", self.memory_mb, MAX_MEMORY_GROWTH),
        ):
            if not last <= most * first:  # nothing seen, which is not a number, is no good either
                grown.append(f"{name} grew from {first:.1f} to {last:.1f} {unit}, allowed are {100 * (most - 1):.0f} %")
        return tuple(grown)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "seconds": round(self.seconds, 1),
            "sources": self.sources,
            "windows": self.windows,
            "superseded": self.superseded,
            "load": round(self.load, 2),
            "age_p95_ms": [round(each, 2) for each in self.age_ms],
            "memory_mb": [round(each, 1) for each in self.memory_mb],
            "complaints": list(self.complaints),
        }


class _Series:
    """Values over time, in the few bytes that a measurement of memory may take itself."""

    def __init__(self) -> None:
        self._seconds = array("d")
        self._values = array("d")

    def __len__(self) -> int:
        return len(self._values)

    def add(self, seconds: float, value: float) -> None:
        self._seconds.append(seconds)
        self._values.append(value)

    def percentile(self, percent: float, part: tuple[float, float]) -> float:
        """Of the values within a part; not a number where there are none."""
        seconds, values = np.array(self._seconds), np.array(self._values)
        within = values[(part[0] <= seconds) & (seconds <= part[1])]
        return float(np.percentile(within, percent)) if len(within) else math.nan


class _Seen:
    """Collects label ages and memory over the time of a run."""

    def __init__(self) -> None:
        self.ages_ms, self.memory_mb = _Series(), _Series()
        self.superseded = 0

    def add(self, record: Record, seconds: float) -> None:
        if isinstance(record, Prediction):
            self.ages_ms.add(seconds, record.age_ms)
        elif isinstance(record, Status):
            self.memory_mb.add(seconds, resident_memory_mb())
        elif isinstance(record, Summary):
            self.superseded = record.drops.get("windows_superseded", 0)


def self_test(session: Session, *, seconds: float, progress: Progress = no_progress) -> SelfTest:
    """Streams from made sources at twice what the machine can run, or from as many as are allowed.

    Args:
        session: open; made for the latency hint.
        seconds: how long; thirty at least.
        progress: called about every second.

    Raises:
        UsageError: ``seconds`` is too short to compare anything, or see ``choose_hop``.
    """
    if seconds < _MIN_SECONDS:
        msg = f"a self-test takes {_MIN_SECONDS:.0f} seconds or more, got {seconds:g}"
        raise UsageError(msg)
    spec = session.info.spec
    hop = choose_hop(session.info, 1 if session.info.step is None else None)
    count = _sources(session, hop)
    options = StreamOptions(hop=hop, policy="latest", duration_seconds=seconds, status_seconds=0.5)
    seen, began = _Seen(), perf_counter()
    for record in recognize([_SOURCE.format(rate=spec.fps)] * count, session, options=options):
        passed = perf_counter() - began
        seen.add(record, passed)
        if isinstance(record, Status):
            progress(min(int(passed), int(seconds)), int(seconds))
    first, last = _parts(perf_counter() - began)
    return SelfTest(
        seconds=perf_counter() - began,
        sources=count,
        windows=len(seen.ages_ms),
        superseded=seen.superseded,
        age_ms=(seen.ages_ms.percentile(95, first), seen.ages_ms.percentile(95, last)),
        memory_mb=(seen.memory_mb.percentile(50, first), seen.memory_mb.percentile(50, last)),
    )


def _sources(session: Session, hop: int) -> int:
    """How many sources give twice the windows that can be run, were there nothing else to do."""
    spec = session.info.spec
    run: Callable[[], object]
    if session.info.step is None:
        run = partial(session.infer, np.zeros(spec.input_shape(), spec.dtype))
    else:
        frames = np.zeros(dataclasses.replace(spec, frames=hop).input_shape(), spec.dtype)
        run = partial(session.step, frames, session.start(1))
    times = []
    for _ in range(_RUNS):
        began = perf_counter()
        run()
        times.append(perf_counter() - began)
    return min(_MAX_SOURCES, max(1, math.ceil(LOAD / statistics.median(times) * hop * spec.period_seconds)))


def _parts(seconds: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """The first part, after as much time for warm-up, and the last."""
    part = min(_PART_SECONDS, seconds / 3)
    return (part, 2 * part), (seconds - part, seconds)

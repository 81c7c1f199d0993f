"""Latency, memory and accuracy of several artifacts, side by side.

Each artifact lives in a process of its own, so that its memory is its own and its crash stops nobody. All are opened
first; then short rounds alternate over them, so that whatever else the machine does falls on all alike:

    A ▁▁██▁▁▁▁▁▁██▁▁▁▁▁▁██▁▁▁▁▁▁        ██ one round: single predictions, one by one
    B ▁▁▁▁██▁▁▁▁▁▁██▁▁▁▁▁▁██▁▁▁▁
    C ▁▁▁▁▁▁██▁▁▁▁▁▁██▁▁▁▁▁▁██▁▁

Accuracy comes last, one artifact at a time. Processes are spawned: a script that calls ``measure`` needs the usual
``if __name__ == "__main__":``.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import S2TFError, UsageError
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.evaluation.accuracy import Evaluation
from s2tf_edge.runtime.evaluation.multi_view import Views
from s2tf_edge.runtime.evaluation.predictions import Predictions
from s2tf_edge.runtime.reporting.worker import ArtifactProcess, Loaded
from s2tf_edge.runtime.session import ModelInfo, SessionOptions
from s2tf_edge.runtime.statistics import percentiles

__all__ = ["Latency", "MeasureOptions", "Measurement", "Skipped", "Steps", "measure", "no_steps"]

Steps = Callable[[str], AbstractContextManager[Progress]]
"""Begins a step of that name and gives what to call as it proceeds."""

_ROUND_SECONDS = 0.5


@contextmanager
def no_steps(title: str) -> Iterator[Progress]:
    """Listens to nothing."""
    del title
    yield no_progress


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """How artifacts are measured."""

    duration_seconds: float = 10.0
    """Seconds of timed inference for each artifact."""
    warmup_seconds: float = 2.0
    """Seconds of inference for each artifact before that."""
    views: Views = field(default_factory=Views)
    limit: int | None = None
    """At most so many videos for the accuracy."""
    session: SessionOptions = field(default_factory=SessionOptions)

    def __post_init__(self) -> None:
        if not 0 < self.duration_seconds <= 86400 or not 0 <= self.warmup_seconds <= 86400:
            got = f"{self.duration_seconds} and {self.warmup_seconds}"
            msg = f"duration must be above 0 and warmup 0 or more, in seconds and at most a day, got {got}"
            raise UsageError(msg)


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Times of single predictions at batch 1, from input array to logits: of a clip, or of one step."""

    n: int
    """Predictions timed."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    clips_per_second: float
    """Predictions divided by the sum of their times: one after another, never in parallel."""

    @classmethod
    def from_nanoseconds(cls, times: Sequence[int]) -> Latency:
        """Summarizes measured times, one or more."""
        p50, p95, p99 = percentiles(np.asarray(times, np.float64) / 1e6, of=(50, 95, 99))
        return cls(n=len(times), p50_ms=p50, p95_ms=p95, p99_ms=p99, clips_per_second=len(times) * 1e9 / sum(times))


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was found out about an artifact."""

    info: ModelInfo
    runtime: dict[str, Any]
    """What its session says of itself: backend, version, device, inference precision, threads."""
    load_seconds: float
    """From nothing to a session that is ready, the import of its runtime included."""
    latency: Latency
    peak_memory_mb: float
    """Largest resident memory of its process through loading and inference, in MB of 10^6 bytes."""
    evaluation: Predictions
    """What it says of the videos; an ``Evaluation`` where they have labels."""

    @property
    def ms_per_second(self) -> float:
        """Milliseconds of computing for a second of video at the artifact's own hop, by the median.

        What a prediction costs says little where one is made with every frame, and another with every fourth.
        """
        return self.latency.p50_ms / (self.info.hop * self.info.spec.period_seconds)

    @property
    def accuracy(self) -> Evaluation | None:
        """``evaluation`` where the videos have labels."""
        return self.evaluation if isinstance(self.evaluation, Evaluation) else None


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An artifact that cannot run here."""

    error: S2TFError
    """Why, with the exit code that goes with it."""


def measure(
    paths: Sequence[Path],
    data: Videos,
    *,
    baseline: int | None = None,
    options: MeasureOptions | None = None,
    steps: Steps = no_steps,
) -> list[Measurement | Skipped]:
    """Measures artifacts side by side; one that fails becomes ``Skipped`` and the others go on.

    Args:
        paths: artifact folders or ``model.pt`` files.
        data: must pickle, as every process gets a copy.
        baseline: index of a path without which the others count for nothing.
        options: how to measure.
        steps: told what is going on.

    Returns:
        One result a path, in the same order.

    Raises:
        S2TFError: the baseline failed; of the class of its error.
    """
    options = options or MeasureOptions()
    with contextlib.ExitStack() as stack:
        artifacts = [
            _MeasuredArtifact(
                path, stack.enter_context(ArtifactProcess(path, options.session)), is_baseline=index == baseline
            )
            for index, path in enumerate(paths)
        ]
        preparations: dict[str, Callable[[_MeasuredArtifact], None]] = {
            "loading": functools.partial(_MeasuredArtifact.load, data=data),
            "warming up": functools.partial(_MeasuredArtifact.warm_up, seconds=options.warmup_seconds),
        }
        for title, step in preparations.items():
            with steps(title) as progress:
                for done, artifact in enumerate(artifacts, start=1):
                    artifact.attempt(step)
                    progress(done, len(artifacts))
        with steps("measuring latency") as progress:
            _alternate(artifacts, options.duration_seconds, progress)
        for artifact in (each for each in artifacts if each.is_running):
            with steps(f"evaluating {artifact.path.name}") as progress:
                artifact.attempt(functools.partial(_MeasuredArtifact.evaluate, options=options, progress=progress))
        return [artifact.to_result() for artifact in artifacts]


class _MeasuredArtifact:
    """An artifact on its way to a measurement; once something failed, nothing more is asked of it."""

    def __init__(self, path: Path, process: ArtifactProcess, *, is_baseline: bool) -> None:
        self.path = path
        self.times: list[int] = []
        self._process = process
        self._is_baseline = is_baseline
        self._failure: S2TFError | None = None
        self._loaded: Loaded
        self._peak_memory_mb: float
        self._evaluation: Predictions

    @property
    def is_running(self) -> bool:
        return self._failure is None

    def attempt(self, step: Callable[[_MeasuredArtifact], None]) -> None:
        if self.is_running:
            try:
                step(self)
            except S2TFError as error:
                if self._is_baseline:
                    msg = f"the baseline {self.path} could not run here: {error}"
                    raise type(error)(msg) from error
                self._failure = error

    def seconds_missing(self, seconds: float) -> float:
        """What is missing from ``seconds`` of timed inference; 0 once something failed."""
        return max(0.0, seconds - sum(self.times) / 1e9) if self.is_running else 0.0

    def load(self, data: Videos) -> None:
        self._loaded = self._process.load(data)

    def warm_up(self, seconds: float) -> None:
        self._process.time(seconds)

    def time(self, seconds: float) -> None:
        self.times += self._process.time(seconds)

    def evaluate(self, *, options: MeasureOptions, progress: Progress) -> None:
        # Read first: decoding videos takes memory that is not the network's.
        self._peak_memory_mb = self._process.peak_memory_mb()
        self._evaluation = self._process.evaluate(views=options.views, limit=options.limit, progress=progress)

    def to_result(self) -> Measurement | Skipped:
        if self._failure is not None:
            return Skipped(error=self._failure)
        return Measurement(
            info=self._loaded.info,
            runtime=self._loaded.runtime,
            load_seconds=self._loaded.seconds,
            latency=Latency.from_nanoseconds(self.times),
            peak_memory_mb=self._peak_memory_mb,
            evaluation=self._evaluation,
        )


def _alternate(artifacts: Sequence[_MeasuredArtifact], seconds: float, progress: Progress) -> None:
    total = math.ceil(seconds / _ROUND_SECONDS) * len(artifacts)
    done = 0
    while waiting := [each for each in artifacts if each.seconds_missing(seconds)]:
        for artifact in waiting:
            turn = min(_ROUND_SECONDS, artifact.seconds_missing(seconds))
            artifact.attempt(functools.partial(_MeasuredArtifact.time, seconds=turn))
            done += 1
        progress(min(done, total), total)

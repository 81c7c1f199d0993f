"""Latency, memory and accuracy of several artifacts, side by side.

Each artifact lives in a process of its own, so that its memory is its own and its crash stops nobody. All are opened
first; then short rounds alternate over them, so that whatever else the machine does falls on all alike:

    A ▁▁██▁▁▁▁▁▁▁▁▁▁████▁▁▁▁        ██ its turn in a round: single predictions, one by one
    B ▁▁▁▁██▁▁▁▁▁▁██▁▁▁▁██▁▁
    C ▁▁▁▁▁▁████▁▁▁▁▁▁▁▁▁▁██

Rounds go on until the median of each artifact is known to one percent, or its time is used up. Throughput and the way
from an encoded video to its label follow, and accuracy comes last, one artifact at a time. Processes are spawned: a
script that calls ``measure`` needs the usual ``if __name__ == "__main__":``.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median
from typing import Any, Final

from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import S2TFError, UsageError
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.evaluation.accuracy import Evaluation
from s2tf_edge.runtime.evaluation.multi_view import Views
from s2tf_edge.runtime.evaluation.predictions import Predictions
from s2tf_edge.runtime.reporting.measuring.latency import MIN_ROUNDS, Latency, median_is_known
from s2tf_edge.runtime.reporting.measuring.profile import Profile
from s2tf_edge.runtime.reporting.measuring.surroundings import Surroundings, Watch
from s2tf_edge.runtime.reporting.measuring.worker import ArtifactProcess, Loaded, Throughput, Turn
from s2tf_edge.runtime.session import ModelInfo, SessionOptions

__all__ = ["MeasureOptions", "Measurement", "Measurements", "Skipped", "Steps", "measure", "no_steps"]

Steps = Callable[[str], AbstractContextManager[Progress]]
"""Begins a step of that name and gives what to call as it proceeds."""

_TURN_SECONDS: Final = 0.1
"""Short, so that what the machine did in a round fell on all artifacts alike."""
_FEWEST_ROUNDS: Final = 30
"""Before a median counts as known."""
_LOOK_EVERY: Final = 10
"""Rounds from one look at all medians to the next, which takes time."""
_PATIENCE: Final = 3
"""Times the duration that one may take, whose few predictions are no rounds enough yet for an interval."""
_OTHER_FIGURES: Final = (0.1, 1.0)
"""Part of the duration for each way to run several at once, and the most seconds; twice that for energy and videos."""


@contextmanager
def no_steps(title: str) -> Iterator[Progress]:
    """Listens to nothing."""
    del title
    yield no_progress


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """How artifacts are measured."""

    duration_seconds: float = 10.0
    """Seconds of timed inference for each artifact, at most: fewer where all medians are known before."""
    warmup_seconds: float = 2.0
    """Seconds of inference for each artifact before that."""
    views: Views = field(default_factory=Views)
    limit: int | None = None
    """At most so many videos for the accuracy."""
    session: SessionOptions = field(default_factory=SessionOptions)
    profile: bool = False
    """Have runtimes tell how long each layer takes."""

    def __post_init__(self) -> None:
        if not 0 < self.duration_seconds <= 86400 or not 0 <= self.warmup_seconds <= 86400:
            got = f"{self.duration_seconds} and {self.warmup_seconds}"
            msg = f"duration must be above 0 and warmup 0 or more, in seconds and at most a day, got {got}"
            raise UsageError(msg)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was found out about an artifact."""

    info: ModelInfo
    runtime: dict[str, Any]
    """What its session says of itself: backend, version, device, inference precision, threads."""
    load_seconds: float
    """From nothing to a session that is ready, the import of its runtime included."""
    first_ms: float
    """The first prediction after that."""
    latency: Latency
    cores: float
    """Cores that it kept busy while it was timed, in the mean."""
    side_by_side: Throughput
    """The number of requests side by side, up to one a core, that gives most predictions a second."""
    best_batch: Throughput | None = None
    """The batch of clips that gives most of them a second; None where the network takes one size, or steps."""
    video_ms: float | None = None
    """From an encoded video to its label, median; None where the videos are no files."""
    joules: float | None = None
    """Energy of a prediction, all of the machine's included; None where it tells none."""
    energy_meter: str | None = None
    """What told it."""
    peak_memory_mb: float
    """Largest resident memory of its process through loading and inference, in MB of 10^6 bytes."""
    profile: Profile | None = None
    """How long its layers take; None where that was not asked for, or the runtime does not tell."""
    evaluation: Predictions
    """What it says of the videos; an ``Evaluation`` where they have labels."""

    @property
    def seconds_ahead(self) -> float:
        """How far a stream goes on by with each prediction, at the artifact's own hop."""
        return self.info.hop * self.info.spec.period_seconds

    @property
    def ms_per_second(self) -> float:
        """Milliseconds of computing for a second of video at the artifact's own hop, by the median.

        What a prediction costs says little where one is made with every frame, and another with every fourth.
        """
        return self.latency.p50_ms / self.seconds_ahead

    @property
    def accuracy(self) -> Evaluation | None:
        """``evaluation`` where the videos have labels."""
        return self.evaluation if isinstance(self.evaluation, Evaluation) else None


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """An artifact that cannot run here."""

    error: S2TFError
    """Why, with the exit code that goes with it."""


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """All artifacts of one run."""

    outcomes: tuple[Measurement | Skipped, ...]
    """One a path, in the same order."""
    surroundings: Surroundings
    """What else the machine did while they were timed."""


def measure(
    paths: Sequence[Path],
    data: Videos,
    *,
    baseline: int | None = None,
    options: MeasureOptions | None = None,
    steps: Steps = no_steps,
) -> Measurements:
    """Measures artifacts side by side; one that fails becomes ``Skipped`` and the others go on.

    Args:
        paths: artifact folders or ``model.pt`` files.
        data: must pickle, as every process gets a copy.
        baseline: index of a path without which the others count for nothing.
        options: how to measure.
        steps: told what is going on.

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
        watch = Watch()
        with steps("measuring latency") as progress:
            _alternate(artifacts, options.duration_seconds, watch, progress)
        surroundings = watch.finish()
        others = min(_OTHER_FIGURES[0] * options.duration_seconds, _OTHER_FIGURES[1])
        with steps("measuring throughput") as progress:
            for done, artifact in enumerate(artifacts, start=1):
                artifact.attempt(functools.partial(_MeasuredArtifact.measure_others, seconds=others))
                progress(done, len(artifacts))
        if options.profile:
            with steps("profiling") as progress:
                for done, artifact in enumerate(artifacts, start=1):
                    artifact.attempt(functools.partial(_MeasuredArtifact.look_inside, seconds=2 * others))
                    progress(done, len(artifacts))
        for artifact in (each for each in artifacts if each.is_running):
            with steps(f"evaluating {artifact.path.name}") as progress:
                artifact.attempt(functools.partial(_MeasuredArtifact.evaluate, options=options, progress=progress))
        return Measurements(outcomes=tuple(artifact.to_result() for artifact in artifacts), surroundings=surroundings)


class _MeasuredArtifact:
    """An artifact on its way to a measurement; once something failed, nothing more is asked of it."""

    def __init__(self, path: Path, process: ArtifactProcess, *, is_baseline: bool) -> None:
        self.path = path
        self.turns: list[Turn] = []
        self._process = process
        self._is_baseline = is_baseline
        self._failure: S2TFError | None = None
        self._loaded: Loaded
        self._peak_memory_mb: float
        self._joules: float | None
        self._best_batch: Throughput | None
        self._profile: Profile | None = None
        self._side_by_side: Throughput
        self._video_times: list[int]
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

    @property
    def rounds(self) -> list[tuple[int, ...]]:
        return [turn.times for turn in self.turns]

    @property
    def is_known(self) -> bool:
        """Whether more rounds would tell little, or none will come."""
        return not self.is_running or (len(self.turns) >= _FEWEST_ROUNDS and median_is_known(self.rounds))

    def wants_round(self, seconds: float) -> bool:
        """Whether ``seconds`` of timed inference are not used up, or were too few predictions for an interval."""
        used = sum(map(sum, self.rounds)) / 1e9
        return self.is_running and used < seconds * (1 if len(self.turns) >= MIN_ROUNDS else _PATIENCE)

    def load(self, data: Videos) -> None:
        self._loaded = self._process.load(data)

    def warm_up(self, seconds: float) -> None:
        self._process.time(seconds)

    def time(self, seconds: float) -> None:
        self.turns.append(self._process.time(seconds))

    def measure_others(self, seconds: float) -> None:
        # Read first: several at once, and decoding videos, take memory that is not the network's.
        self._peak_memory_mb = self._process.peak_memory_mb()
        self._joules = self._process.measure_joules(2 * seconds)
        self._best_batch = self._process.find_best_batch(seconds)
        self._side_by_side = self._process.find_best_requests(seconds)
        self._video_times = self._process.time_videos(2 * seconds)

    def look_inside(self, seconds: float) -> None:
        self._profile = self._process.profile(seconds)

    def evaluate(self, *, options: MeasureOptions, progress: Progress) -> None:
        self._evaluation = self._process.evaluate(views=options.views, limit=options.limit, progress=progress)

    def to_result(self) -> Measurement | Skipped:
        if self._failure is not None:
            return Skipped(error=self._failure)
        return Measurement(
            info=self._loaded.info,
            runtime=self._loaded.runtime,
            load_seconds=self._loaded.seconds,
            first_ms=self._loaded.first_ms,
            latency=Latency.from_rounds(self.rounds),
            cores=mean(turn.cores for turn in self.turns),
            side_by_side=self._side_by_side,
            best_batch=self._best_batch,
            video_ms=median(self._video_times) / 1e6 if self._video_times else None,
            joules=self._joules,
            energy_meter=self._loaded.energy_meter,
            peak_memory_mb=self._peak_memory_mb,
            profile=self._profile,
            evaluation=self._evaluation,
        )


def _alternate(artifacts: Sequence[_MeasuredArtifact], seconds: float, watch: Watch, progress: Progress) -> None:
    """Rounds over all artifacts, there and back again, so that none is always the one after a certain other."""
    turn = min(_TURN_SECONDS, seconds / _FEWEST_ROUNDS)
    total, done, order = math.ceil(seconds / turn), 0, 1
    while waiting := [each for each in artifacts if each.wants_round(seconds)]:
        for artifact in waiting[::order]:
            artifact.attempt(functools.partial(_MeasuredArtifact.time, seconds=turn))
        watch.sample()
        done, order = done + 1, -order
        progress(min(done, total), total)
        if done % _LOOK_EVERY == 0 and all(artifact.is_known for artifact in artifacts):
            progress(total, total)
            return

"""One artifact in a process of its own: the parent's handle on it, and what runs inside.

The two talk over a pipe: (method, arguments) one way; any number of ``("progress", done, total)``, then ``("result",
value)`` or ``("error", S2TFError)`` the other. A process that finds its pipe closed ends: none outlives its parent.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import logging
import multiprocessing
import os
import resource
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError, S2TFError, UnsupportedError
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.evaluation.multi_view import Views, evaluate, first_clip, network_classes
from s2tf_edge.runtime.evaluation.predictions import Predictions
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.reporting.measuring.energy import find_meter
from s2tf_edge.runtime.reporting.measuring.profile import Profile
from s2tf_edge.runtime.session import Clips, ModelInfo, Session, SessionOptions, time_axis

__all__ = ["ArtifactProcess", "Loaded", "Throughput", "Turn", "peak_memory_mb"]

_PATIENCE_SECONDS: Final = 5.0
_FEWEST_RUNS, _MOST_RUNS = 3, 1000
"""Of a profile."""
_BATCHES: Final = (1, 2, 4, 8)
_MOST_REQUESTS: Final = 16


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What is known of an artifact once it is loaded."""

    info: ModelInfo
    runtime: dict[str, Any]
    """What the session says of itself."""
    seconds: float
    """From nothing to a session that is ready, the import of its runtime included."""
    first_ms: float
    """The first prediction after that, which many runtimes still prepare something in."""
    energy_meter: str | None
    """What energy is told by; None where the machine tells none."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What one process did when it was its turn."""

    times: tuple[int, ...]
    """Nanoseconds of single predictions."""
    cores: float
    """Cores that it kept busy, in the mean."""


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Predictions a second, of a way to make them."""

    count: int
    """Clips in a batch, or requests side by side."""
    clips_per_second: float


class ArtifactProcess:
    """A spawned process that holds one session; a context manager.

    Every method raises the ``S2TFError`` that the process ran into, or one that says how the process died.
    """

    def __init__(self, path: Path, options: SessionOptions) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, self._far_end = context.Pipe()
        self._process = context.Process(target=_serve_requests, args=(self._far_end, path, options), daemon=True)

    def load(self, data: Videos) -> Loaded:
        """Opens the session and keeps ``data`` for what follows."""
        loaded: Loaded = self._call("load", data)
        return loaded

    def time(self, seconds: float, *, batch: int = 1) -> Turn:
        """Predictions, one after another for ``seconds``; one at least: of ``batch`` clips at once, or of steps.

        One untimed prediction comes first, unless it takes half of that: it finds caches and threads as the
        neighbors' round left them.
        """
        turn: Turn = self._call("time", seconds, batch)
        return turn

    def measure_joules(self, seconds: float, *, batch: int = 1) -> float | None:
        """Energy of a prediction, over ``seconds`` of them; None where the machine tells none.

        All else that the machine did meanwhile is included.
        """
        joules: float | None = self._call("measure_joules", seconds, batch)
        return joules

    def find_best_batch(self, seconds: float) -> Throughput | None:
        """The batch of clips that gives most of them a second; None where the network takes one size, or steps.

        Args:
            seconds: for each size that is tried.
        """
        found: Throughput | None = self._call("find_best_batch", seconds)
        return found

    def find_best_requests(self, seconds: float) -> Throughput:
        """How many requests side by side, each in a thread of its own, give most predictions a second.

        Args:
            seconds: for each number that is tried, up to one a core.
        """
        found: Throughput = self._call("find_best_requests", seconds)
        return found

    def profile(self, seconds: float) -> Profile | None:
        """How long each layer takes, in a session of its own; None where the runtime does not tell.

        Args:
            seconds: of predictions, about.
        """
        found: Profile | None = self._call("profile", seconds)
        return found

    def time_videos(self, seconds: float) -> list[int]:
        """Nanoseconds from an encoded video to its label, video by video for ``seconds``; none where there is no file.

        Of each, its centered clip: decoded, made ready, and run.
        """
        times: list[int] = self._call("time_videos", seconds)
        return times

    def peak_memory_mb(self) -> float:
        """Largest resident memory of the process so far."""
        peak: float = self._call("peak_memory_mb")
        return peak

    def evaluate(self, *, views: Views, limit: int | None, progress: Progress = no_progress) -> Predictions:
        """What it says of the data given to ``load``; an ``Evaluation`` where that has labels."""
        found: Predictions = self._call("evaluate", views, limit, progress=progress)
        return found

    def __enter__(self) -> ArtifactProcess:
        with _interrupts_ignored():
            self._process.start()
        self._far_end.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        if kind is None:
            self._process.join(_PATIENCE_SECONDS)
        for end in (self._process.terminate, self._process.kill):
            if self._process.is_alive():
                end()
                self._process.join(_PATIENCE_SECONDS)

    def _call(self, method: str, *arguments: Any, progress: Progress = no_progress) -> Any:
        try:
            self._pipe.send((method, arguments))
            while (message := self._pipe.recv())[0] == "progress":
                progress(message[1], message[2])
        except (EOFError, ConnectionError) as error:
            raise S2TFError(self._explain_death()) from error
        kind, value = message
        if kind == "error":
            raise value
        return value

    def _explain_death(self) -> str:
        self._process.join(_PATIENCE_SECONDS)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"its process ended unexpectedly (exit status {code})"
        hint = ", perhaps for want of memory" if -code == signal.SIGKILL else ""
        return f"its process was ended by signal {signal.Signals(-code).name}{hint}"


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MB of 10^6 bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux carries ru_maxrss over from the parent through fork and exec; VmHWM belongs to this program alone.
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


class _ArtifactServer:
    """What the process does, a method for each of ``ArtifactProcess``."""

    def __init__(self, pipe: Connection, path: Path, options: SessionOptions) -> None:
        self._pipe = pipe
        self._path = path
        self._options = options
        self._session: Session

    def load(self, data: Videos) -> Loaded:
        started = time.perf_counter()
        self._session = open_session(self._path, self._options)
        self._session.open()
        seconds = time.perf_counter() - started
        self._data = data
        if isinstance(data, LabeledVideos):
            network_classes(self._session.info.labels, data)
        self._clip = first_clip(data, self._session.info.spec)
        self._predictions = {1: _make_prediction(self._session, self._clip)}
        started = time.perf_counter()
        self._predictions[1]()
        first_ms = 1000 * (time.perf_counter() - started)
        self._last_seconds = {1: first_ms / 1000}
        self._meter = find_meter()
        return Loaded(
            info=self._session.info,
            runtime=self._session.describe(),
            seconds=seconds,
            first_ms=first_ms,
            energy_meter=self._meter.name if self._meter else None,
        )

    def time(self, seconds: float, batch: int) -> Turn:
        predict = self._prediction(batch)
        if self._last_seconds.get(batch, 0.0) < seconds / 2:
            predict()
        started, computed = time.perf_counter(), time.process_time()
        times = _time_calls(predict, seconds)
        cores = (time.process_time() - computed) / (time.perf_counter() - started)
        self._last_seconds[batch] = times[-1] / 1e9
        return Turn(times=tuple(times), cores=cores)

    def measure_joules(self, seconds: float, batch: int) -> float | None:
        if self._meter is None:
            return None
        predict = self._prediction(batch)
        predict()
        with self._meter.measure() as energy:
            count = len(_time_calls(predict, seconds))
        return energy.joules / count

    def _prediction(self, batch: int) -> Callable[[], object]:
        if batch not in self._predictions:
            clips: Any = np.repeat(self._clip, batch, axis=0)  # forgets which of two dtypes
            self._predictions[batch] = functools.partial(self._session.infer, clips)
        return self._predictions[batch]

    def find_best_batch(self, seconds: float) -> Throughput | None:
        info = self._session.info
        if info.batch is not None or info.step is not None:
            return None
        found = []
        for size in _BATCHES:
            run = self._prediction(size)
            run()
            times = _time_calls(run, seconds)
            found.append(Throughput(count=size, clips_per_second=1e9 * size * len(times) / sum(times)))
        return max(found, key=lambda each: each.clips_per_second)

    def find_best_requests(self, seconds: float) -> Throughput:
        most = min(os.cpu_count() or 1, _MOST_REQUESTS)
        counts = sorted({1, *(2**power for power in range(most.bit_length()) if 2**power <= most), most})
        found = [Throughput(count=count, clips_per_second=self._rate_side_by_side(count, seconds)) for count in counts]
        return max(found, key=lambda each: each.clips_per_second)

    def profile(self, seconds: float) -> Profile | None:
        # Here, as the times of layers would slow all other figures.
        options = dataclasses.replace(self._options, profile=True)
        runs = max(_FEWEST_RUNS, min(_MOST_RUNS, int(seconds / max(self._last_seconds[1], 1e-6))))
        try:
            with open_session(self._path, options) as session:
                predict = _make_prediction(session, self._clip)
                predict()
                return Profile(layers=session.profile(predict, runs=runs))
        except UnsupportedError:
            return None

    def time_videos(self, seconds: float) -> list[int]:
        files = [video for video in self._data.videos if Path(video.name).is_file()]
        if not files:
            return []
        videos, views, spec = itertools.cycle(files), Views(), self._session.info.spec
        failed = 0

        def score_next() -> None:
            nonlocal failed
            while failed < len(files):
                try:
                    (clip,) = views.clips(next(videos), spec)
                except InputFileError:
                    failed += 1
                    continue
                self._session.infer(clip[None])
                failed = 0
                return

        score_next()
        return [] if failed else _time_calls(score_next, seconds)

    def _rate_side_by_side(self, count: int, seconds: float) -> float:
        """Predictions a second of ``count`` threads, each with a fork of the session."""
        with contextlib.ExitStack() as stack, ThreadPoolExecutor(count) as pool:
            forks = [stack.enter_context(self._session.fork()) for _ in range(count)]
            calls = [_make_prediction(fork, self._clip) for fork in forks]
            list(pool.map(lambda call: call(), calls))
            started = time.perf_counter()
            done = sum(pool.map(lambda call: len(_time_calls(call, seconds)), calls))
            return done / (time.perf_counter() - started)

    def peak_memory_mb(self) -> float:
        return peak_memory_mb()

    def evaluate(self, views: Views, limit: int | None) -> Predictions:
        def progress(done: int, total: int) -> None:
            self._pipe.send(("progress", done, total))

        return evaluate(self._session, self._data, views=views, limit=limit, progress=progress)


def _make_prediction(session: Session, clip: Clips) -> Callable[[], object]:
    """What one prediction of a stream costs: a clip, or a step by a clip's first frames with a past that goes on."""
    step = session.info.step
    if step is None:
        return functools.partial(session.infer, clip)
    frames = np.ascontiguousarray(np.take(clip, range(step.hop), axis=time_axis(session.info.spec)))
    state = session.start()
    return functools.partial(session.step, np.repeat(frames, state.batch, axis=0), state)


def _time_calls(call: Callable[[], object], seconds: float) -> list[int]:
    """Nanoseconds of calls, one after another for ``seconds``; one at least."""
    times: list[int] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        started = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - started)
    return times


def _serve_requests(pipe: Connection, path: Path, options: SessionOptions) -> None:
    # What runtimes print must not end up between the parent's results. Each process would give the same warnings:
    # make_report gives them once.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    logging.getLogger("s2tf_edge").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    server = _ArtifactServer(pipe, path, options)
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            method, arguments = pipe.recv()
            pipe.send(_call_method(server, method, arguments))


def _call_method(server: _ArtifactServer, method: str, arguments: tuple[Any, ...]) -> tuple[str, Any]:
    try:
        return "result", getattr(server, method)(*arguments)
    except S2TFError as error:
        return "error", error
    except ConnectionError:
        raise
    except Exception as error:
        # One artifact's failure, of whatever kind, is a line in the report; the others go on.
        return "error", S2TFError(f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started inside ignore Ctrl-C, from their first moment on; their parent ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)

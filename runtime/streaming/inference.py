"""Windows on their way through the network: threads that each run a fork of the session, results in order.

    queue ─┬─ normalize ─ run ─┬─ results, in the order in which windows came
             └─ normalize ─ run ─┘

As many runs go side by side as the session was made for. Where every window counts there is one thread more, which
prepares its input while the others run; where only the newest counts there is none, as what it took would grow old.

A network that steps has one thread: each window of a source needs the state that the one before it left (``stepping``).

Runs may end in any order; results leave in the order in which their windows came, with what came between them. An entry
is what one ``put`` brought, with the run of its windows:

    put ─→  [Gap, W7]  [W6]  [Picture, Ended]  [W5]  ─→ finished
              runs     done     no run         runs       nothing yet: all wait for W5
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.preprocess import normalize
from s2tf_edge.runtime.session import Clips, Outputs, Session
from s2tf_edge.runtime.streaming.clip_ring import Window
from s2tf_edge.runtime.streaming.fair_queue import Ended, Item
from s2tf_edge.runtime.streaming.records import Gap
from s2tf_edge.runtime.streaming.stepping import Stepper
from s2tf_edge.runtime.streaming.zone_rings import RegionGone

__all__ = ["InferencePool", "WindowResult"]


@dataclass(frozen=True, kw_only=True)
class WindowResult:
    """What the network says of one window, and when."""

    logits: NDArray[np.float32]
    """Float32 [K], before softmax."""
    mask: NDArray[np.float32] | None
    """Float32 [H', W'], where the network gives one."""
    stages_ms: dict[str, float]
    """Wait, queue, preprocess and infer, as in ``STAGES``."""
    done_at: float
    """``perf_counter`` when the run was over."""


class InferencePool:
    """Takes items in the order of the queue and gives them back in that order, windows with their results.

    A context manager: leaving it waits for the runs under way.
    """

    def __init__(self, session: Session, *, overlap: bool, on_result: Callable[[], object]) -> None:
        """Forks the session.

        Args:
            session: open, and not used by others meanwhile.
            overlap: whether one more input is prepared than there are runs.
            on_result: called, from another thread, whenever a run is over.
        """
        steps = session.info.step is not None
        count = 1 if steps else session.requests + overlap
        runs = threading.Semaphore(session.requests)
        with ExitStack() as stack:
            forks = [session, *(_fork(session, stack) for _ in range(count - 1))]
            self._stack = stack.pop_all()
        self._free: SimpleQueue[_PoolWorker] = SimpleQueue()
        self._stepper = Stepper(session) if steps else None
        for fork in forks:
            self._free.put(_PoolWorker(fork, runs, stepper=self._stepper))
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="infer")
        self._on_result = on_result
        self._entries: deque[tuple[Sequence[Item], Future[list[WindowResult]] | None]] = deque()
        self._batches = 0
        self._moved_at = perf_counter()
        """When something was given to an idle network, or what it found was taken, whichever came last."""
        self._most = count

    def __enter__(self) -> InferencePool:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._stack.close()

    def warm_up(self) -> None:
        """Runs every fork once on nothing: with many runtimes the first run takes far longer than others."""
        # All are taken before the first goes back, or that one would be warmed up again and again.
        workers = [self._free.get() for _ in range(self._most)]
        for worker in workers:
            worker.warm_up()
            self._free.put(worker)

    @property
    def is_free(self) -> bool:
        """Whether there is a thread for another batch of windows."""
        return self._batches < self._most

    @property
    def is_ready(self) -> bool:
        """Whether ``finished`` has something to give."""
        return bool(self._entries) and _is_done(self._entries[0][1])

    @property
    def busy_seconds(self) -> float:
        """How long the run whose turn it is has been awaited; 0 where none is under way."""
        return perf_counter() - self._moved_at if self._batches else 0.0

    def put(self, items: Sequence[Item]) -> None:
        """Takes items; the windows among them, as many as one run takes, start at once if the pool is free."""
        windows = [item for item in items if isinstance(item, Window)]
        first = items.index(windows[0]) if windows else len(items)
        self._forget(items[:first])
        future = None
        if windows:
            self._moved_at = self._moved_at if self._batches else perf_counter()
            self._batches += 1
            future = self._executor.submit(self._run, windows)
            future.add_done_callback(lambda _: self._on_result())
        if items:
            self._entries.append((items, future))
        self._forget(items[first:])

    def _forget(self, items: Sequence[Item]) -> None:
        """Frees the states of what is gone, and of all that was before a gap; the one thread takes it in its turn."""
        if self._stepper is None:
            return
        for item in items:
            if isinstance(item, RegionGone | Ended | Gap):
                self._executor.submit(self._stepper.forget, item.source, getattr(item, "region", None))

    def finished(self, *, wait: bool = False) -> Iterator[tuple[Item, WindowResult | None]]:
        """Items whose turn it is, each window with its result.

        Args:
            wait: for the runs under way.
        """
        while self._entries and (wait or self.is_ready):
            items, future = self._entries.popleft()
            self._moved_at = perf_counter()
            # Counted here and not where a run ends: what waits for its turn is bounded too.
            self._batches -= future is not None
            results = iter(future.result() if future is not None else ())
            for item in items:
                yield item, next(results) if isinstance(item, Window) else None

    def _run(self, windows: Sequence[Window]) -> list[WindowResult]:
        worker = self._free.get()
        try:
            return worker.run(windows)
        finally:
            self._free.put(worker)


class _PoolWorker:
    """A session for one thread, with the memory for its input."""

    def __init__(self, session: Session, runs: threading.Semaphore, *, stepper: Stepper | None = None) -> None:
        self._session = session
        self._runs = runs
        self._stepper = stepper
        self._clips: Clips | None = None

    def warm_up(self) -> None:
        spec = self._session.info.spec
        self._session.infer(np.zeros(spec.input_shape(), spec.dtype))

    def run(self, windows: Sequence[Window]) -> list[WindowResult]:
        if self._stepper is not None:
            return [result for window in windows for result in self._run_together([window])]
        return self._run_together(windows)

    def _run_together(self, windows: Sequence[Window]) -> list[WindowResult]:
        began = perf_counter()
        infer = self._make_run(windows)
        prepared = perf_counter()
        # The one thread more than there are runs waits here, its input made.
        with self._runs:
            started = perf_counter()
            outputs = infer()
            done_at = perf_counter()
        spent = {"preprocess": 1e3 * (prepared - began), "infer": 1e3 * (done_at - started)}
        # Less the time of preparing, so that the stages add up: made ─ queue ─ preprocess ─ queue ─ infer.
        waited = began + started - prepared
        return [
            WindowResult(
                logits=outputs.logits[index],
                mask=_mask(outputs, index),
                stages_ms={
                    "wait": 1e3 * (window.made_at - window.presented_at),
                    "queue": 1e3 * (waited - window.made_at),
                    **spent,
                },
                done_at=done_at,
            )
            for index, window in enumerate(windows)
        ]

    def _make_run(self, windows: Sequence[Window]) -> Callable[[], Outputs]:
        if self._stepper is not None:
            (window,) = windows
            return self._stepper.prepare(window)
        return partial(self._session.infer, self._prepare(windows))

    def _prepare(self, windows: Sequence[Window]) -> Clips:
        """The network's input, in memory that is used again and again; one clip of pixels is taken as it is."""
        spec = self._session.info.spec
        if spec.layout == "NTHWC":
            frames = [window.frames for window in windows]
            return frames[0][np.newaxis] if len(frames) == 1 else np.stack(frames)
        if self._clips is None or len(self._clips) < len(windows):
            self._clips = np.empty(spec.input_shape(len(windows)), np.float32)
        clips: NDArray[np.float32] = self._clips[: len(windows)]  # type: ignore[assignment]  # float32, as made above
        for window, clip in zip(windows, clips, strict=True):
            normalize(window.frames, spec, out=clip)
        return clips


def _fork(session: Session, stack: ExitStack) -> Session:
    fork = session.fork()
    stack.callback(fork.close)
    return fork


def _mask(outputs: Outputs, index: int) -> NDArray[np.float32] | None:
    return None if outputs.mask is None else outputs.mask[index, 0, 0]


def _is_done(future: Future[list[WindowResult]] | None) -> bool:
    return future is None or future.done()

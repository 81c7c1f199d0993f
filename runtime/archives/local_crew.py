"""Workers as processes of this machine, one session each.

They are started anew rather than forked, as runtimes and FFmpeg have threads. Each is told its tasks through a pipe,
and says through it which video it is at: of whichever it dies, that is known here. A worker ends at once with the
driver, however that ends; and no driver begins before the last worker of another one is gone (``folder_lock``).
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Final

from s2tf_edge.errors import S2TFError, UnsupportedError
from s2tf_edge.runtime.archives.crew import Died, Failed, Finished, Outcome
from s2tf_edge.runtime.archives.entries import Task
from s2tf_edge.runtime.archives.folder_lock import hold_as_worker
from s2tf_edge.runtime.archives.piece_worker import PieceWorker, WorkOrder
from s2tf_edge.runtime.hardware import find_cores, find_memory, resident_memory_mb

__all__ = ["LocalCrew", "default_workers"]

logger = logging.getLogger(__name__)

_MAX_DEATHS: Final = 3
"""Of workers in a row that never opened the network."""
_SPARE_GB: Final = 0.5
_GROWTH: Final = 1.5
"""What a worker may take of memory, in those that it has once the network has run."""
_JOIN_SECONDS: Final = 10.0


def default_workers(threads: int) -> int:
    """How many workers of so many threads this process has cores for, one at least."""
    return max(1, int(find_cores().usable) // max(1, threads))


@dataclass(kw_only=True)
class _Worker:
    """One process."""

    process: Any
    connection: Connection
    is_ready: bool = False
    task: Task | None = None
    entry: int | None = None
    """What it is at; None between two videos."""
    leaves: bool = field(default=False)
    """Whether it said why it ends."""


class LocalCrew:
    """See ``Crew``.

    Args:
        order: what each of them does.
        most: workers at most.
        is_bold: whether that many are started whatever memory there is.
    """

    def __init__(self, order: WorkOrder, *, most: int, is_bold: bool = False) -> None:
        self._order = order
        self._most = most
        self._is_bold = is_bold
        self._context = multiprocessing.get_context("spawn")
        self._crew: list[_Worker] = []
        self._deaths = 0
        self._memory_gb = 0.0

    def __enter__(self) -> LocalCrew:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for worker in self._crew:
            # What it is at is not committed, or whole: nothing is waited for.
            worker.process.kill()
            worker.connection.close()
        for worker in self._crew:
            worker.process.join(_JOIN_SECONDS)
        self._crew = []

    @property
    def workers(self) -> int:
        """How many there are now."""
        return len(self._crew)

    @property
    def has_room(self) -> bool:
        """Whether one of them has nothing to do, or could be started."""
        return any(worker.task is None for worker in self._crew)

    def give(self, task: Task) -> None:
        """Hands a task to one that has nothing to do; it need not be ready yet."""
        worker = next(worker for worker in self._crew if worker.task is None)
        worker.task, worker.entry = task, None
        try:
            worker.connection.send(task)
        except OSError:
            # It is gone, which ``wait`` finds.
            logger.debug("a worker is gone before it was told what to do")

    def wait(self, seconds: float) -> Sequence[Outcome]:
        """What has come of tasks; waits until there is something, and so long at most."""
        ready = wait([worker.connection for worker in self._crew], timeout=seconds)
        outcomes: list[Outcome] = []
        for worker in [worker for worker in self._crew if worker.connection in ready]:
            outcomes += self._listen(worker)
        return outcomes

    def _listen(self, worker: _Worker) -> list[Outcome]:
        """Takes what a worker has said, up to its end."""
        outcomes: list[Outcome] = []
        try:
            while worker.connection.poll():
                outcomes += self._take(worker, *worker.connection.recv())
        except (EOFError, OSError):
            outcomes += self._bury(worker)
        return outcomes

    def _take(self, worker: _Worker, kind: str, said: Any) -> list[Outcome]:
        if kind == "ready":
            worker.is_ready, self._deaths = True, 0
            self._memory_gb = max(self._memory_gb, said / 1e3)
            self._start_another()
        elif kind == "at":
            worker.entry = None if said < 0 else said
        elif kind == "finished" and worker.task is not None:
            task, worker.task, worker.entry = worker.task, None, None
            return [Finished(task=task, tally=said)]
        elif kind == "failed":
            worker.leaves = True
            return [Failed(error=said)]
        return []

    def _bury(self, worker: _Worker) -> list[Outcome]:
        """Starts another in the place of one that is gone."""
        self._crew.remove(worker)
        worker.connection.close()
        worker.process.join()
        if worker.leaves:
            return []
        why = _cause_of_death(worker.process.exitcode)
        if not worker.is_ready:
            self._deaths += 1
            if self._deaths >= _MAX_DEATHS:
                msg = f"workers end before they have opened {self._order.artifact} ({why}); give fewer `workers`"
                return [Failed(error=UnsupportedError(msg))]
        logger.warning("a worker was lost (%s); another one is started", why)
        self._start()
        return [] if worker.task is None else [Died(task=worker.task, entry=worker.entry, why=why)]

    def _start(self) -> None:
        own, others = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(self._order, others, logging.getLogger("s2tf_edge").getEffectiveLevel()), daemon=True
        )
        process.start()
        others.close()
        self._crew.append(_Worker(process=process, connection=own))

    def _start_another(self) -> None:
        """One at a time, once the last one tells what it takes, and as long as that is there."""
        if len(self._crew) >= self._most or not all(worker.is_ready for worker in self._crew):
            return
        memory = find_memory()
        if memory is not None and not self._is_bold:
            others = len(self._crew) * self._memory_gb
            free = min(memory.free, memory.total - others)
            if free < _GROWTH * self._memory_gb + _SPARE_GB:
                logger.info("%d workers: there is no memory for more (%.1f GB each)", len(self._crew), self._memory_gb)
                self._most = len(self._crew)
                return
        self._start()


def _cause_of_death(code: int | None) -> str:
    if code is None or code >= 0:
        return f"ended with {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _work(order: WorkOrder, connection: Connection, level: int) -> None:
    """The life of a worker."""
    _ignore_signals()
    _end_with_driver()
    logging.getLogger("s2tf_edge").setLevel(max(level, logging.ERROR) if level > logging.DEBUG else level)
    try:
        with hold_as_worker(order.folder), PieceWorker(order) as worker:
            connection.send(("ready", resident_memory_mb()))
            while True:
                task = connection.recv()
                tally = worker.finish(task, begins=lambda number: connection.send(("at", number)))
                connection.send(("finished", tally))
    except (EOFError, BrokenPipeError):
        return
    except S2TFError as error:
        connection.send(("failed", error))


def _ignore_signals() -> None:
    """Ctrl-C and a service manager tell all processes of a group: the driver alone decides."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)


def _end_with_driver() -> None:
    """Ends this process with its driver, in the middle of whatever it does."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="watch the driver", daemon=True).start()

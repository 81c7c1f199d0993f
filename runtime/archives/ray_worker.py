"""A worker of an archive in an actor of a cluster: sees first that its node has what the driver's machine has."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.archives.cluster.host import SHARED, check_network
from s2tf_edge.runtime.archives.entries import Task, is_url
from s2tf_edge.runtime.archives.folder_lock import hold_as_worker
from s2tf_edge.runtime.archives.piece_worker import PieceWorker, WorkOrder
from s2tf_edge.runtime.archives.tally import ArchiveTally

__all__ = ["At", "Committed", "Lacks", "RayOrder", "RayTask", "RayWorker"]


@dataclass(frozen=True, kw_only=True)
class RayOrder:
    """What every worker of an archive does alike, and how it knows that it is at the right place."""

    work: WorkOrder
    artifact_sha256: str
    """As ``identify`` has it."""
    mark: Path
    """A file in the folder of results, which this run has just made there."""


@dataclass(frozen=True, kw_only=True)
class RayTask:
    """A piece as an actor gets it."""

    task: Task
    missing: frozenset[int] = frozenset()
    """Entries that are known to be nowhere."""


@dataclass(frozen=True, kw_only=True)
class At:
    """The number of the video that is opened next, or -1."""

    entry: int


@dataclass(frozen=True, kw_only=True)
class Lacks:
    """Numbers of local videos that are not there, where nobody said that they are nowhere; nothing was done."""

    entries: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Committed:
    """The piece is committed."""

    tally: ArchiveTally


class RayWorker:
    """See ``HostedWorker``."""

    def __init__(self, order: RayOrder, name: str) -> None:
        self._order = order
        self._name = name
        self._stack = ExitStack()

    def open(self) -> None:
        """Sees that folder and artifact are those of the driver, and opens the network.

        Raises:
            S2TFError: they are not, or it cannot be opened here.
        """
        work = self._order.work
        if not self._order.mark.is_file():
            msg = f"it lacks the folder of results, {work.folder}, or has another one of that name; {SHARED}"
            raise InputFileError(msg)
        check_network(work.artifact, self._order.artifact_sha256)
        with ExitStack() as stack:
            stack.enter_context(hold_as_worker(work.folder))
            self._worker = stack.enter_context(PieceWorker(work, name=self._name))
            self._stack = stack.pop_all()

    def work(self, task: RayTask) -> Iterator[At | Lacks | Committed]:
        """Does a piece; says at which video it is.

        Raises:
            S2TFError: as ``PieceWorker.finish``.
        """
        lacking = _lacking(task)
        if lacking:
            yield Lacks(entries=lacking)
            return
        for step in self._worker.steps(task.task):
            yield Committed(tally=step) if isinstance(step, ArchiveTally) else At(entry=step)

    def close(self) -> None:
        """Closes the network and lets go of the folder."""
        self._stack.close()


def _lacking(task: RayTask) -> tuple[int, ...]:
    known = task.missing | task.task.given_up.keys()
    local = (entry for entry in task.task.piece.entries if entry.number not in known and not is_url(entry.address))
    return tuple(entry.number for entry in local if not os.path.lexists(entry.address))

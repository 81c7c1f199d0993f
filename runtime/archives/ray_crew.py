"""Workers of an archive as actors of a cluster of Ray, one session each.

An actor says through what it yields which video it is at; so of whichever it dies, that is known here. Its results go
straight to the folder, which all nodes share: the driver gets sums alone.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Final

from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.archives import ray_worker
from s2tf_edge.runtime.archives.cluster.needs import Needs
from s2tf_edge.runtime.archives.cluster.workers import ClusterWorkers, Done, Event, GivenUp, Lost, Said
from s2tf_edge.runtime.archives.crew import Died, Failed, Finished, Outcome
from s2tf_edge.runtime.archives.entries import Task
from s2tf_edge.runtime.archives.folder_lock import JOB_FOLDER
from s2tf_edge.runtime.archives.piece_worker import WorkOrder
from s2tf_edge.runtime.archives.ray_worker import At, Committed, Lacks, RayOrder, RayTask, RayWorker
from s2tf_edge.runtime.archives.tally import ArchiveTally
from s2tf_edge.runtime.artifact import identify
from s2tf_edge.whole_file import whole_file

__all__ = ["RayCrew", "RayCrews"]

_MARK: Final = "run-"


@dataclasses.dataclass(frozen=True)
class RayCrews:
    """Makes a crew of a cluster; see ``MakeCrew``."""

    ray: ModuleType
    """Connected."""
    workers: int | None = None
    """At most, on all nodes together; None for as many as these have cores, or GPUs, and memory for."""

    def __call__(self, order: WorkOrder, *, pieces: int) -> RayCrew:
        """The crew, which is not started."""
        return RayCrew(self.ray, order, most=min(self.workers or pieces, pieces), is_bold=self.workers is not None)


class RayCrew:
    """See ``Crew``.

    Args:
        ray: connected.
        order: what each of them does.
        most: workers at most.
        is_bold: whether that many are started whatever memory there is.
    """

    def __init__(self, ray: ModuleType, order: WorkOrder, *, most: int, is_bold: bool = False) -> None:
        self._ray = ray
        self._order = order
        self._most = most
        self._is_bold = is_bold
        self._stack = ExitStack()
        self._at: dict[int, int] = {}
        """By piece: the video that its worker is at."""
        self._tallies: dict[int, ArchiveTally] = {}
        self._lacking: dict[int, frozenset[int]] = {}

    def __enter__(self) -> RayCrew:
        with ExitStack() as stack:
            order = RayOrder(
                # Neither a cache nor a list of signers of this machine is there elsewhere; the signature was checked
                # here, and what it signs has the same hash there.
                work=dataclasses.replace(
                    self._order,
                    session=dataclasses.replace(self._order.session, cache=None, require_signature=None),
                ),
                artifact_sha256=identify(self._order.artifact),
                mark=_make_mark(self._order.folder, stack),
            )
            self._workers = stack.enter_context(
                ClusterWorkers(
                    self._ray,
                    module=ray_worker.__name__,
                    kind=RayWorker.__name__,
                    order=order,
                    needs=Needs.of(self._order.artifact, self._order.session),
                    most=self._most,
                    is_bold=self._is_bold,
                )
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    @property
    def workers(self) -> int:
        """How many there are now."""
        return self._workers.count

    @property
    def has_room(self) -> bool:
        """Whether there is a worker, or one to come, without a task."""
        return self._workers.has_room

    def give(self, task: Task) -> None:
        """Hands a task on."""
        self._workers.give(RayTask(task=task))

    def wait(self, seconds: float) -> Sequence[Outcome]:
        """What has come of tasks; waits until there is something, and so long at most."""
        return [outcome for event in self._workers.wait(seconds) for outcome in self._take(event)]

    def _take(self, event: Event) -> Iterator[Outcome]:
        if isinstance(event, GivenUp):
            yield Failed(error=event.error)
            return
        task: RayTask = event.task
        piece = task.task.piece.number
        if isinstance(event, Said):
            self._hear(task, event.what)
        elif isinstance(event, Done):
            if piece in self._tallies:
                yield Finished(task=task.task, tally=self._forget(piece))
            else:
                self._give_elsewhere(task, event.node, self._lacking.pop(piece))
        elif piece in self._tallies:
            # It died of its last words.
            yield Finished(task=task.task, tally=self._forget(piece))
        elif isinstance(event, Lost):
            entry = self._at.pop(piece, -1)
            yield Died(task=task.task, entry=None if entry < 0 else entry, why=event.why, is_blameless=event.with_node)

    def _hear(self, task: RayTask, what: At | Committed | Lacks) -> None:
        piece = task.task.piece
        if isinstance(what, At):
            self._at[piece.number] = what.entry
        elif isinstance(what, Committed):
            self._tallies[piece.number] = what.tally
        else:
            self._lacking[piece.number] = frozenset(what.entries)

    def _give_elsewhere(self, task: RayTask, node: str, lacking: frozenset[int]) -> None:
        """What a node lacks is nowhere, or the node is not fit for it."""
        entries = task.task.piece.entries
        here = [each for each in entries if each.number in lacking and os.path.lexists(each.address)]
        if here:
            shared = "put the videos on storage that all nodes have under the same path"
            self._workers.leave_out(node, InputFileError(f"it lacks {here[0].name}; {shared}"))
        self._workers.give_again(task if here else dataclasses.replace(task, missing=task.missing | lacking))

    def _forget(self, piece: int) -> ArchiveTally:
        self._at.pop(piece, None)
        return self._tallies.pop(piece)


def _make_mark(folder: Path, stack: ExitStack) -> Path:
    """A file that only those see who share the folder; of a new name, so that nobody remembers another one."""
    mark = folder / JOB_FOLDER / f"{_MARK}{secrets.token_hex(8)}"
    for old in mark.parent.glob(f"{_MARK}*"):
        with suppress(OSError):
            old.unlink()
    with whole_file(mark):
        pass
    stack.callback(lambda: mark.unlink(missing_ok=True))
    return mark

"""Who does the work of an archive: the one interface between the driver, which counts, and what schedules workers.

    driver ── give(Task) ──→  Crew (local processes; actors of a cluster)  ──→ PieceWorker.finish(task) ── commits files
           ←─ wait() ─────    Finished(task, tally) | Died(task, entry) | Failed(error)

A crew starts workers, hands each one task at a time, and starts another in the place of one that died. It decides
nothing: whether a task is tried again, and which of its videos is given up, is the driver's to say. Tasks may be given
while ``has_room``, so that what is under way is bounded by the crew and not by the archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from s2tf_edge.errors import S2TFError
from s2tf_edge.runtime.archives.entries import Task
from s2tf_edge.runtime.archives.tally import ArchiveTally

__all__ = ["Crew", "Died", "Failed", "Finished", "Outcome"]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A task whose piece is committed."""

    task: Task
    tally: ArchiveTally


@dataclass(frozen=True, kw_only=True)
class Died:
    """A task whose worker is gone; nothing of it was committed, so far as is known."""

    task: Task
    entry: int | None
    """The number of the video that it was at; None between two, or where that is not known."""
    why: str


@dataclass(frozen=True, kw_only=True)
class Failed:
    """What none of the videos is to blame for: no worker could open the network, or write a file."""

    error: S2TFError


Outcome = Finished | Died | Failed


class Crew(Protocol):
    """Workers; a context manager, whose end stops them at once, whatever they are at."""

    @property
    def workers(self) -> int:
        """How many there are now."""

    @property
    def has_room(self) -> bool:
        """Whether another task may be given."""

    def give(self, task: Task) -> None:
        """Hands a task on; it is begun now or soon."""

    def wait(self, seconds: float) -> Sequence[Outcome]:
        """What has come of tasks; waits until there is something, and so long at most."""

    def __enter__(self) -> Crew:
        """Starts the workers, or begins to."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stops them."""

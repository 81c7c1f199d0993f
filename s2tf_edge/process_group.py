"""The processes that torchrun has started for one piece of work: each does its share, and all get the whole.

Nothing here imports torch unless there are several: torchrun comes with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

from s2tf_edge.errors import S2TFError, UsageError
from s2tf_edge.extras import require
from s2tf_edge.processes import Processes

__all__ = ["ProcessGroup", "join_processes"]

Result = TypeVar("Result")

_TIMEOUT: Final = timedelta(days=2)
"""How long a process waits for the slowest; one that has ended is noticed at once."""


@dataclass(frozen=True, kw_only=True)
class ProcessGroup:
    """One process of several, or the only one."""

    rank: int = 0
    """Which, from 0."""
    size: int = 1
    """How many there are."""

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    def share(self, work: Callable[[], Result]) -> list[Result]:
        """Does this process's part, and gives those of all, by rank.

        Raises:
            S2TFError: what the first process that failed has raised, in every process, so that none waits for it.
        """
        if self.size == 1:
            return [work()]
        outcomes = self._gather(_try(work))
        _raise_first(outcomes)
        return outcomes

    def agree(self, work: Callable[[], Result]) -> Result:
        """Does what every process does, and gives this one's.

        Raises:
            S2TFError: as ``share``.
        """
        outcome = _try(work)
        _raise_first(self._gather(outcome if isinstance(outcome, S2TFError) else None) if self.size > 1 else [outcome])
        assert not isinstance(outcome, S2TFError)
        return outcome

    def _gather(self, outcome: Any) -> list[Any]:
        from torch import distributed

        gathered: list[Any] = [None] * self.size
        distributed.all_gather_object(gathered, outcome)
        return gathered


def _try(work: Callable[[], Result]) -> Result | S2TFError:
    try:
        return work()
    except S2TFError as error:
        return error


def _raise_first(outcomes: list[Any]) -> None:
    for each in outcomes:
        if isinstance(each, S2TFError):
            raise each


@contextmanager
def join_processes() -> Iterator[ProcessGroup]:
    """The processes that torchrun has started, connected; without torchrun this one alone.

    Raises:
        MissingExtraError: torch is not installed.
        UsageError: what torchrun says of the processes is incomplete.
    """
    processes = Processes.from_environment()
    if processes.count == 1:
        yield ProcessGroup()
        return
    require("torch", extra="train", purpose="several processes")
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    try:
        store, _, _ = next(iter(rendezvous("env://", timeout=_TIMEOUT)))
        # Names of its own in the store: a trainer that connects the same processes later would find ours used up.
        own = PrefixStore("s2tf_edge", store)
        distributed.init_process_group(
            "gloo", store=own, rank=processes.rank, world_size=processes.count, timeout=_TIMEOUT
        )
    except (ValueError, RuntimeError) as error:
        msg = f"cannot connect the {processes.count} processes ({error}); start them with torchrun"
        raise UsageError(msg) from error
    try:
        yield ProcessGroup(rank=processes.rank, size=processes.count)
    finally:
        distributed.destroy_process_group()

"""The driver of an archive: hands out the pieces that are not done, and counts what comes of them.

What it holds does not grow with the archive: the pieces that are under way, how often their workers died, and sums.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.runtime.archives.crew import Crew, Died, Failed, Finished
from s2tf_edge.runtime.archives.entries import Piece, Task
from s2tf_edge.runtime.archives.tally import ArchiveTally

__all__ = ["Driver"]

_MAX_DEATHS: Final = 2
"""Of workers at one video."""
_MAX_UNEXPLAINED: Final = 4
"""Of workers at one piece, while it is not known at which video."""
_POLL_SECONDS: Final = 0.5


@dataclass(kw_only=True)
class _Trouble:
    """What a piece has done to its workers."""

    deaths: Counter[int | None] = field(default_factory=Counter)
    given_up: dict[int, str] = field(default_factory=dict)


class Driver:
    """One run.

    Args:
        pieces: that are to be done.
        crew: who does them.
        done: told of each piece that is committed.
        beats: called now and then, whether anything happened or not.
    """

    def __init__(
        self,
        pieces: Iterator[Piece],
        crew: Crew,
        *,
        done: Callable[[ArchiveTally], object],
        beats: Callable[[], object],
    ) -> None:
        self._pieces = pieces
        self._crew = crew
        self._done = done
        self._beats = beats
        self._again: deque[Task] = deque()
        self._under_way = 0
        self._troubles: dict[int, _Trouble] = {}
        self.deaths = 0
        """Workers that were lost."""

    def run(self) -> None:
        """Has all pieces done.

        Raises:
            S2TFError: no worker can open the network or write results; or what ``done`` raises.
        """
        while self._hand_out():
            for outcome in self._crew.wait(_POLL_SECONDS):
                if isinstance(outcome, Finished):
                    self._under_way -= 1
                    self._troubles.pop(outcome.task.piece.number, None)
                    self._done(outcome.tally)
                elif isinstance(outcome, Died):
                    self._under_way -= 1
                    self._again.append(self._try_again(outcome))
                elif isinstance(outcome, Failed):
                    raise outcome.error
            self._beats()

    def _hand_out(self) -> bool:
        """Gives tasks while there is room; tells whether anything is under way."""
        while self._crew.has_room:
            task = self._again.popleft() if self._again else self._next()
            if task is None:
                break
            self._crew.give(task)
            self._under_way += 1
        return self._under_way > 0

    def _next(self) -> Task | None:
        piece = next(self._pieces, None)
        return None if piece is None else Task(piece=piece)

    def _try_again(self, died: Died) -> Task:
        piece = died.task.piece
        trouble = self._troubles.setdefault(piece.number, _Trouble())
        trouble.deaths[died.entry] += 1
        self.deaths += 1
        if died.entry is None:
            if trouble.deaths[None] >= _MAX_UNEXPLAINED:
                msg = f"{_MAX_UNEXPLAINED} workers were lost at piece {piece.number} ({died.why}); give fewer `workers`"
                raise UnsupportedError(msg)
        elif trouble.deaths[died.entry] >= _MAX_DEATHS:
            trouble.given_up[died.entry] = f"two workers were lost while they read it; the last one was {died.why}"
        return Task(piece=piece, given_up=dict(trouble.given_up))

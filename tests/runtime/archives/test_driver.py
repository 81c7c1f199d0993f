"""Who is told what: pieces that are tried again, and videos that are given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

import pytest

from s2tf_edge.errors import InputFileError, S2TFError, UnsupportedError
from s2tf_edge.runtime.archives.crew import Died, Failed, Finished, Outcome
from s2tf_edge.runtime.archives.driver import Driver
from s2tf_edge.runtime.archives.entries import ListedEntry, Piece, Task
from s2tf_edge.runtime.archives.tally import ArchiveTally


class ScriptedCrew:
    """Two workers, of which ``fate`` says what becomes of each task."""

    workers = 2

    def __init__(self, fate: Callable[[Task], Outcome]) -> None:
        self._fate = fate
        self._waiting: list[Task] = []
        self.given: list[Task] = []

    @property
    def has_room(self) -> bool:
        return len(self._waiting) < self.workers

    def give(self, task: Task) -> None:
        assert self.has_room
        self._waiting.append(task)
        self.given.append(task)

    def wait(self, seconds: float) -> Sequence[Outcome]:
        assert seconds > 0
        task = self._waiting.pop()
        return [self._fate(task)]

    def __enter__(self) -> ScriptedCrew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


def _pieces(count: int = 3) -> list[Piece]:
    return [
        Piece(number=n, entries=tuple(ListedEntry(number=2 * n + i, address="/a", name="a") for i in range(2)))
        for n in range(count)
    ]


def _drive(fate: Callable[[Task], Outcome]) -> tuple[ScriptedCrew, Driver, int]:
    crew, done = ScriptedCrew(fate), ArchiveTally()
    driver = Driver(iter(_pieces()), crew, done=done.add, beats=lambda: None)
    driver.run()
    return crew, driver, done.videos


def _finish(task: Task) -> Finished:
    return Finished(task=task, tally=ArchiveTally(videos=len(task.piece.entries)))


def test_all_pieces_are_done_once() -> None:
    crew, driver, videos = _drive(_finish)
    assert sorted(task.piece.number for task in crew.given) == [0, 1, 2]
    assert (videos, driver.deaths) == (6, 0)


def test_a_video_that_kills_two_workers_is_given_up() -> None:
    def fate(task: Task) -> Outcome:
        killers = [entry.number for entry in task.piece.entries if entry.number in {2, 3}]
        killer = next((number for number in killers if number not in task.given_up), None)
        return _finish(task) if killer is None else Died(task=task, entry=killer, why="killed by SIGSEGV")

    crew, driver, videos = _drive(fate)
    assert (videos, driver.deaths) == (6, 4)
    (last,) = [task for task in crew.given if len(task.given_up) == 2]
    said = "two workers were lost while they read it; the last one was killed by SIGSEGV"
    assert dict(last.given_up) == {2: said, 3: said}


def test_one_death_is_nobodys_fault() -> None:
    died: set[int] = set()

    def fate(task: Task) -> Outcome:
        if task.piece.number in died:
            return _finish(task)
        died.add(task.piece.number)
        return Died(task=task, entry=task.piece.entries[0].number, why="killed by SIGKILL")

    crew, driver, videos = _drive(fate)
    assert (videos, driver.deaths) == (6, 3)
    assert not any(task.given_up for task in crew.given)


def test_workers_that_die_of_no_video_end_the_run() -> None:
    with pytest.raises(UnsupportedError, match=r"4 workers were lost at piece \d \(killed by SIGKILL\); give fewer"):
        _drive(lambda task: Died(task=task, entry=None, why="killed by SIGKILL"))


def test_what_no_video_is_to_blame_for_ends_the_run() -> None:
    error: S2TFError = InputFileError("cannot write")
    with pytest.raises(InputFileError, match="cannot write"):
        _drive(lambda _: Failed(error=error))

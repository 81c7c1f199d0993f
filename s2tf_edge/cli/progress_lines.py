"""How the commands show progress on stderr: a bar on a terminal, elsewhere lines."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from s2tf_edge.words import printable

__all__ = ["BarProgress", "Heartbeat", "LogProgress", "show_bar", "show_lines"]

_SHORT_SECONDS: Final = 3.0
"""Steps that end within these are not counted in a log."""
_SILENCE_SECONDS: Final = 15.0
"""A step that says where it is says so again once nothing was logged for so long."""

_logger = logging.getLogger("s2tf_edge")


@contextmanager
def show_bar(title: str, console: Console) -> Iterator[BarProgress]:
    """A progress bar with the time left."""
    columns = (
        # Names of files and artifacts are no markup.
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=console, transient=True) as bar:
        yield BarProgress(bar, title)


@contextmanager
def show_lines(title: str) -> Iterator[LogProgress]:
    """A log line that the step began, and more as it goes on."""
    _logger.info("%s …", title)
    with Heartbeat() as heartbeat:
        yield LogProgress(title, heartbeat)


class BarProgress:
    """A bar that shows the step that goes on."""

    def __init__(self, bar: RichProgress, title: str) -> None:
        self._bar = bar
        self._task = bar.add_task(printable(title), total=None)

    def __call__(self, done: int, total: int) -> None:
        """Moves the bar."""
        self._bar.update(self._task, completed=done, total=total)

    def begin(self, step: str) -> None:
        """Starts the bar anew, under another name; how long a step takes tells nothing of the next."""
        self._bar.reset(self._task, description=printable(step), total=None)

    def state(self, words: str) -> None:
        """Shows where the step is in place of its name; the bar has the time left."""
        shown = words.rpartition(", ")[0] if words.endswith(" left") else words
        self._bar.update(self._task, description=printable(shown))


class Heartbeat:
    """Logs where a step is whenever nothing was logged for a while, from a thread of its own.

    What takes long may be anything: the first clip, a validation, a disk that went to sleep. The step's own thread
    only says where it is.
    """

    def __init__(
        self,
        *,
        silence_seconds: float = _SILENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._silence = silence_seconds
        self._clock = clock
        self._wait = wait
        self._last = _LastLine(clock)
        self._words = ""
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        _logger.addHandler(self._last)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        _logger.removeHandler(self._last)

    @property
    def has_words(self) -> bool:
        """Whether the step ever said where it is."""
        return bool(self._words)

    def state(self, words: str) -> None:
        """Says where the step is."""
        self._words = words

    def _watch(self) -> None:
        while not self._wait(self._ends, max(0.0, self._last.at + self._silence - self._clock())):
            if self._clock() - self._last.at < self._silence:
                continue
            if self._words:
                _logger.info("%s", self._words)
            # Where nothing is shown, as with --quiet, nothing was logged.
            self._last.at = self._clock()


class _LastLine(logging.Handler):
    """Remembers when something was logged."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self.at = clock()

    def emit(self, record: logging.LogRecord) -> None:
        del record
        self.at = self._clock()


class LogProgress:
    """Logs each quarter of a long step, so that a log file shows life without growing with the work.

    A step that says where it is has that logged by a ``Heartbeat`` instead.
    """

    def __init__(self, title: str, heartbeat: Heartbeat) -> None:
        self._title = title
        self._heartbeat = heartbeat
        self._quarter = 0
        self._silent_until = 0.0

    def begin(self, step: str) -> None:
        """Starts to count anew; that the step begins, its own log says, and no more if it ends within seconds."""
        self._title, self._quarter = step, 0
        self._heartbeat.state("")
        self._silent_until = time.monotonic() + _SHORT_SECONDS

    def __call__(self, done: int, total: int) -> None:
        """Logs a quarter that is over."""
        if self._heartbeat.has_words or time.monotonic() < self._silent_until:
            return
        quarter = 4 * done // max(total, 1)
        if self._quarter < quarter < 4:
            _logger.info("%s: %d of %d", self._title, done, total)
        self._quarter = max(quarter, self._quarter)

    def state(self, words: str) -> None:
        """Says where the step is."""
        self._heartbeat.state(words)

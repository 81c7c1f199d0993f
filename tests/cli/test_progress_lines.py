"""Progress on stderr: a bar on a terminal, elsewhere lines."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from rich.console import Console

from s2tf_edge.cli.progress_lines import Heartbeat, LogProgress, show_bar
from s2tf_edge.progress import tell_state


class _Watch:
    """A clock that goes on as far as somebody waits, and no step before the test says so."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.waits: list[float] = []
        self._go = threading.Semaphore(0)
        self._waiting = threading.Semaphore(0)

    def __call__(self) -> float:
        return self.seconds

    def wait(self, ends: threading.Event, seconds: float) -> bool:
        self.waits.append(seconds)
        self._waiting.release()
        self._go.acquire()
        self.seconds += seconds
        return ends.is_set()

    def until_it_waits(self) -> None:
        self._waiting.acquire()

    def pass_time(self) -> None:
        """Lets the wait that goes on come to its end, up to where the next one begins."""
        self._go.release()
        self._waiting.acquire()

    def let_go(self) -> None:
        for _ in range(100):
            self._go.release()


@contextmanager
def _beating(watch: _Watch) -> Iterator[Heartbeat]:
    with Heartbeat(silence_seconds=15.0, clock=watch, wait=watch.wait) as heartbeat:
        watch.until_it_waits()
        try:
            yield heartbeat
        finally:
            watch.let_go()


def test_a_silent_step_says_where_it_is(caplog: pytest.LogCaptureFixture) -> None:
    watch = _Watch()
    with caplog.at_level(logging.INFO, logger="s2tf_edge"), _beating(watch) as heartbeat:
        watch.pass_time()
        assert caplog.messages == []
        tell_state(LogProgress("training", heartbeat), "epoch 1/60, reading the first clips")
        watch.pass_time()
        watch.pass_time()
        heartbeat.state("epoch 1/60, step 3/30")
        watch.pass_time()
        said = list(caplog.messages)
    assert said == [*["epoch 1/60, reading the first clips"] * 2, "epoch 1/60, step 3/30"]
    assert set(watch.waits[:4]) == {15.0}


def test_a_step_that_speaks_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    watch = _Watch()
    with caplog.at_level(logging.INFO, logger="s2tf_edge"), _beating(watch) as heartbeat:
        heartbeat.state("epoch 1/60, step 3/30")
        watch.seconds = 10.0
        logging.getLogger("s2tf_edge.training").info("epoch 1/60: loss 2.3")
        watch.seconds = 0.0
        watch.pass_time()
        said = list(caplog.messages)
    assert said == ["epoch 1/60: loss 2.3"]
    assert watch.waits[1] == 10.0


def test_its_thread_ends_with_the_step() -> None:
    with Heartbeat():
        assert "heartbeat" in {thread.name for thread in threading.enumerate()}
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_a_bar_shows_where_the_step_is_and_counts_the_time_left_itself() -> None:
    shown = io.StringIO()
    with show_bar("training", Console(file=shown, force_terminal=True, width=120)) as progress:
        progress.state("epoch 3/60, step 12/30, loss 1.92, 24 clips/s, 3 min left")
        progress(72, 1800)
    assert "epoch 3/60, step 12/30, loss 1.92, 24 clips/s" in shown.getvalue()
    assert "min left" not in shown.getvalue()

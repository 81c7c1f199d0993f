"""How long it is waited before a lost source is opened again."""

from __future__ import annotations

from typing import Any

import pytest

from s2tf_edge.runtime.streaming import backoff
from s2tf_edge.runtime.streaming.backoff import Backoff


@pytest.fixture(autouse=True)
def _virtual_time(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "perf_counter", clock)


def _waits(lost: Backoff, count: int) -> list[float]:
    return [wait for _ in range(count) if (wait := lost.next_wait()) is not None]


def test_waits_double_up_to_half_a_minute() -> None:
    lost = Backoff(None)
    assert lost.begin()
    for wait, longest in zip(_waits(lost, 10), [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30], strict=True):
        assert 2 / 3 * longest <= wait <= longest


def test_waits_differ_from_reader_to_reader() -> None:
    waits = []
    for _ in range(20):
        lost = Backoff(None)
        lost.begin()
        waits += _waits(lost, 1)
    assert len(set(waits)) > 15


def test_the_last_attempt_is_when_the_time_is_over(clock: Any) -> None:
    lost = Backoff(10.0)
    lost.begin()
    total = 0.0
    while (wait := lost.next_wait()) is not None:
        clock.now += wait
        total += wait
    assert total == pytest.approx(10.0)
    assert not lost.begin()


def test_a_source_that_plays_for_a_moment_does_not_start_the_waits_anew(clock: Any) -> None:
    lost = Backoff(None)
    for seconds, longest in ((0.0, 0.5), (1.0, 1.0), (9.0, 2.0), (11.0, 0.5)):
        clock.now += seconds
        lost.begin()
        (wait,) = _waits(lost, 1)
        assert 2 / 3 * longest <= wait <= longest
        lost.end()


def test_seconds_are_those_of_this_outage(clock: Any) -> None:
    lost = Backoff(None)
    assert lost.seconds == 0
    lost.begin()
    clock.now += 7
    assert lost.seconds == 7
    lost.end()
    assert lost.seconds == 0

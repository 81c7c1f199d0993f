"""Wrong tokens are counted by who shows them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from s2tf_edge.runtime.web import wrong_tokens as module
from s2tf_edge.runtime.web.wrong_tokens import WrongTokens


@pytest.fixture
def count(clock: Any) -> Callable[[str], float]:
    return WrongTokens(threading.Event(), clock=clock).count


def test_each_further_one_waits_longer_up_to_a_limit(count: Callable[[str], float], clock: Any) -> None:
    waits = []
    for _ in range(12):
        waits.append(count("10.0.0.7"))
        clock.now += waits[-1]
    assert waits == [0, 0, 0, 0.25, 0.5, 1, 2, 4, 5, 5, 5, 5]


def test_asking_at_once_is_no_quicker_than_in_turn(count: Callable[[str], float]) -> None:
    assert [count("10.0.0.7") for _ in range(8)] == [0, 0, 0, 0.25, 0.75, 1.75, 3.75, 7.75]
    # More than that does not wait, and does not make the others wait for longer.
    assert [count("10.0.0.7") for _ in range(3)] == [12.75] * 3


def test_others_do_not_wait(count: Callable[[str], float]) -> None:
    for _ in range(20):
        count("10.0.0.7")
    assert [count("10.0.0.8"), count("fe80::7%eth0"), count("unknown")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("10.0.0.7", "::ffff:10.0.0.7", True),
    ],
)
def test_a_network_that_is_one_peer_s_counts_as_one(
    count: Callable[[str], float], first: str, second: str, same: bool
) -> None:
    for _ in range(3):
        count(first)
    assert (count(second) > 0) == same


def test_a_peer_is_forgotten_after_a_while(count: Callable[[str], float], clock: Any) -> None:
    for _ in range(9):
        count("10.0.0.7")
    clock.now += 601
    assert count("10.0.0.7") == 0


def test_memory_does_not_grow_with_peers(clock: Any) -> None:
    tokens = WrongTokens(threading.Event(), clock=clock)
    for index in range(5000):
        tokens.count(f"10.0.{index // 250}.{index % 250}")
    assert len(tokens._peers) == module._MAX_PEERS


def test_the_log_does_not_grow_with_guesses(count: Callable[[str], float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(1000):
        count("10.0.0.7")
    assert caplog.messages[:3] == [
        "wrong token from 10.0.0.7",
        "wrong token from 10.0.0.7, 2 by now",
        "wrong token from 10.0.0.7, 4 by now",
    ]
    assert len(caplog.messages) == 10


def test_no_more_than_a_few_wait_and_at_the_end_nobody_does(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_WAITING", 2)
    closing = threading.Event()
    tokens = WrongTokens(closing, clock=clock)
    for _ in range(4):
        tokens.count("10.0.0.7")

    async def ask() -> list[bool]:
        waiting = [asyncio.create_task(tokens.wait("10.0.0.7")) for _ in range(2)]
        await asyncio.sleep(0)
        refused = await tokens.wait("10.0.0.8")
        # The clock of this test stands still: but for this they would wait for ever.
        closing.set()
        return [*await asyncio.gather(*waiting), refused]

    assert asyncio.run(ask()) == [True, True, False]

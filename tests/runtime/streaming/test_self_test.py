"""The self-test runs real streams, and sees what grows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.hardware import resident_memory_mb
from s2tf_edge.runtime.streaming import self_test as module
from s2tf_edge.runtime.streaming.self_test import SelfTest, self_test
from s2tf_edge.spec import ClipSpec

GOOD = SelfTest(seconds=60, sources=2, windows=100, superseded=150, age_ms=(50.0, 59.0), memory_mb=(200.0, 203.0))


def test_more_comes_than_can_be_run(
    make_session: Callable[..., Any], spec: ClipSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MIN_SECONDS", 12.0)
    session = make_session(spec)
    session.delay_seconds = 0.3
    said: list[tuple[int, int]] = []
    result = self_test(session, seconds=12, progress=lambda done, total: said.append((done, total)))
    # A window of this network comes every 0.08 s.
    assert (result.sources, said[-1][1]) == (1, 12)
    assert 12 < result.seconds < 22
    assert 10 < result.windows <= result.seconds / session.delay_seconds
    assert result.load > 2
    assert 300 <= result.age_ms[0] < 1500
    assert result.memory_mb[0] == pytest.approx(resident_memory_mb(), rel=0.2)
    assert json.loads(json.dumps(result.to_dict()))["load"] == round(result.load, 2)


def test_what_does_not_grow_is_no_complaint() -> None:
    assert GOOD.complaints == ()
    assert GOOD.load == 2.5


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"age_ms": (50.0, 61.0)}, "label age (p95) grew from 50.0 to 61.0 ms, allowed are 20 %"),
        ({"memory_mb": (200.0, 205.0)}, "memory grew from 200.0 to 205.0 MB, allowed are 2 %"),
        ({"age_ms": (50.0, float("nan"))}, "label age (p95) grew from 50.0 to nan ms, allowed are 20 %"),
    ],
)
def test_what_grows_is_named(changed: dict[str, Any], complaint: str) -> None:
    assert dataclasses.replace(GOOD, **changed).complaints == (complaint,)


def test_too_short_a_test_is_refused(make_session: Callable[..., Any], spec: ClipSpec) -> None:
    with pytest.raises(UsageError, match="a self-test takes 30 seconds or more, got 3"):
        self_test(make_session(spec), seconds=3)

"""The self-test runs as much as a machine can take, and sees what grows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.streaming import self_test as module
from s2tf_edge.runtime.streaming.records import Prediction, Record, Status, Summary
from s2tf_edge.runtime.streaming.self_test import SelfTest, self_test
from s2tf_edge.runtime.streaming.stream_options import StreamOptions
from s2tf_edge.spec import ClipSpec
from s2tf_edge.step_spec import StateSpec, StepSpec

GOOD = SelfTest(seconds=60, sources=2, windows=100, superseded=150, age_ms=(50.0, 59.0), memory_mb=(200.0, 203.0))


@pytest.mark.parametrize(("run_seconds", "sources"), [(0.25, 1), (2.0**-5, 6), (2.0**-10, 16)])
def test_more_comes_than_can_be_run_and_both_ends_of_the_run_are_compared(
    make_session: Callable[..., Any],
    spec: ClipSpec,
    monkeypatch: pytest.MonkeyPatch,
    clock: Any,
    run_seconds: float,
    sources: int,
) -> None:
    session, began_at = make_session(spec), clock.now
    session.before_run = lambda: setattr(clock, "now", clock.now + run_seconds)

    def stream(asked: list[str], _: object, *, options: StreamOptions) -> Iterator[Record]:
        nonlocal began_at
        # A window of this network comes every 0.08 s from each.
        assert asked == ["lavfi:testsrc2=size=320x240:rate=25"] * sources
        assert (options.policy, options.duration_seconds) == ("latest", 90.0)
        began_at = clock.now
        for _ in range(180):
            clock.now += 0.5
            # Labels are as many milliseconds old as the run is seconds.
            yield _prediction(age_ms=clock.now - began_at)
            yield Status(seconds=clock.now - began_at, drops={}, stages_ms={}, sources=())
        yield _summary(drops={"windows_superseded": 270})

    monkeypatch.setattr(module, "perf_counter", clock)
    monkeypatch.setattr(module, "resident_memory_mb", lambda: 200.0 + (clock.now - began_at > 70))
    monkeypatch.setattr(module, "recognize", stream)
    said: list[tuple[int, int]] = []
    result = self_test(session, seconds=90.0, progress=lambda done, total: said.append((done, total)))
    assert (result.sources, result.seconds, result.windows, result.superseded) == (sources, 90.0, 180, 270)
    assert result.load == 2.5
    # The second half minute, after one of warm-up, and the last.
    assert result.age_ms == pytest.approx((58.5, 88.5))
    assert result.memory_mb == (200.0, 201.0)
    assert (said[0], said[-1]) == ((0, 90), (90, 90))
    assert json.loads(json.dumps(result.to_dict()))["load"] == 2.5


def _prediction(*, age_ms: float) -> Prediction:
    return Prediction(
        source=0, t_start=0.0, t_end=1.0, label="a", score=1.0, topk=(("a", 1.0),), age_ms=age_ms, infer_ms=1.0
    )


def _summary(*, drops: dict[str, int]) -> Summary:
    return Summary(
        seconds=1.0,
        interrupted=False,
        frames_in=1,
        windows=1,
        events=0,
        gaps=0,
        drops=drops,
        stages_ms={},
        sources=(),
    )


def test_it_streams_from_real_sources(
    make_session: Callable[..., Any], spec: ClipSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MIN_SECONDS", 1.0)
    session = make_session(spec)
    session.delay_seconds = 0.2
    said: list[tuple[int, int]] = []
    result = self_test(session, seconds=3, progress=lambda done, total: said.append((done, total)))
    assert (result.sources, said[-1][1]) == (1, 3)
    assert result.seconds >= 3
    # A run takes 0.2 s or more, however slow the machine is.
    assert 1 <= result.windows <= result.seconds / session.delay_seconds
    assert result.to_dict()["windows"] == result.windows


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


def test_streams_that_step_side_by_side_are_refused(make_session: Callable[..., Any], spec: ClipSpec) -> None:
    session = make_session(spec)
    state = StateSpec(name="ring", slots=3, shape=(8, 2, 2))
    step = StepSpec(hop=1, receptive_field=9, warm_up=8, states=(state,))
    session.info = dataclasses.replace(session.info, batch=2, step=step)
    with pytest.raises(UsageError, match="steps 2 streams side by side"):
        self_test(session, seconds=30)

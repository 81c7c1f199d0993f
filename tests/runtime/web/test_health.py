"""Whether a stream counts as well."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from s2tf_edge.runtime.streaming.records import Record
from s2tf_edge.runtime.web import health
from s2tf_edge.runtime.web.health import Health, Verdict
from s2tf_edge.spec import ClipSpec


@pytest.fixture(autouse=True)
def _virtual_time(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "monotonic", clock)


def _verdict(records: Sequence[Record]) -> Verdict:
    return _follow(records).verdict()


def _follow(records: Sequence[Record]) -> Health:
    health = Health()
    for record in records:
        health.write(record)
    return health


def test_a_stream_is_well_from_its_start_to_its_end(make: SimpleNamespace) -> None:
    records = [make.start()]
    assert (_verdict([]).status, _verdict([]).is_well) == ("starting", False)
    assert (_verdict(records).status, _verdict(records).is_well) == ("ok", True)
    assert _verdict([*records, make.prediction()]).is_well
    ended = _verdict([*records, make.prediction(), make.summary()])
    assert (ended.status, ended.is_well) == ("ended", False)


def test_without_status_records_predictions_and_failures_tell(make: SimpleNamespace) -> None:
    records = [make.start("front door", "yard"), make.prediction(source=1), make.failure()]
    verdict = _verdict(records)
    assert [source.state for source in verdict.sources] == ["failed", "playing"]
    assert (verdict.status, verdict.is_well) == ("degraded", True)
    assert verdict.reason == "front door cannot be opened"


@pytest.mark.parametrize(
    ("states", "status", "is_well"),
    [
        (["playing", "waiting"], "ok", True),
        (["ended", "waiting"], "ok", True),
        (["lost", "playing"], "degraded", True),
        (["failed", "waiting"], "degraded", True),
        (["lost", "failed"], "failing", False),
        (["lost", "ended"], "failing", False),
    ],
)
def test_it_is_well_while_something_plays_or_waits(
    make: SimpleNamespace, states: list[str], status: str, is_well: bool
) -> None:
    sources = [make.source_status(f"camera {index}", state) for index, state in enumerate(states)]
    verdict = _verdict([make.start("camera 0", "camera 1"), make.status(*sources)])
    assert (verdict.status, verdict.is_well) == (status, is_well)
    assert verdict.to_dict()["sources"][0] == {"name": "camera 0", "state": states[0], "message": None}


def test_a_stream_without_predictions_is_stalled(make: SimpleNamespace, clock: Any) -> None:
    instant = ClipSpec(frames=1, stride=1, fps=25.0, size=64)
    health = _follow([make.start(clip=instant), make.status()])
    clock.now += 30
    assert health.verdict().status == "ok"
    clock.now += 1
    verdict = health.verdict()
    assert (verdict.status, verdict.is_well) == ("stalled", False)
    assert verdict.reason == "no prediction for 31 s"
    health.write(make.prediction())
    clock.now += 7
    assert (health.verdict().status, health.verdict().seconds_since_prediction) == ("ok", 7)


def test_a_long_clip_takes_long_to_be_complete(make: SimpleNamespace, clock: Any) -> None:
    # 31 steps of half a second are 15.5 s: patience is three times that at least.
    health = _follow([make.start(clip=ClipSpec(frames=32, stride=1, fps=2.0, size=64)), make.status()])
    clock.now += 46
    assert health.verdict().status == "ok"
    clock.now += 1
    assert health.verdict().status == "stalled"


def _watch(health: Health, clock: Any, statuses: Sequence[Record]) -> Verdict:
    for status in statuses:
        clock.now += 20
        health.write(status)
    return health.verdict()


def test_where_nobody_is_seen_frames_tell_that_a_stream_is_well(make: SimpleNamespace, clock: Any) -> None:
    instant = ClipSpec(frames=1, stride=1, fps=25.0, size=64)
    health = _follow([make.start(clip=instant)])
    read = [make.status(make.source_status(frames=500 * number)) for number in range(1, 7)]
    assert _watch(health, clock, read).status == "ok"
    # No more frames come.
    assert _watch(health, clock, [read[-1], read[-1]]).status == "stalled"


@pytest.mark.parametrize("ill", ["hangs", "leaves out"])
def test_frames_are_no_excuse_for_a_network_that_gives_nothing(make: SimpleNamespace, clock: Any, ill: str) -> None:
    instant = ClipSpec(frames=1, stride=1, fps=25.0, size=64)
    health = _follow([make.start(clip=instant), make.prediction()])
    more = [{"network_seconds": 20.0 * number} if ill == "hangs" else {"drops": number} for number in range(1, 4)]
    read = [make.status(make.source_status(frames=500 * number), **each) for number, each in enumerate(more, 1)]
    verdict = _watch(health, clock, read)
    assert (verdict.status, verdict.reason) == ("stalled", "no prediction for 60 s")

"""What a run adds up to."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from s2tf_edge.errors import SourceError
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming import ledger as module
from s2tf_edge.runtime.streaming.ledger import Ledger
from s2tf_edge.runtime.streaming.records import Event, Failure, Prediction
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

SOURCES = [Source(name=name, url=name) for name in ("a", "b")]


@pytest.fixture(autouse=True)
def _virtual_time(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "perf_counter", clock)


def _prediction(source: int) -> Prediction:
    return Prediction(source=source, t_start=0, t_end=1, label="x", score=1, topk=(("x", 1),), age_ms=1, infer_ms=1)


def test_the_summary_is_of_all_sources_and_of_each(clock: Any) -> None:
    ledger = Ledger(SOURCES, status_seconds=None)
    ledger.reports[0].frames, ledger.reports[1].frames = 10, 5
    ledger.reports[0].gaps = ledger.reports[1].corrupt_packets = 2
    ledger.reports[0].out_of_order, ledger.reports[1].frames_behind = 1, 4
    for record in (_prediction(0), _prediction(1), _prediction(1)):
        ledger.count(record)
    ledger.count(Event(source=1, label="x", t_start=0, t_end=1, score=1))
    ledger.drops["windows_too_old"] += 3
    for times, milliseconds in ((ledger.reports[0].times, 1.0), (ledger.reports[1].times, 3.0)):
        times.add("decode", milliseconds)
    ledger.label_times.add("infer", 8.0)
    clock.now += 12
    summary = ledger.make_summary({"windows_superseded": 7, "pictures_left_out": 0}, interrupted=True)
    assert (summary.seconds, summary.interrupted) == (12, True)
    assert (summary.frames_in, summary.windows, summary.events, summary.gaps) == (15, 3, 1, 2)
    assert summary.drops == {
        "corrupt_packets": 2,
        "frames_behind": 4,
        "frames_out_of_order": 1,
        "windows_superseded": 7,
        "windows_too_old": 3,
    }
    assert {stage: values["n"] for stage, values in summary.stages_ms.items()} == {"decode": 2, "infer": 1}
    assert [source["windows"] for source in summary.sources] == [1, 2]


@pytest.mark.parametrize(
    ("asked", "live", "policy"),
    [
        ("auto", (False, False), "every"),
        ("auto", (True, True), "latest"),
        ("auto", (True, False), ("latest", "every")),
        ("latest", (True, False), "latest"),
    ],
)
def test_the_start_says_what_auto_became(
    brightness: Session, asked: str, live: tuple[bool, bool], policy: str | tuple[str, ...]
) -> None:
    before = datetime.now(timezone.utc)
    ledger = Ledger([Source(name=str(each), url="x", live=each) for each in live], status_seconds=None)
    began_by = datetime.now(timezone.utc)
    start = ledger.make_start(brightness, StreamOptions(policy=asked), hop=1)
    assert start.policy == policy
    assert before <= start.started_at <= began_by
    assert [start.only(index).policy for index in (0, 1)] == ([policy] * 2 if isinstance(policy, str) else [*policy])
    assert start.only(1).sources == (str(live[1]),)


def test_a_source_that_failed_is_told_and_kept() -> None:
    ledger = Ledger(SOURCES, status_seconds=None)
    error = SourceError("b was lost")
    assert ledger.fail(1, error) == Failure(source=1, name="b", message="b was lost", exit_code=error.exit_code)
    assert ledger.failures == {1: error}
    assert [source["error"] for source in ledger.make_summary({}, interrupted=False).sources] == [None, "b was lost"]


def test_a_status_comes_when_it_is_time_and_counts_from_the_one_before(clock: Any) -> None:
    ledger, began_at = Ledger(SOURCES, status_seconds=0.5), clock.now
    told = []
    for _ in range(16):
        clock.now += 0.125
        told.append(ledger.make_status({}))
    assert [status.seconds for status in told if status] == [0.5, 1.0, 1.5, 2.0]
    clock.now += 10
    assert ledger.make_status({}) is not None
    assert ledger.make_status({}) is None
    assert clock.now - began_at == 12


def test_without_a_period_there_is_no_status(clock: Any) -> None:
    ledger = Ledger(SOURCES, status_seconds=None)
    clock.now += 1e6
    assert ledger.make_status({}) is None


def test_times_of_sources_that_have_ended_are_added_up_once(clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    merged: list[StageTimes] = []
    merge = StageTimes.merge

    def note(into: StageTimes, times: StageTimes) -> None:
        merged.append(times)
        merge(into, times)

    monkeypatch.setattr(StageTimes, "merge", note)
    ledger = Ledger([Source(name=str(number), url=str(number)) for number in range(5)], status_seconds=1.0)
    counts = []
    for report, state in zip(ledger.reports, ["ended", "failed", "ended", "playing"], strict=False):
        report.state = state
        report.times.add("decode", 1.0)
        clock.now += 1
        status = ledger.make_status({})
        assert status is not None
        counts.append(status.stages_ms["decode"]["n"])
    ledger.reports[3].times.add("decode", 1.0)
    merged.clear()
    summary = ledger.make_summary({}, interrupted=False)
    assert (counts, summary.stages_ms["decode"]["n"]) == ([1, 2, 3, 4], 5)
    assert not any(times is report.times for times in merged for report in ledger.reports[:3])

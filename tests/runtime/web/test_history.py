"""What clients that are late or slow still get."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from s2tf_edge.runtime.web import history as module
from s2tf_edge.runtime.web.history import Entry, History, missed


def _all(history: History) -> list[Entry]:
    entries: list[Entry] = []
    while more := history.after(entries[-1].number if entries else 0):
        entries += more
    return entries


def test_all_records_come_in_order_and_only_once(make: SimpleNamespace) -> None:
    history = History()
    records = [make.start(), make.prediction(), make.event(), make.status(), make.gap(), make.failure(), make.summary()]
    for record in records:
        history.write(record)
    assert [entry.number for entry in _all(history)] == [1, 2, 3, 4, 5, 6, 7]
    types = ["start", "prediction", "event", "status", "gap", "error", "summary"]
    assert [entry.values["type"] for entry in _all(history)] == types
    assert [entry.number for entry in history.after(5)] == [6, 7]
    assert history.after(7) == []


def test_a_record_is_its_json_object_and_what_the_page_needs(make: SimpleNamespace) -> None:
    history = History()
    history.write(make.prediction("ä <b>", mask=np.ones((2, 2), np.float32)))
    history.write(make.status())
    prediction, status = (json.loads(entry.text) for entry in _all(history))
    assert prediction["label"] == "ä <b>"
    assert prediction["stages_ms"]["infer"] == 80.0
    assert prediction["saliency"] is True
    assert "mask" not in prediction
    assert status["sources"][0]["state"] == "playing"
    assert status["drops"] == {"windows_superseded": 7}


def test_memory_is_bounded_and_a_busy_source_does_not_push_out_another_or_the_start(make: SimpleNamespace) -> None:
    history = History()
    history.write(make.start("busy", "quiet"))
    history.write(make.prediction("quiet", source=1))
    for _ in range(5000):
        history.write(make.prediction())
        history.write(make.picture())
    history.write(make.event())
    entries = _all(history)
    assert len(entries) == 1 + 1 + 300 + 1
    assert [entry.values["type"] for entry in entries[:2]] == ["start", "prediction"]
    assert entries[1].values["label"] == "quiet"
    assert entries[-1].number == 5003


def test_of_any_number_of_files_the_latest_are_kept(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_ENTRIES", 50)
    history = History()
    history.write(make.start(*(f"{number}.mp4" for number in range(100))))
    for source in range(100):
        for _ in range(20):
            history.write(make.prediction(source=source))
        history.write(make.event(source=source))
    entries = _all(history)
    assert len(entries) == 50
    assert entries[0].values["type"] == "start"
    assert [entry.number for entry in entries[1:]] == [*range(2102 - 49, 2102)]


def test_the_more_sources_the_fewer_states_are_kept(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_STATES", 40)
    for sources, kept in ((1, 40), (8, 5), (100, 1)):
        history = History()
        for _ in range(45):
            history.write(make.status(*[make.source_status()] * sources))
        assert len(_all(history)) == kept


def test_a_client_that_falls_behind_misses_what_is_gone(make: SimpleNamespace) -> None:
    history = History()
    for _ in range(400):
        history.write(make.prediction())
    entries = history.after(10)
    assert entries[0].number == 101
    assert missed(entries, position=10) == 90
    assert missed(history.after(entries[-1].number), position=entries[-1].number) == 0
    assert missed(history.after(0), position=0) == 0


def test_a_client_goes_on_where_it_was_unless_the_run_is_another(make: SimpleNamespace) -> None:
    history = History()
    assert history.position(f"{history.run}-7") == 7
    for other in (None, "", "7", f"{History().run}-7", f"{history.run}-x", f"{history.run}-²"):
        assert history.position(other) == 0


def test_no_more_is_sorted_than_is_sent_at_once(make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    merge, taken = heapq.merge, list[Entry]()

    def count(*parts: list[Entry], key: Callable[[Entry], int]) -> Iterator[Entry]:
        for entry in merge(*parts, key=key):
            taken.append(entry)
            yield entry

    monkeypatch.setattr(heapq, "merge", count)
    history = History()
    for index in range(500):
        history.write(make.event(source=index % 5))
    assert [entry.number for entry in history.after(0)] == [entry.number for entry in taken] == [*range(1, 65)]
    taken.clear()
    assert history.after(500) == history.after(501) == taken == []

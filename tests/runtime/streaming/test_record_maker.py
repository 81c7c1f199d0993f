"""What comes of the items of the queue, in which order, and when nothing does."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest

from s2tf_edge.errors import SourceError
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.runtime.streaming.clip_ring import Window
from s2tf_edge.runtime.streaming.fair_queue import Ended
from s2tf_edge.runtime.streaming.inference import WindowResult
from s2tf_edge.runtime.streaming.ledger import Ledger
from s2tf_edge.runtime.streaming.postprocess import Postprocessor
from s2tf_edge.runtime.streaming.record_maker import RecordMaker
from s2tf_edge.runtime.streaming.records import Event, Failure, Gap, Picture, Prediction, Record
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

GAP = Gap(source=0, t_start=1.0, t_end=9.0)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger([Source(name=name, url=name) for name in ("a", "b")], status_seconds=None)


@pytest.fixture
def maker(brightness: Session, ledger: Ledger) -> RecordMaker:
    return RecordMaker(Postprocessor(brightness.info, StreamOptions(), times=ledger.label_times), ledger)


def _window(source: int = 0, *, at: float = 1.0) -> tuple[Window, WindowResult]:
    frames = np.zeros((1, 1, 1, 3), np.uint8)
    window = Window(source=source, frames=frames, t_start=at - 1, t_end=at, presented_at=0.0)
    logits = np.array([0.0, 9.0, 0.0], np.float32)
    return window, WindowResult(logits=logits, mask=None, stages_ms={"infer": 1.0}, done_at=0.0)


def _make(maker: RecordMaker, *items: Any) -> list[Record]:
    records: list[Record] = []
    for item in items:
        records += maker.make(*(item if isinstance(item, tuple) else (item, None)))
    return records


def _types(records: list[Record]) -> list[type]:
    return [type(record) for record in records]


def test_an_event_comes_before_the_gap_that_ends_it(maker: RecordMaker, ledger: Ledger) -> None:
    records = _make(maker, _window(), _window(at=2.0), GAP, _window(at=10.0), Ended(source=0))
    assert _types(records) == [Prediction, Prediction, Event, Gap, Prediction, Event]
    assert [(event.t_start, event.t_end) for event in records if isinstance(event, Event)] == [(0, 2), (9, 10)]
    summary = ledger.make_summary({}, interrupted=False)
    assert (summary.windows, summary.events) == (3, 2)


def test_a_failure_comes_before_the_event_that_it_ends(maker: RecordMaker, ledger: Ledger) -> None:
    error = SourceError("a was lost")
    assert _types(_make(maker, _window(), Ended(source=0, error=error))) == [Prediction, Failure, Event]
    assert ledger.failures == {0: error}


def test_nothing_comes_of_a_source_that_has_ended(maker: RecordMaker, ledger: Ledger) -> None:
    picture = Picture(source=0, pts_seconds=0.0, frame=av.VideoFrame(16, 16, "yuv420p"))
    assert _make(maker, picture) == [picture]
    assert _make(maker, Ended(source=0)) == []
    assert (maker.is_open(0), maker.is_open(1), maker.has_open_sources) == (False, True, True)
    assert _make(maker, picture, _window(), GAP, Ended(source=0, error=SourceError("again"))) == []
    assert ledger.failures == {}


def test_all_open_events_end_in_order_of_their_sources(maker: RecordMaker) -> None:
    _make(maker, _window(1), _window(0))
    assert [event.source for event in maker.end_all()] == [0, 1]
    assert not maker.has_open_sources

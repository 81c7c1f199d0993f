"""What a source's report says while it is read; what comes of a thread that hangs, which is nothing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.data.container import open_container
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sources import packets
from s2tf_edge.runtime.sources.decoder import Decoder
from s2tf_edge.runtime.sources.parsing import parse_source
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.runtime.streaming import coordinator
from s2tf_edge.runtime.streaming import reader as module
from s2tf_edge.runtime.streaming.fair_queue import FairQueue, Item
from s2tf_edge.runtime.streaming.reader import Reader, replace_if_hung
from s2tf_edge.runtime.streaming.reading import Reading
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Summary
from s2tf_edge.runtime.streaming.source_report import SourceReport
from s2tf_edge.runtime.streaming.stream_options import ReadOptions, StreamOptions
from s2tf_edge.spec import ClipSpec

PATIENCE_SECONDS = 60.0


class NotedReport(SourceReport):
    """Notes every state, however short it is."""

    def __init__(self, **values: Any) -> None:
        self.states: list[str] = []
        super().__init__(**values)

    def __setattr__(self, name: str, value: object) -> None:
        if name == "state" and self.states[-1:] != [value]:
            self.states.append(str(value))
        super().__setattr__(name, value)


class NotedQueue(FairQueue):
    """Has room for everything, and notes what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[Item] = []

    def put(self, *items: Item, wait: bool) -> None:
        del wait
        self.items += items


def _reader(
    source: Source | str | Path,
    spec: ClipSpec,
    *,
    queue: FairQueue | None = None,
    keep_all: bool = True,
    **options: Any,
) -> Reader:
    source = source if isinstance(source, Source) else parse_source(str(source))[0]
    report = NotedReport(index=0, source=source)
    options_ = ReadOptions(**options)
    return Reader([report], queue=queue or NotedQueue(), spec=spec, options=options_, hop=1, keep_all=keep_all)


def _states(reader: Reader) -> list[str]:
    """What the report's state was, one after another, until the reader ends."""
    reader.start()
    reader.join(PATIENCE_SECONDS)
    assert not reader.is_alive()
    (report,) = reader.reports
    assert isinstance(report, NotedReport)
    return report.states


def test_a_source_waits_plays_is_lost_and_fails(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], spec: ClipSpec
) -> None:
    data = make_video("a.ts", [0] * 50).read_bytes()

    def nothing() -> Iterable[bytes]:
        server.close()
        return []

    server = serve_tcp(lambda: [data], lambda: [data], nothing)
    reader = _reader(server.url, spec, max_outage_seconds=1.0)
    assert _states(reader) == ["waiting", "playing", "lost", "playing", "lost", "failed"]
    (report,) = reader.reports
    assert (report.frames, report.reconnects, report.gaps) == (100, 1, 1)
    assert "tcp://127.0.0.1" in (report.message or "")
    # Two seconds of video twice, and what lay between them; both came faster than in real time.
    assert report.position_seconds > 2 * 49 / 25


def test_a_made_source_ends(spec: ClipSpec) -> None:
    reader = _reader("lavfi:testsrc=size=64x48:rate=25:duration=0.5", spec)
    assert _states(reader) == ["waiting", "playing", "ended"]
    assert reader.reports[0].message is None
    assert reader.reports[0].duration_seconds is None


def test_a_part_of_a_file_has_its_place_and_length(make_video: Callable[..., Path], spec: ClipSpec) -> None:
    path = make_video("a.mkv", [0] * 100, times=[10 + index / 25 for index in range(100)])
    reader = _reader(path, spec, start_seconds=1.0, duration_seconds=2.0)
    assert _states(reader)[-1] == "ended"
    (report,) = reader.reports
    assert report.first_seconds == pytest.approx(11.0, abs=2e-3)
    assert report.position_seconds == pytest.approx(12.96, abs=2e-3)
    assert report.duration_seconds == 2.0
    assert report.frames == 50


def test_a_reader_that_waits_for_room_does_not_hang(
    monkeypatch: pytest.MonkeyPatch, spec: ClipSpec, clock: Any, instant_source: Callable[..., Source]
) -> None:
    monkeypatch.setattr(module, "perf_counter", clock)
    third, windows = threading.Event(), iter(range(100))

    class Queue(FairQueue):
        def put(self, *items: Item, wait: bool) -> None:
            if next(windows) == 2:
                third.set()
            super().put(*items, wait=wait)

    queue = Queue()
    reader = _reader(instant_source(), spec, queue=queue)
    reader.start()
    assert third.wait(PATIENCE_SECONDS)
    clock.now += 1e6
    assert not reader.hangs
    assert replace_if_hung(reader) is reader
    reader.stop.set()
    queue.close()
    reader.join(PATIENCE_SECONDS)
    assert not reader.is_alive()


def test_a_reader_that_waits_to_open_its_source_again_does_not_hang(
    monkeypatch: pytest.MonkeyPatch, spec: ClipSpec, clock: Any
) -> None:
    monkeypatch.setattr(module, "perf_counter", clock)
    reader = _reader("tcp://127.0.0.1:1", spec, max_outage_seconds=PATIENCE_SECONDS)
    waits, over = threading.Event(), threading.Event()

    def wait(_: float | None = None) -> bool:
        waits.set()
        return over.wait(PATIENCE_SECONDS)

    monkeypatch.setattr(reader.stop, "wait", wait)
    reader.start()
    assert waits.wait(PATIENCE_SECONDS)
    clock.now += 1e6
    assert reader.reports[0].state == "lost"
    assert not reader.leave_behind()
    reader.stop.set()
    over.set()
    reader.join(PATIENCE_SECONDS)
    assert not reader.is_alive()


def _raise() -> None:
    raise OSError(5, "the device was reset")


def _report_facts(reader: Reader) -> list[Any]:
    return [
        (report.status(zone), report.to_dict(zone), report.times.to_dict())
        for report in reader.reports
        for zone in report.zones
    ]


@pytest.mark.parametrize("comes_back", [lambda: None, _raise], ids=["with a frame", "with an error"])
@pytest.mark.parametrize("packet", [0, 1, 25], ids=["first", "second", "end"])
def test_a_thread_that_was_left_behind_writes_nothing(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    spec: ClipSpec,
    clock: Any,
    tap: Callable[..., None],
    instant_source: Callable[..., Source],
    comes_back: Callable[[], None],
    packet: int,
) -> None:
    caplog.set_level(logging.DEBUG, logger="s2tf_edge")
    monkeypatch.setattr(module, "perf_counter", clock)
    hangs, released = threading.Event(), threading.Event()

    def hang(number: int, _: object) -> None:
        if number == packet:
            hangs.set()
            released.wait(PATIENCE_SECONDS)
            comes_back()

    tap(hang)
    queue = NotedQueue()
    reader = _reader(instant_source(seconds=1), spec, queue=queue, pictures=True, reconnect=False)
    reader.start()
    assert hangs.wait(PATIENCE_SECONDS)
    assert not reader.leave_behind()
    clock.now += 100
    assert reader.leave_behind()
    facts, items = _report_facts(reader), [*queue.items]
    caplog.clear()
    released.set()
    reader.join(PATIENCE_SECONDS)
    assert not reader.is_alive()
    assert _report_facts(reader) == facts
    assert queue.items == items
    assert caplog.messages == []


def test_a_source_with_a_slower_rhythm_has_longer_to_answer(
    monkeypatch: pytest.MonkeyPatch, spec: ClipSpec, clock: Any, instant_source: Callable[..., Source]
) -> None:
    monkeypatch.setattr(module, "perf_counter", clock)
    reader = _reader(replace(instant_source(), read_seconds=18.0), spec)
    reader._waiting_since = clock.now
    clock.now += 55
    assert not reader.hangs
    clock.now += 2
    assert reader.hangs


def test_a_thread_that_returns_in_time_is_not_left_behind(
    monkeypatch: pytest.MonkeyPatch,
    spec: ClipSpec,
    clock: Any,
    tap: Callable[..., None],
    instant_source: Callable[..., Source],
) -> None:
    monkeypatch.setattr(module, "perf_counter", clock)
    tap(lambda *_: setattr(clock, "now", clock.now + 29))
    reader = _reader(instant_source(seconds=1), spec)
    assert _states(reader) == ["waiting", "playing", "ended"]
    assert reader.reports[0].frames == 25


@pytest.mark.parametrize("where", ["opening", "reading", "decoding", "breaking"])
@pytest.mark.parametrize("live", [True, False])
def test_nothing_is_logged_or_posted_after_the_end_of_the_run(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    make_video: Callable[..., Path],
    brightness: Session,
    tap: Callable[..., None],
    where: str,
    live: bool,
) -> None:
    # A read hangs, the user ends the run; the read returns long after, as from a share whose server is back.
    caplog.set_level(logging.DEBUG, logger="s2tf_edge")
    monkeypatch.setattr(coordinator, "_JOIN_SECONDS", 0.0)
    released, stop = threading.Event(), threading.Event()

    def hang() -> None:
        stop.set()
        released.wait(PATIENCE_SECONDS)

    def hang_reading(number: int, _: object) -> None:
        if number == 10 and where in {"reading", "breaking"}:
            hang()
            if where == "breaking":
                _raise()

    def hang_opening(*arguments: Any, **options: Any) -> Any:
        container = open_container(*arguments, **options)
        hang()
        return container

    def hang_decoding(decoder: Decoder, packet: Any) -> Any:
        hang()
        return decode(decoder, packet)

    tap(hang_reading)
    decode = Decoder._decode
    if where == "opening":
        monkeypatch.setattr(packets, "open_container", hang_opening)
    if where == "decoding":
        monkeypatch.setattr(Decoder, "_decode", hang_decoding)
    url = str(make_video("a.mkv", [0] * 50))
    # Once it is open, it would be logged that the frame rate is not used.
    options, before = StreamOptions(pictures=True, fps=10.0), set(threading.enumerate())
    records = list(recognize(Source(name=url, url=url, live=live), brightness, options=options, stop=stop))
    (reader,) = (thread for thread in set(threading.enumerate()) - before if isinstance(thread, Reader))
    assert isinstance(records[-1], Summary)
    facts, queue = _report_facts(reader), reader._queue
    caplog.clear()
    released.set()
    reader.join(PATIENCE_SECONDS)
    assert not reader.is_alive()
    assert caplog.messages == []
    assert _report_facts(reader) == facts
    assert queue.is_empty
    assert not queue.has_pictures


def test_what_was_presented_before_the_loss_does_not_turn_time_back(
    make_video: Callable[..., Path], spec: ClipSpec
) -> None:
    """A playlist lists frames of an encoder that was restarted, which are older than those read last."""
    (source,) = parse_source(str(make_video("a.mp4", [0] * 5)))
    report = SourceReport(index=0, source=source, position_seconds=5.16)
    options, stop = ReadOptions(), threading.Event()
    with Reading(report, spec=spec, options=options, hop=1, keep_all=True, stop=stop, resume=lambda: True) as reading:
        decoded = next(iter(reading._decoder.frames()))
        for presented_at, expected in ((10.0, 5.2), (14.2, 6.16)):
            shift = reading._find_shift(replace(decoded, presented_at=presented_at), 13.2)
            assert decoded.pts_seconds + shift == pytest.approx(expected)

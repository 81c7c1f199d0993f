"""What a source's report says while it is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.runtime.sources.source import parse_source
from s2tf_edge.runtime.streaming.fair_queue import FairQueue
from s2tf_edge.runtime.streaming.reader import Reader
from s2tf_edge.runtime.streaming.reading import ReadOptions
from s2tf_edge.runtime.streaming.source_report import SourceReport
from s2tf_edge.spec import ClipSpec


def _reader(url: str | Path, spec: ClipSpec, **options: Any) -> Reader:
    (source,) = parse_source(str(url))
    taken: dict[str, Any] = {"hop": 1, "keep_all": False, "duration_seconds": None, "pictures": False}
    report = SourceReport(index=0, source=source)
    return Reader([report], queue=FairQueue(), spec=spec, options=ReadOptions(**taken | options))


def _states(reader: Reader) -> list[str]:
    """What the report's state was, one after another, until the reader ends."""
    report, states = reader.reports[0], [reader.reports[0].state]
    reader.start()
    deadline = time.monotonic() + 30
    while reader.is_alive() and time.monotonic() < deadline:
        states += [report.state] if report.state != states[-1] else []
        time.sleep(0.001)
    return [*states, report.state] if report.state != states[-1] else states


def test_a_source_waits_plays_is_lost_and_fails(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], spec: ClipSpec
) -> None:
    data = make_video("a.ts", [0] * 50).read_bytes()

    def sent() -> Iterable[bytes]:
        yield data
        time.sleep(0.3)

    def nothing() -> Iterable[bytes]:
        server.close()
        return []

    server = serve_tcp(sent, sent, nothing)
    reader = _reader(server.url, spec, max_outage_seconds=2.0)
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
    reader = _reader(path, spec, start_seconds=1.0, duration_seconds=2.0, keep_all=False)
    assert _states(reader)[-1] == "ended"
    (report,) = reader.reports
    assert report.first_seconds == pytest.approx(11.0, abs=2e-3)
    assert report.position_seconds == pytest.approx(13.0, abs=2e-3)
    assert report.duration_seconds == 2.0
    assert report.frames == 51

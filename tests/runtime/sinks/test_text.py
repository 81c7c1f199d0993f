"""What is written: JSON lines and readable lines."""

from __future__ import annotations

import io
import json
from datetime import datetime
from pathlib import Path

import av
import numpy as np
import pytest

from s2tf_edge import __version__
from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.sinks.text import JsonlSink, TextSink
from s2tf_edge.runtime.streaming.records import (
    SCHEMA_VERSION,
    Action,
    Failure,
    Gap,
    Picture,
    Prediction,
    Record,
    Start,
    Summary,
)
from s2tf_edge.spec import ClipSpec


def _start(spec: ClipSpec, *sources: str) -> Start:
    return Start(
        artifact="a",
        network="n",
        target="onnx",
        precision="fp32",
        clip=spec,
        labels=3,
        hop=1,
        policy="auto",
        smooth="none",
        threshold=0.5,
        sources=sources,
    )


def _prediction(
    label: str, score: float, *, at: float = 0.0, source: int = 0, since: float | None = None
) -> Prediction:
    action = None if since is None else Action(label=label, t_start=since, score=score)
    return Prediction(
        source=source,
        t_start=at,
        t_end=at + 1,
        label=label,
        score=score,
        topk=((label, score),),
        age_ms=1.23456789,
        infer_ms=1.0,
        action=action,
    )


def _picture(seconds: float, *, height: int = 48, width: int = 64, source: int = 0) -> Picture:
    frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 90, np.uint8), format="rgb24")
    return Picture(source=source, pts_seconds=seconds, frame=frame)


def _summary(*errors: str | None) -> Summary:
    return Summary(
        seconds=1.0,
        interrupted=False,
        frames_in=1,
        windows=1,
        events=0,
        gaps=0,
        drops={"windows_superseded": 2},
        stages_ms={},
        sources=tuple({"error": error} for error in errors),
    )


def test_json_lines_hold_every_record_but_pictures(tmp_path: Path, spec: ClipSpec) -> None:
    sink = JsonlSink(tmp_path / "ä b.jsonl")
    for record in (_start(spec, "x"), _picture(0.0), _prediction("прыжок", 0.5, since=0.25), _summary()):
        sink.write(record)
    sink.close()
    start, prediction, summary = map(json.loads, (tmp_path / "ä b.jsonl").read_text(encoding="utf-8").splitlines())
    assert list(start)[:4] == ["type", "schema_version", "version", "started_at"]
    assert (start["type"], start["schema_version"], start["version"]) == ("start", SCHEMA_VERSION, __version__)
    assert datetime.strptime(start["started_at"], "%Y-%m-%dT%H:%M:%S.%fZ")
    assert ClipSpec.from_dict(start["clip"]) == spec
    assert list(prediction)[:2] == ["type", "source"]
    assert prediction["topk"] == [["прыжок", 0.5]]
    assert prediction["age_ms"] == 1.234568
    assert prediction["action"] == {"label": "прыжок", "t_start": 0.25, "score": 0.5}
    assert summary["drops"] == {"windows_superseded": 2}


def test_a_line_is_there_as_soon_as_it_is_written(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "out.jsonl")
    sink.write(_prediction("a", 0.5))
    assert (tmp_path / "out.jsonl").read_text().endswith("}\n")
    sink.close()


def _failure(source: int) -> Failure:
    return Failure(source=source, name="x", message="gone", exit_code=9)


def test_a_run_in_which_all_sources_fail_leaves_no_file_and_an_older_one_as_it_was(
    tmp_path: Path, spec: ClipSpec
) -> None:
    (tmp_path / "old.jsonl").write_text("older")
    for name in ("new.jsonl", "old.jsonl"):
        sink = JsonlSink(tmp_path / name)
        for record in (_start(spec, "x", "y"), _failure(0), _failure(1), _summary("gone", "gone")):
            sink.write(record)
        sink.close()
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [("old.jsonl", "older")]


@pytest.mark.parametrize("last", [("gone", "lost"), ("gone", None)])
def test_a_run_in_which_some_sources_fail_leaves_all_lines(
    tmp_path: Path, spec: ClipSpec, last: tuple[str, str | None]
) -> None:
    sink = JsonlSink(tmp_path / "out.jsonl")
    for record in (_start(spec, "x", "y"), _failure(0), _prediction("a", 0.5, source=1), _summary(*last)):
        sink.write(record)
    sink.close()
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["type"] for line in lines] == ["start", "error", "prediction", "summary"]


def test_a_run_that_was_stopped_before_its_first_prediction_leaves_its_lines(tmp_path: Path, spec: ClipSpec) -> None:
    sink = JsonlSink(tmp_path / "out.jsonl")
    for record in (_start(spec, "x"), _summary(None)):
        sink.write(record)
    sink.close()
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2


def test_a_stream_that_was_given_is_left_open() -> None:
    text = io.StringIO()
    JsonlSink(text).close()
    assert not text.closed


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"cannot write .*gone.*choose a file in a folder that exists"):
        JsonlSink(tmp_path / "gone/out.jsonl")


def _lines(spec: ClipSpec, records: list[Record], *sources: str) -> list[str]:
    lines: list[str] = []
    sink = TextSink(lines.append, threshold=0.5)
    for record in (_start(spec, *sources), *records):
        sink.write(record)
    sink.close()
    return lines


def test_a_readable_line_for_each_action_at_the_time_it_began(spec: ClipSpec) -> None:
    found = [("a", 0.4, None), ("a", 0.6, 1.25), ("a", 0.9, 1.25), ("b", 0.4, None), ("b", 0.7, 4.5), ("b", 0.8, 5.5)]
    records = [_prediction(label, score, at=at, since=since) for at, (label, score, since) in enumerate(found)]
    assert [line.split() for line in _lines(spec, [*records], "x")] == [
        ["1.25", "s", "a", "0.60"],
        ["4.50", "s", "b", "0.70"],
        ["5.50", "s", "b", "0.80"],
    ]


def test_after_a_gap_an_action_is_told_again_even_if_time_begins_anew(spec: ClipSpec) -> None:
    gap = Gap(source=0, t_start=1.0, t_end=0.0, cause="clock")
    lines = _lines(spec, [_prediction("a", 0.6, since=0.0), gap, _prediction("a", 0.7, since=0.0)], "x")
    assert [line.split()[2] for line in lines] == ["a", "its", "a"]


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        ("pause", "no signal until 9.00 s"),
        ("clock", "its clock started anew"),
        ("lost", "lost, and found again at 9.00 s"),
        ("behind", "too slow to decode, frames left out until 9.00 s"),
    ],
)
def test_a_gap_is_called_by_its_cause(spec: ClipSpec, cause: str, text: str) -> None:
    assert _lines(spec, [Gap(source=0, t_start=10.0, t_end=9.0, cause=cause)], "x") == [f"   10.00 s  {text}"]


def test_several_sources_are_named(spec: ClipSpec) -> None:
    lines = _lines(spec, [_prediction("a", 0.6, source=1, since=0.0), _prediction("b", 0.2)], "x.mp4", "y.mp4")
    assert lines[0].startswith("y.mp4  ")
    assert lines[1].startswith("x.mp4  ")
    assert "nothing scored 0.50 or more; best: b (0.20)" in lines[1]

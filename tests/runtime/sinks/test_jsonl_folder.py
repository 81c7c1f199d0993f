"""A file of predictions for each source."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sinks.jsonl_folder import JsonlFolderSink, file_stems
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Event, Failure, Gap, Prediction, Record, Start, Summary
from s2tf_edge.spec import ClipSpec


def _start(*sources: str) -> Start:
    return Start(
        artifact="a",
        network="n",
        target="onnx",
        precision="fp32",
        clip=ClipSpec(frames=4, size=32),
        labels=3,
        hop=1,
        policy="auto",
        smooth="none",
        threshold=0.5,
        sources=sources,
    )


def _prediction(source: int) -> Prediction:
    return Prediction(
        source=source,
        t_start=0.0,
        t_end=1.0,
        label="a",
        score=0.9,
        topk=(("a", 0.9),),
        age_ms=40.0,
        infer_ms=10.0,
        stages_ms={"queue": 3.0},
    )


def _facts(name: str, *, frames: int, error: str | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "frames": frames,
        "windows": 1,
        "gaps": 0,
        "corrupt_packets": 2,
        "frames_behind": 3,
        "error": error,
    }


def _summary(*facts: dict[str, Any]) -> Summary:
    return Summary(
        seconds=1.0,
        interrupted=False,
        frames_in=99,
        windows=9,
        events=9,
        gaps=9,
        drops={"windows_superseded": 2},
        stages_ms={},
        sources=facts,
    )


def _written(folder: Path, *records: Record) -> dict[str, list[dict[str, Any]]]:
    sink = JsonlFolderSink(folder)
    for record in records:
        sink.write(record)
    sink.close()
    return {path.name: [json.loads(line) for line in path.read_text("utf-8").splitlines()] for path in folder.glob("*")}


def test_each_file_reads_as_if_its_source_had_been_the_only_one(tmp_path: Path) -> None:
    event = Event(source=1, label="a", t_start=0.0, t_end=1.0, score=0.9)
    gap = Gap(source=1, t_start=1.0, t_end=2.0)
    facts = _facts("in/x.mp4", frames=5), _facts("in/ÿ y.avi", frames=7)
    records = _start("in/x.mp4", "in/ÿ y.avi"), _prediction(0), _prediction(1), gap, event, _summary(*facts)
    files = _written(tmp_path / "new/folder", *records)
    assert {name: [line["type"] for line in lines] for name, lines in files.items()} == {
        "x.jsonl": ["start", "prediction", "summary"],
        "ÿ y.jsonl": ["start", "prediction", "gap", "event", "summary"],
    }
    lines = files["ÿ y.jsonl"]
    assert lines[0]["sources"] == ["in/ÿ y.avi"]
    assert {line["source"] for line in lines[1:-1]} == {0}
    summary = lines[-1]
    assert (summary["frames_in"], summary["windows"], summary["events"]) == (7, 1, 1)
    assert summary["drops"] == {"corrupt_packets": 2, "frames_behind": 3}
    assert summary["stages_ms"]["age"]["p50"] == pytest.approx(40, rel=0.02)
    assert summary["stages_ms"]["queue"]["n"] == 1
    assert [source["name"] for source in summary["sources"]] == ["in/ÿ y.avi"]


def test_what_was_never_read_from_leaves_no_file_and_an_older_one_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "gone.jsonl").write_text('{"older": 1}')
    failure = Failure(source=0, name="gone.mp4", message="gone", exit_code=9)
    facts = _facts("gone.mp4", frames=0, error="gone"), _facts("later.mp4", frames=0)
    files = _written(tmp_path, _start("gone.mp4", "later.mp4"), failure, _summary(*facts))
    assert files == {"gone.jsonl": [{"older": 1}]}


def test_a_source_that_fails_later_keeps_its_lines(tmp_path: Path) -> None:
    failure = Failure(source=0, name="x.mp4", message="broke", exit_code=9)
    summary = _summary(_facts("x.mp4", frames=5, error="broke"))
    files = _written(tmp_path, _start("x.mp4"), _prediction(0), failure, summary)
    assert [line["type"] for line in files["x.jsonl"]] == ["start", "prediction", "error", "summary"]


def test_a_source_that_was_read_but_told_nothing_has_a_summary(tmp_path: Path) -> None:
    files = _written(tmp_path, _start("x.mp4"), _summary(_facts("x.mp4", frames=2)))
    assert [line["type"] for line in files["x.jsonl"]] == ["start", "summary"]


def test_a_killed_run_leaves_what_was_found(tmp_path: Path) -> None:
    sink = JsonlFolderSink(tmp_path)
    for record in (_start("x.mp4"), _prediction(0)):
        sink.write(record)
    assert len((tmp_path / "x.jsonl").read_text().splitlines()) == 2


def test_a_second_run_starts_its_files_anew(tmp_path: Path) -> None:
    for _ in range(2):
        files = _written(tmp_path, _start("x.mp4"), _prediction(0))
    assert len(files["x.jsonl"]) == 2


def test_a_folder_of_videos(tmp_path: Path, make_video: Callable[..., Path], brightness: Session) -> None:
    for name, level in (("a.mp4", 20), ("b.mp4", 230)):
        make_video(name, [level] * 30)
    (tmp_path / "c.mp4").write_bytes(b"no video")
    files = _written(tmp_path / "out", *recognize(str(tmp_path), brightness))
    assert sorted(files) == ["a.jsonl", "b.jsonl"]
    for name, label in (("a.jsonl", "dark"), ("b.jsonl", "bright")):
        first, *found, last = files[name]
        assert (first["type"], last["type"], last["frames_in"]) == ("start", "summary", 30)
        assert {line["label"] for line in found} == {label}
        assert last["windows"] == sum(line["type"] == "prediction" for line in found)


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (["a/x.mp4", "b/x.mp4", "b/X.avi"], ["x", "x-2", "X-3"]),
        (["x.mp4", "x-2.mp4", "y/x.mp4"], ["x", "x-2", "x-3"]),
        (["x.mp4", "y/x.mp4", "x-2.mp4"], ["x", "x-2", "x-2-2"]),
        (["день 1.mkv", "a.b.mp4"], ["день 1", "a.b"]),
        (["rtsp://user:p@ss@cam.local:554/live?x=1"], ["rtsp-cam.local-554-live-x-1"]),
        (["lavfi:testsrc=size=64x64", "/dev/video0", "-"], ["lavfi-testsrc-size-64x64", "dev-video0", "stdin"]),
    ],
)
def test_names_are_plain_and_no_two_are_alike(names: list[str], stems: list[str]) -> None:
    assert file_stems(names) == stems


@pytest.mark.parametrize("name", [300 * "n", 300 * "猫", "lavfi:" + 300 * "猫", f"clips/{84 * '猫'}.mp4"])
@pytest.mark.parametrize("zone", ["", 300 * "犬"])
def test_long_names_are_cut_to_what_a_file_may_be_called(tmp_path: Path, name: str, zone: str) -> None:
    names = [f"{name}{number}" for number in range(3)] if not name.endswith(".mp4") else [name] * 3
    stems = file_stems(names, zones=[zone] * 3 if zone else ())
    assert len(set(stems)) == 3
    for stem in stems:
        (tmp_path / f"{stem}.jsonl").touch()
        assert "�" not in stem


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(UsageError, match="is a file; name a folder"):
        JsonlFolderSink(tmp_path / "x")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    sink = JsonlFolderSink(tmp_path / "x")
    sink.write(_start("a.mp4"))
    (tmp_path / "x").write_text("")
    with pytest.raises(InputFileError, match=r"cannot write .*a\.jsonl.*choose another `folder`"):
        sink.write(_prediction(0))

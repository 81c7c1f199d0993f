"""An archive from its sources to its files: what stands there, and what does not change it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.errors import InputFileError, MissingExtraError, UsageError
from s2tf_edge.runtime.archives.entries import Task
from s2tf_edge.runtime.archives.folder_lock import hold_as_driver
from s2tf_edge.runtime.archives.max_bad import MaxBad
from s2tf_edge.runtime.archives.recognize_archive import ArchiveOptions
from s2tf_edge.runtime.session import SessionOptions
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Event, Prediction, to_json
from s2tf_edge.runtime.streaming.regions import Region
from s2tf_edge.runtime.streaming.smoothing import Smoothing
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

Run = Callable[..., dict[str, Any]]
Rows = Callable[..., list[dict[str, Any]]]
Results = Callable[[Path], dict[str, bytes]]
JSONL = ArchiveOptions(format="jsonl")


class _Stop:
    """Interrupts a run before its n-th piece, as Ctrl-C does."""

    def __init__(self, pieces: int) -> None:
        self._left = pieces

    def __call__(self, task: Task) -> None:
        del task
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_each_video_has_what_a_stream_says_of_it_alone(
    run: Run, videos: Path, artifact: Path, tmp_path: Path, format: str, rows: Rows
) -> None:
    options = StreamOptions(smoothing=Smoothing(kind="mean", value=2), threshold=0.5, hop=2, topk=2)
    summary = run(videos, options=options, how=ArchiveOptions(format=format))
    out = tmp_path / "out"
    found = rows(out, format=format)
    assert [Path(row["source"]).name for row in found] == [
        *("1.mp4", "2.mp4", "4 no video.mp4", "4.mp4", "5.mp4", "7.mp4", "8.mp4", "empty.avi"),
        *("0.mp4", "3.mp4", "6.mp4"),
    ]
    assert {row["error"] for row in found} == {None, "unreadable"}
    for row in found:
        if row["status"] != "ok":
            continue
        said = [*recognize(row["source"], artifact, options=options)]
        for table, kind in (("predictions", Prediction), ("events", Event)):
            own = [each for each in rows(out, table, format) if each["entry"] == row["entry"]]
            wanted = [to_json(record) or {} for record in said if isinstance(record, kind)]
            assert wanted
            shared = set(wanted[0]) & set(own[0]) - {"source"}
            assert shared >= {"t_start", "t_end", "label", "score"}
            assert [{key: each[key] for key in shared} for each in own] == [
                {key: record[key] for key in shared} for record in wanted
            ]
        assert (row["windows"], row["frames"]) == (said[-1].windows, said[-1].frames_in)  # type: ignore[union-attr]
    assert (summary["videos"], summary["bad"], summary["errors"]) == (11, 2, {"unreadable": 2})
    assert summary["is_complete"]
    assert {label["label"] for label in summary["labels"]} == {"dark", "bright"}


def test_both_formats_hold_the_same_rows(run: Run, videos: Path, tmp_path: Path, rows: Rows) -> None:
    run(videos, out="a")
    run(videos, out="b", how=JSONL)
    for table in ("predictions", "events", "videos"):
        assert rows(tmp_path / "a", table) == rows(tmp_path / "b", table, "jsonl")


def test_the_schema_is_that_of_the_page(run: Run, videos: Path, tmp_path: Path) -> None:
    dataset = pytest.importorskip("pyarrow.dataset")
    run(videos)
    page = (Path(__file__).parents[3] / "docs/archives.md").read_text("utf-8")
    for table in ("predictions", "events", "videos"):
        schema = dataset.dataset(tmp_path / "out" / table).schema
        for field in schema:
            assert f"| `{field.name}` | `{field.type}` |" in page


def test_what_was_interrupted_goes_on_and_ends_as_if_it_had_not_been(
    run: Run, videos: Path, tmp_path: Path, results: Results
) -> None:
    run(videos, out="whole")
    for pieces in (1, 0, 1):
        with pytest.raises(KeyboardInterrupt, match=r"of 11 videos are done; the same command goes on"):
            run(videos, before=_Stop(pieces))
        assert not json.loads((tmp_path / "out/summary.json").read_text())["is_complete"]
    summary = run(videos)
    assert results(tmp_path / "out") == results(tmp_path / "whole")
    assert (summary["videos"], summary["run"]["videos"], summary["bad"]) == (11, 3, 2)
    assert run(videos)["run"]["videos"] == 0


def test_what_was_written_without_being_committed_is_done_again(
    run: Run, videos: Path, tmp_path: Path, results: Results
) -> None:
    run(videos, out="whole")
    run(videos)
    (tmp_path / "out/videos/0000001.parquet").unlink()
    (tmp_path / "out/events/0000001.parquet").write_bytes(b"half")
    (tmp_path / "out/events/0000002.parquet.part").write_bytes(b"half")
    assert run(videos)["run"]["videos"] == 4
    assert results(tmp_path / "out") == results(tmp_path / "whole")


def test_videos_that_appear_later_are_appended(
    run: Run, videos: Path, make_video: Callable[..., Path], tmp_path: Path, results: Results, rows: Rows
) -> None:
    run(videos)
    before = results(tmp_path / "out")
    make_video("videos/0 new.mp4", [25] * 9)
    assert run(videos)["run"]["videos"] == 1
    after = results(tmp_path / "out")
    assert after.items() > before.items()
    assert (rows(tmp_path / "out")[-1]["source"], rows(tmp_path / "out")[-1]["entry"]) == (
        str(videos / "0 new.mp4"),
        11,
    )


def test_another_job_in_the_same_folder_is_refused(
    run: Run, videos: Path, tmp_path: Path, write_artifact: Callable[..., Path]
) -> None:
    run(videos)
    other = write_artifact(tmp_path / "other", steepness=5)
    with pytest.raises(UsageError, match=r"has results of another artifact, '.*brightness ä'"):
        run(videos, artifact=other)
    with pytest.raises(UsageError, match=r"was begun with threshold 0\.3, got 0\.5; choose another `out`"):
        run(videos, options=StreamOptions(threshold=0.5))
    with pytest.raises(UsageError, match=r"was begun with format 'parquet', got 'jsonl'"):
        run(videos, how=JSONL)
    with pytest.raises(UsageError, match=r"was begun with threads 1, got 2"):
        run(videos, run_on=SessionOptions(threads=2))


def test_an_artifact_may_move(run: Run, videos: Path, artifact: Path, tmp_path: Path) -> None:
    run(videos)
    shutil.copytree(artifact, tmp_path / "moved")
    assert run(videos, artifact=tmp_path / "moved")["run"]["videos"] == 0


def test_two_drivers_do_not_write_into_one_folder(run: Run, videos: Path, tmp_path: Path) -> None:
    run(videos)
    with hold_as_driver(tmp_path / "out"), pytest.raises(UsageError, match=r"another s2tf-batch is at work in"):
        run(videos)
    run(videos)


def test_a_folder_of_something_else_is_left_alone(run: Run, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").touch()
    with pytest.raises(UsageError, match=r"holds files that s2tf-batch did not write"):
        run(videos)
    with pytest.raises(UsageError, match=r"is a file; choose another `out`"):
        run(videos, out="out/thesis.txt")


@pytest.mark.parametrize(("max_bad", "ends"), [("1", True), ("18%", True), ("2", False), ("18.2%", False)])
def test_more_bad_videos_than_allowed_end_the_run(
    run: Run, videos: Path, tmp_path: Path, max_bad: str, ends: bool, rows: Rows
) -> None:
    how = ArchiveOptions(max_bad=max_bad)
    if not ends:
        assert run(videos, how=how)["bad"] == 2
        return
    for _ in range(2):
        with pytest.raises(InputFileError, match=r"2 of 11 videos are bad \(2 unreadable\), and `max_bad` allows 1"):
            run(videos, how=how)
    assert len(rows(tmp_path / "out")) == 8  # what was done by then stays
    assert run(videos)["is_complete"]


def test_none_that_can_be_read_is_an_error(run: Run, videos: Path, tmp_path: Path, rows: Rows) -> None:
    with pytest.raises(InputFileError, match=r"none of 1 video could be read: .*empty.avi is empty"):
        run(videos / "empty.avi")
    assert rows(tmp_path / "out")[0]["error"] == "unreadable"


def test_bad_videos_are_tried_again_if_asked_for(run: Run, videos: Path, make_video: Callable[..., Path]) -> None:
    assert run(videos)["bad"] == 2
    make_video("videos/4 no video.mp4", [25] * 9)
    assert run(videos)["bad"] == 2
    summary = run(videos, how=ArchiveOptions(retry_bad=True))
    assert (summary["bad"], summary["videos"], summary["run"]["videos"]) == (1, 11, 8)


def test_names_of_any_bytes_come_back(run: Run, make_video: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    plain = make_video("plain.mp4", [25] * 9)
    names = [b"new\nline.mp4", b"latin-\xe9.mp4", b"\x1b[2J\xe2\x80\xae.mp4", "走る🏃.mp4".encode(), b'quote".mp4']
    for name in names:
        shutil.copy(plain, tmp_path / "odd" / os.fsdecode(name))
    parquet = pytest.importorskip("pyarrow.dataset")
    assert run(tmp_path / "odd", out="a")["bad"] == 0
    table = parquet.dataset(tmp_path / "a/videos").to_table().to_pylist()
    run(tmp_path / "odd", out="b", how=JSONL)
    lines = [line for path in sorted(tmp_path.glob("b/videos/*")) for line in path.read_text("utf-8").splitlines()]
    for row in (*table, *map(json.loads, lines)):
        raw = row["source_bytes"]
        raw = bytes.fromhex(raw) if isinstance(raw, str) else raw
        name = row["source"].encode() if raw is None else raw
        assert name.removeprefix(os.fsencode(tmp_path / "odd") + b"/") in names
        assert (raw is not None) == (b"\xe9" in name)
        if raw is not None:
            assert row["source"].endswith(r"latin-\xe9.mp4")


@pytest.mark.parametrize("package", ["pyarrow", "pyarrow.parquet"])
def test_parquet_without_its_package(
    run: Run, videos: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, package: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'pyarrow.*pip install 's2tf-edge\[batch\]'$"):
        run(videos)
    assert not (tmp_path / "out").exists()
    assert run(videos, how=JSONL)["videos"] == 11


def test_an_address_without_its_package(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    (tmp_path / "list.txt").write_text("a.mp4\ns3://user:hunter2@bucket/b.mp4\n")
    for source in ("s3://bucket/videos/", "https://user:hunter2@host/a.mp4", str(tmp_path / "list.txt")):
        with pytest.raises(MissingExtraError, match=r"reading (s3|https):// needs the package 'fsspec'") as caught:
            run(source)
        assert str(caught.value).endswith("pip install 's2tf-edge[batch]'")
        assert "hunter2" not in str(caught.value)


def test_the_page_shows_what_happened(run: Run, videos: Path, tmp_path: Path) -> None:
    pytest.importorskip("jinja2")
    shutil.copy(videos / "empty.avi", videos / "<script>.avi")
    run(videos)
    page = (tmp_path / "out/summary.html").read_text("utf-8")
    assert "12 of 12 videos" in page
    assert "&lt;script&gt;.avi" in page
    assert "<script>" not in page
    assert "bright" in page


def test_without_jinja_there_is_no_page(
    run: Run, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    run(videos)
    assert (tmp_path / "out/summary.json").exists()
    assert not (tmp_path / "out/summary.html").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"workers": 0}, "`workers` must be from 1 to 4096, got 0"),
        ({"max_bad": "lots"}, "`max_bad` must be a number of videos, .*got 'lots'"),
        ({"max_bad": "101%"}, "got '101%'"),
        ({"max_bad": "-1"}, "got '-1'"),
    ],
)
def test_values_that_are_not_allowed(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ArchiveOptions(**values)


@pytest.mark.parametrize(
    "options", [{"regions": [Region("door", (0.0, 0.0, 1.0, 1.0))]}, {"policy": "latest"}, {"saliency": True}]
)
def test_options_of_streams_are_refused(run: Run, videos: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"`{next(iter(options))}` is of streams; the files of an archive"):
        run(videos, options=StreamOptions(**options))


def test_a_format_that_there_is_not(run: Run, videos: Path) -> None:
    with pytest.raises(UsageError, match=r"`format` must be one of parquet, jsonl, got 'csv'"):
        run(videos, how=ArchiveOptions(format="csv"))


def test_a_run_that_could_not_begin_binds_nobody_to_its_options(run: Run, videos: Path, tmp_path: Path) -> None:
    class NoCrew:
        def __init__(self, *_: object, **__: object) -> None:
            msg = "nothing runs it here"
            raise MissingExtraError(msg)

    with pytest.raises(MissingExtraError, match="nothing runs it here"):
        run(videos, how=ArchiveOptions(format="jsonl"), make_crew=NoCrew)
    assert not (tmp_path / "out/job/job.json").exists()
    assert run(videos)["is_complete"]


def test_a_run_without_videos_leaves_nothing(run: Run, videos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="gone does not exist"):
        run(tmp_path / "gone")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(InputFileError, match="gone does not exist"):
        run(tmp_path / "gone")
    assert [*(tmp_path / "out").iterdir()] == []
    assert run(videos)["is_complete"]


@pytest.mark.parametrize(
    ("text", "videos", "most"), [("0.57%", 10_000, 57), ("1%", 150, 1), ("100%", 7, 7), ("3", 9, 3)]
)
def test_a_share_of_all_videos(text: str, videos: int, most: int) -> None:
    assert MaxBad.parse(text).of(videos) == most

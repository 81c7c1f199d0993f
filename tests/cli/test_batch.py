"""``s2tf-batch`` as a user runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.cli import batch as command
from s2tf_edge.data.synthetic import write_video
from s2tf_edge.runtime.archives import recognize_archive as module
from s2tf_edge.runtime.archives.status import ArchiveStatus

Printed = tuple[int, str, str]
COUNT = 26


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of odd lengths, and damaged ones among them."""
    folder = tmp_path_factory.mktemp("archive") / "videos"
    folder.mkdir()
    for index in range(COUNT):
        write_video(
            folder / f"{index:02d}.mp4", clips=[("moving left", 0.5 + 0.1 * (index % 7))], size=(32, 48), seed=index
        )
    data = (folder / "03.mp4").read_bytes()
    (folder / "05.mp4").write_bytes(data[: len(data) // 2])
    (folder / "11.mp4").write_bytes(b"")
    (folder / "17.mp4").write_bytes(bytes(reversed(data)))
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Printed]:
    """Runs the console script; gives its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Printed:
        monkeypatch.setattr(sys, "argv", ["s2tf-batch", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def _results(folder: Path) -> dict[str, bytes]:
    tables = ("predictions", "events", "videos")
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for name in tables for path in folder.glob(f"{name}/*")
    }


def _start(*arguments: str | Path) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "s2tf_edge.cli.batch", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def _wait_for(pattern: str, folder: Path, process: subprocess.Popen[str]) -> None:
    while not [*folder.glob(pattern)]:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_a_run_and_the_same_again(run: Callable[..., Printed], small_artifact: Path, videos: Path) -> None:
    code, out, err = run(small_artifact, videos, "--out", "out", "--workers", 2, "--threshold", 0.01)
    assert code == 0
    assert re.match(
        r"26 videos, 0\.\d\d hours, \d+ windows, \d+ actions\n[\d.]+ hours of video an hour, 2 workers\n", out
    )
    assert "3 bad: 3 unreadable" in out
    assert out.endswith("results: out\n")
    code, out, err = run(small_artifact, videos, "--out", "out", "--threshold", 0.01, "--json")
    assert code == 0
    assert (json.loads(out)["videos"], json.loads(out)["run"]["videos"]) == (26, 0)
    assert "going on: 26 videos of 26 are done" in err
    code, _, err = run(small_artifact, videos, "--out", "out")
    assert code == 2
    assert "out was begun with threshold 0.01, got 0.3; choose another --out for it" in err
    code, _, err = run(small_artifact, videos, "--out", "out", "--threshold", 0.01, "--max-bad", "5%")
    assert code == 9
    assert "3 of 26 videos are bad (3 unreadable), and --max-bad allows 1 (5%)" in err
    assert "--retry-bad" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["ART", "nowhere.mp4"], 9, "nowhere.mp4 does not exist"),
        (["nothing", "VIDEOS"], 9, "nothing does not exist"),
        (["ART", "rtsp://user:hunter2@host/live"], 9, "s2tf-stream reads it"),
        (["ART", "0"], 2, "'0' is no file that ends"),
        (["ART", "VIDEOS", "--workers", "0"], 2, "--workers must be from 1 to 4096, got 0"),
        (["ART", "VIDEOS", "--max-bad", "many"], 2, "--max-bad must be a number of videos"),
        (["ART", "VIDEOS", "--format", "csv"], 2, "--format must be one of parquet, jsonl, got 'csv'"),
        (["ART", "VIDEOS", "--metrics", "0.0.0.0:9"], 2, "give a --token"),
        (["ART", "VIDEOS", "--ray", "ray://head:10001"], 2, "--ray must be auto or HOST:PORT of a cluster's head"),
        (["ART", "VIDEOS", "--topk", "0"], 2, "--topk must be one or more"),
    ],
)
def test_what_is_wrong_is_said_with_its_exit_code(
    run: Callable[..., Printed], small_artifact: Path, videos: Path, arguments: list[str], code: int, words: str
) -> None:
    places = {"ART": small_artifact, "VIDEOS": videos}
    found, _, err = run(*(places.get(word, word) for word in arguments), "--out", "out")
    assert (found, words in err) == (code, True), err
    assert "hunter2" not in err
    # What was wrong binds nobody to its options.
    assert not Path("out/job/job.json").exists()


@pytest.mark.parametrize(("arguments", "lacks"), [([], "ARTIFACT"), (["a"], "SOURCES"), (["a", "b.mp4"], "--out")])
def test_what_must_be_given(run: Callable[..., Printed], arguments: list[str], lacks: str) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert "Missing" in err
    assert lacks in err


@pytest.mark.parametrize(
    ("package", "source", "format"), [("pyarrow", "VIDEOS", "parquet"), ("fsspec", "s3://bucket/a/", "jsonl")]
)
def test_a_package_that_is_missing(
    run: Callable[..., Printed],
    small_artifact: Path,
    videos: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    source: str,
    format: str,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    source = str(videos) if source == "VIDEOS" else source
    code, _, err = run(small_artifact, source, "--out", "out", "--format", format)
    assert code == 7
    assert err.rstrip().endswith("pip install 's2tf-edge[batch]'")


def test_a_cluster_without_ray(
    run: Callable[..., Printed], small_artifact: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    code, out, err = run(small_artifact, videos, "--out", "out", "--ray", "auto")
    assert (code, out) == (7, "")
    assert err.rstrip().endswith("pip install 's2tf-edge[ray]'")
    assert not Path("out").exists()


def test_metrics_while_it_runs(
    run: Callable[..., Printed], small_artifact: Path, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("prometheus_client")
    asked: list[str] = []
    tell = module._ArchiveRun._tell

    def tell_and_ask(archive: Any) -> None:
        tell(archive)
        thread = next((each for each in threading.enumerate() if each.name == "serve the page"), None)
        if archive.status().now.videos and not asked and thread is not None:
            with urllib.request.urlopen(addresses[0], timeout=60) as answer:
                asked.append(answer.read().decode())

    addresses: list[str] = []
    write = command._serve_metrics

    def serve(flags: Any, stack: Any) -> Callable[[ArchiveStatus], object]:
        watch = write(flags, stack)
        addresses.append(watch.__self__.url)  # type: ignore[attr-defined]
        return watch

    monkeypatch.setattr(command, "_serve_metrics", serve)
    monkeypatch.setattr(module._ArchiveRun, "_tell", tell_and_ask)
    code, _, err = run(small_artifact, videos, "--out", "out", "--workers", 1, "--metrics", 0, "--format", "jsonl")
    assert code == 0
    assert f"serving {addresses[0]}" in err
    assert re.search(r'^s2tf_batch_videos_total\{status="ok"\} [1-9]', asked[0], re.MULTILINE)
    assert "s2tf_batch_listed_videos 26.0" in asked[0]


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_an_interrupted_run_ends_in_order_and_goes_on(
    run: Callable[..., Printed], small_artifact: Path, videos: Path, tmp_path: Path, number: signal.Signals
) -> None:
    # One folder more, so that there is something left to do.
    for copy in range(2):
        shutil.copytree(videos, tmp_path / f"all/{copy}")
    arguments = (small_artifact, tmp_path / "all", "--out", tmp_path / "out", "--workers", "1")
    with _start(*arguments) as process:
        _wait_for("videos/0000001.parquet", tmp_path / "out", process)
        os.killpg(process.pid, number)
        _, err = process.communicate()
    assert process.returncode == 130, err
    assert re.search(r"error: interrupted; \d+ of 52 videos are done; the same command goes on$", err.rstrip())
    assert not json.loads((tmp_path / "out/summary.json").read_text())["is_complete"]
    code, out, _ = run(*arguments, "--json")
    assert code == 0
    assert (json.loads(out)["videos"], json.loads(out)["bad"]) == (52, 6)


@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [False, True])
def test_killed_drivers_lose_nothing_and_do_nothing_twice(
    run: Callable[..., Printed], small_artifact: Path, videos: Path, tmp_path: Path, whole_group: bool
) -> None:
    """500 videos of odd lengths; driver, or driver and workers, killed at three places."""
    for copy in range(20):
        shutil.copytree(videos, tmp_path / f"all/{copy:02d}")
    arguments = (small_artifact, tmp_path / "all", "--threshold", "0.05")
    assert run(*arguments, "--out", tmp_path / "whole", "--workers", 1)[0] == 0
    for piece in (3, 20, 50):
        with _start(*arguments, "--out", tmp_path / "out", "--workers", "2") as process:
            _wait_for(f"videos/{piece:07d}.parquet", tmp_path / "out", process)
            if whole_group:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
            process.communicate()
    assert run(*arguments, "--out", tmp_path / "out", "--workers", 2)[0] == 0
    assert _results(tmp_path / "out") == _results(tmp_path / "whole")

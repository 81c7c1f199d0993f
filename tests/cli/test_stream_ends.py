"""However ``s2tf-stream`` or what it writes to ends: nothing is lost that was written, and the rest goes on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.data.video import probe

LIVE = "lavfi:testsrc=size=64x48:rate=25"
needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is made of Linux's /dev/full")
_PATIENCE_SECONDS = 120
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(small_artifact: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts the command in a process of its own, by a shell that says what its streams and signals are."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str | Path, shell: str = 'exec "$@"', max_file: int | None = None) -> subprocess.Popen[str]:
        code = "from s2tf_edge.cli.stream import main; main()"
        if max_file is not None:
            code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({max_file}, {max_file})); {code}"
        words = [sys.executable, "-c", code, str(small_artifact), *map(str, arguments)]
        pipe = subprocess.PIPE
        line = ["sh", "-c", shell, "sh", *words]
        processes.append(subprocess.Popen(line, cwd=tmp_path, stdout=pipe, stderr=pipe, encoding="utf-8"))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Eight seconds that do not compress."""
    import av
    import numpy as np

    path, noise = tmp_path / "noise.mp4", np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(200):
            image = noise.integers(0, 256, (64, 96, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def _records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=_PATIENCE_SECONDS)
    assert "Traceback" not in err
    return process.returncode, out, err


def _read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    assert any(text in line for line in process.stderr), f"it ended before {text!r}"


def _lines(path: Path) -> Iterator[str]:
    """The lines of a named pipe, as they come."""
    with path.open(encoding="utf-8") as pipe:
        yield from pipe


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_a_hang_up_ends_it_in_order_however_often_it_is_told(start: Start, tmp_path: Path, pipe: Path) -> None:
    process = start("--source", LIVE, "--jsonl", pipe, "--save", "out.mp4", "--policy", "every")
    lines = _lines(pipe)
    assert any('"prediction"' in line for line in lines)
    for _ in range(3):
        process.send_signal(signal.SIGHUP)
    last = json.loads([*lines][-1])
    assert (last["type"], last["interrupted"]) == ("summary", True)
    assert _ended(process)[0] == 130
    assert probe(tmp_path / "out.mp4").frames > 0


def test_under_nohup_a_hang_up_is_none(start: Start, pipe: Path) -> None:
    process = start("--source", LIVE, "--jsonl", pipe, shell='trap "" HUP; exec "$@"')
    lines = _lines(pipe)
    assert any('"prediction"' in line for line in lines)
    process.send_signal(signal.SIGHUP)
    # Enough of them that those on the way when the signal came are not all.
    assert sum('"prediction"' in next(lines) for _ in range(100)) > 50
    process.send_signal(signal.SIGTERM)
    assert json.loads([*lines][-1])["type"] == "summary"
    assert _ended(process)[0] == 130


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_pipe_that_nobody_reads_is_waited_for_until_a_signal(
    start: Start, pipe: Path, number: signal.Signals
) -> None:
    process = start("--source", LIVE, "--jsonl", pipe)
    _read_until(process, f"waiting for somebody to read {pipe}")
    process.send_signal(number)
    assert _ended(process)[::2] == (130, "s2tf-stream: error: interrupted\n")


def test_where_the_reader_of_a_pipe_leaves_all_else_goes_on(
    start: Start, pipe: Path, video: Path, tmp_path: Path
) -> None:
    process = start("--source", video, "--jsonl", pipe, "--save", "out.mp4")
    with pipe.open(encoding="utf-8") as lines:
        assert json.loads(lines.readline())["type"] == "start"
    code, _, err = _ended(process)
    assert code == 0
    assert err.splitlines().count(f"nobody reads {pipe} any more; all else goes on") == 1
    assert probe(tmp_path / "out.mp4").frames == 200


def test_without_anything_else_it_ends_when_the_reader_of_a_pipe_leaves(start: Start, pipe: Path) -> None:
    process = start("--source", LIVE, "--jsonl", pipe)
    with pipe.open(encoding="utf-8") as lines:
        assert json.loads(lines.readline())["type"] == "start"
    code, _, err = _ended(process)
    assert code == 0
    assert f"nobody reads {pipe} any more; the stream ends" in err


def test_a_video_cannot_be_saved_into_a_pipe(start: Start, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    code, _, err = _ended(start("--source", LIVE, "--save", "pipe.mp4"))
    assert code == 9
    assert "pipe.mp4 is no file; a video is saved into a file" in err


@pytest.mark.parametrize(
    ("closed", "jsonl"),
    [
        (">&-", ["--jsonl", "-"]),
        ("2>&-", []),
        ("<&- >&- 2>&-", ["--jsonl", "out.jsonl"]),
        *(pytest.param(">&-", jsonl, marks=pytest.mark.slow) for jsonl in ([], ["--jsonl", "out.jsonl"])),
        *(
            pytest.param("2>&-", jsonl, marks=pytest.mark.slow)
            for jsonl in (["--jsonl", "-"], ["--jsonl", "out.jsonl"])
        ),
        *(pytest.param("<&- >&- 2>&-", jsonl, marks=pytest.mark.slow) for jsonl in ([], ["--jsonl", "-"])),
    ],
)
def test_streams_that_were_closed_before_the_start(
    start: Start, video: Path, tmp_path: Path, closed: str, jsonl: list[str]
) -> None:
    process = start("--source", video, "--save", "out.mp4", *jsonl, shell=f'exec "$@" {closed}')
    code, out, _ = _ended(process)
    assert code == 0
    assert bool(out) == (">&- " not in f" {closed} ".replace("2>&-", "") and "out.jsonl" not in jsonl)
    assert probe(tmp_path / "out.mp4").frames == 200
    if "out.jsonl" in jsonl:
        assert _records(tmp_path / "out.jsonl")[-1]["type"] == "summary"


@needs_dev_full
def test_where_lines_meet_a_full_disk_the_video_goes_on(start: Start, video: Path, tmp_path: Path) -> None:
    code, _, err = _ended(start("--source", video, "--jsonl", "/dev/full", "--save", "out.mp4"))
    assert code == 9
    told = "cannot write /dev/full (No space left on device); choose another place with --jsonl"
    assert err.splitlines().count(f"{told}; all else goes on") == 1
    assert err.splitlines()[-1] == f"s2tf-stream: error: {told}"
    assert probe(tmp_path / "out.mp4").frames == 200


def test_where_a_video_meets_a_full_disk_all_else_goes_on(start: Start, video: Path, tmp_path: Path) -> None:
    # The system's limit on the size of a file stands for the disk, of which lines take less than the video.
    process = start("--source", video, "--jsonl", "out.jsonl", "--save", "out.mp4", max_file=350_000)
    code, _, err = _ended(process)
    assert code == 9
    told = re.search(r"^cannot write out\.mp4 \(File too large\); out\.part\.mp4 keeps its first (\d\.\d) s", err, re.M)
    assert told is not None, err
    assert err.splitlines().count(f"{told[0]}; all else goes on") == 1
    assert err.splitlines()[-1] == f"s2tf-stream: error: {told[0]}"
    assert _records(tmp_path / "out.jsonl")[-1]["frames_in"] == 200
    assert probe(tmp_path / "out.part.mp4").frames == pytest.approx(25 * float(told[1]), abs=2)
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_killed_it_leaves_a_video_up_to_its_last_seconds(start: Start, pipe: Path, tmp_path: Path, suffix: str) -> None:
    process = start("--source", LIVE, "--jsonl", pipe, "--save", f"out{suffix}", "--policy", "every")
    last = next(record for record in map(json.loads, _lines(pipe)) if record.get("t_end", 0) >= 6)
    process.kill()
    process.communicate()
    info = probe(tmp_path / f"out.part{suffix}")
    assert info.first_seconds == pytest.approx(0, abs=0.1)
    assert info.last_seconds > last["t_end"] - 4

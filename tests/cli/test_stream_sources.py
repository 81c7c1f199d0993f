"""``s2tf-stream`` over sources as users have them: what is said of their faults, and what is left when it is ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from s2tf_edge.cli import stream as command
from s2tf_edge.data.video import probe

CLIP = "lavfi:testsrc=size=64x48:rate=25"
SHARED = Path(__file__).parents[2] / "../shared/clips"


@pytest.fixture
def started(small_artifact: Path) -> Iterator[Any]:
    """Starts the command in a process of its own."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str | Path, stdin: Any = subprocess.PIPE) -> subprocess.Popen[bytes]:
        code = "from s2tf_edge.cli.stream import main; main()"
        line = [sys.executable, "-c", code, str(small_artifact), *map(str, arguments)]
        pipes: Any = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        processes.append(subprocess.Popen(line, env=dict(os.environ), stdin=stdin, **pipes))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def run(
    small_artifact: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command here; gives its exit code, stdout and stderr."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["s2tf-stream", str(small_artifact), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def _records(text: bytes | str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def _video(path: Path, *, frames: int) -> bytes:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index in range(frames):
            image = np.full((64, 96, 3), index % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


def test_a_source_may_be_longer_than_the_name_of_a_file(run: Callable[..., Any], tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.touch()
    code, _, err = run(f"{CLIP}:duration=1,{'null,' * 60}null", "--jsonl", f"{tmp_path}/lines/", "--quiet")
    assert (code, err) == (0, "")
    (file,) = (tmp_path / "lines").iterdir()
    assert _records(file.read_text())[0]["type"] == "start"
    code, _, err = run(f"http://127.0.0.1:9/{'x' * 5000}.mp4", "--jsonl", kept, "--quiet")
    assert code == 8
    assert "cannot open http" in err


@pytest.mark.parametrize("suffix", ["ts", "mkv", "h264"])
def test_stdin_loses_nothing(started: Any, tmp_path: Path, suffix: str) -> None:
    out, err = started("--source", "-", "--jsonl", "-").communicate(_video(tmp_path / f"a.{suffix}", frames=100), 120)
    records = _records(out)
    assert records[0]["sources"] == ["stdin"], err
    assert (records[-1]["frames_in"], records[-1]["drops"]) == (100, {})


def _heavy_mp4(path: Path) -> Path:
    """One of more than FFmpeg holds at once, with its index at its end."""
    noise = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 192, 128, "yuv420p"
        for _ in range(20):
            image = noise.integers(0, 256, (128, 192, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    assert path.stat().st_size > 200_000
    return path


def test_an_mp4_may_be_redirected_to_stdin(started: Any, tmp_path: Path) -> None:
    with _heavy_mp4(tmp_path / "a.mp4").open("rb") as file:
        out, err = started("--source", "-", "--jsonl", "-", stdin=file).communicate(timeout=120)
    records = _records(out)
    assert (records[0]["sources"], records[-1]["frames_in"]) == (["stdin"], 20), err


def test_an_mp4_on_a_pipe_that_would_have_to_go_back_says_so(started: Any, tmp_path: Path) -> None:
    process = started("--source", "-", "--jsonl", "-")
    out, err = process.communicate(_heavy_mp4(tmp_path / "a.mp4").read_bytes(), 120)
    assert process.returncode == 9
    assert [record["type"] for record in _records(out)] == ["start", "error", "summary"]
    (line,) = err.splitlines()
    assert b"the MP4 on stdin has its index at its end" in line
    assert b"redirect it: - < clip.mp4" in line


def test_stdin_is_read_in_the_format_that_is_named(started: Any, tmp_path: Path) -> None:
    video = _video(tmp_path / "a.h264", frames=50)
    out, err = started("--source", "-#format=h264", "--jsonl", "-").communicate(video, 120)
    assert _records(out)[-1]["frames_in"] == 50, err


def test_sources_without_a_flag_and_with_names_of_their_own(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    first, second = tmp_path / "a.mp4", tmp_path / "b.mp4"
    for path in (first, second):
        _video(path, frames=50)
    code, out, err = run(first, "--source", second, "--name", "Gate v1.2", "--name", "A/B", "--jsonl", "-")
    assert code == 0, err
    assert _records(out)[0]["sources"] == ["Gate v1.2", "A/B"]
    folder = tmp_path / "found"
    assert run(first, second, "--name", "Gate v1.2", "--name", "A/B", "--jsonl", f"{folder}/")[0] == 0
    assert sorted(path.name for path in folder.iterdir()) == ["A-B.jsonl", "Gate v1.2.jsonl"]
    assert "Gate v1.2 " in run(first, second, "--name", "Gate v1.2", "-q")[1]
    code, _, err = run(first, "--name", "a", "--name", "b")
    assert (code, "got 2 names for 1 sources" in err) == (2, True)


@pytest.mark.parametrize("content", [b"", b"dear diary\n" * 100])
def test_stdin_without_a_video_is_one_line(started: Any, content: bytes) -> None:
    process = started("--source", "-")
    _, err = process.communicate(content, 120)
    (line,) = err.decode().splitlines()
    assert process.returncode == 9
    assert "stdin is not a video that FFmpeg can read" in line


@pytest.mark.parametrize("scheme", ["rtsp", "http", "tcp", "rtmp"])
def test_a_password_is_never_shown(run: Callable[..., tuple[int, str, str]], tmp_path: Path, scheme: str) -> None:
    url = f"{scheme}://admin:hunter2@127.0.0.1:1/live?token=hunter2&channel=1"
    code, out, err = run("-v", "--source", url, "--jsonl", tmp_path / "out.jsonl")
    assert code == 8
    assert "hunter2" not in out + err
    assert "admin" not in out + err
    assert "://***@127.0.0.1:1/live?token=***&channel=1" in err
    assert not (tmp_path / "out.jsonl").exists()


def test_a_password_is_not_shown_when_a_source_is_lost(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    data = _video(tmp_path / "a.ts", frames=50)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            server.close()
            with connection:
                connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        url = f"tcp://admin:hunter2@127.0.0.1:{server.getsockname()[1]}?token=hunter2"
        code, out, err = run("-v", "--source", url, "--jsonl", "-", "--duration", "4", "--policy", "every")
    assert "was lost" in err
    assert "hunter2" not in out + err
    records = _records(out)
    # What was played stays, and the time that was asked for ends the wait for the rest.
    assert (code, records[-1]["type"], records[-1]["frames_in"]) == (0, "summary", 50)


@pytest.mark.parametrize(
    ("number", "when"),
    [
        (signal.SIGINT, "at once"),
        (signal.SIGTERM, "at once"),
        (signal.SIGINT, "a moment later"),
        (signal.SIGTERM, "after the first prediction"),
    ],
)
def test_ended_at_any_time_it_leaves_whole_files_or_none(
    started: Any, tmp_path: Path, number: signal.Signals, when: str
) -> None:
    lines, saved = tmp_path / "out.jsonl", tmp_path / "out.mp4"
    process = started("-v", "--source", CLIP, "--jsonl", lines, "--save", saved)
    while b"reading" not in (line := process.stderr.readline()):
        assert line, "it ended before it began to read"
    if when == "a moment later":
        # Any time will do: whatever has been written by then, it ends in order.
        time.sleep(0.1)
    if when == "after the first prediction":
        _wait_for(lines, "prediction")
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    found = {path.name for path in tmp_path.iterdir()}
    assert found in (set(), {"out.jsonl"}, {"out.jsonl", "out.mp4"})
    if lines.exists():
        records = _records(lines.read_text(encoding="utf-8"))
        assert (records[-1]["type"], records[-1]["interrupted"]) == ("summary", True)
    if saved.exists():
        assert probe(saved).frames >= 1
    if when == "after the first prediction":
        assert found == {"out.jsonl", "out.mp4"}


def _wait_for(path: Path, text: str) -> None:
    """Until a file that is being written holds ``text``."""
    deadline = time.monotonic() + 120
    while not path.exists() or text not in path.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_can_be_ended_while_a_server_does_not_answer(started: Any, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = started("--source", f"rtsp://127.0.0.1:{server.getsockname()[1]}/live", "--jsonl", "-")
        connection, _ = server.accept()
        with connection:
            process.send_signal(number)
            _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.splitlines()[-1] == b"s2tf-stream: error: interrupted"


@pytest.mark.parametrize("part", [0.5, 0.02])
def test_a_truncated_mp4_is_one_line(run: Callable[..., tuple[int, str, str]], tmp_path: Path, part: float) -> None:
    whole = _video(tmp_path / "whole.mp4", frames=100)
    # Its index lies at its end.
    (tmp_path / "cut.mp4").write_bytes(whole[: int(part * len(whole))])
    code, _, err = run("--source", tmp_path / "cut.mp4", "--jsonl", "-")
    (line,) = err.splitlines()
    assert code == 9
    assert "cut.mp4 is not a video that FFmpeg can read" in line


def _shared_clips() -> list[Path]:
    return sorted(path for folder in ("real", "odd") for path in (SHARED / folder).glob("*"))


@pytest.mark.needs_shared
@pytest.mark.parametrize("path", _shared_clips() or [SHARED], ids=lambda path: path.name)
def test_every_file_gives_predictions_or_one_clear_line(run: Callable[..., tuple[int, str, str]], path: Path) -> None:
    code, out, err = run("-q", "--source", path, "--jsonl", "-", "--duration", "4")
    if path.name in {"bipbop_nonfragment_header.mp4", "sine-3s-xhe-aac-44khz-mono.mp4"}:
        (line,) = err.splitlines()
        assert code == 9
        assert line.startswith("s2tf-stream: error: ")
        assert path.name in line
        return
    records = _records(out)
    assert code == 0, err
    assert [record["type"] for record in (records[0], records[-1])] == ["start", "summary"]
    assert records[-1]["windows"] == sum(record["type"] == "prediction" for record in records) >= 1
    assert len(err.splitlines()) == (path.name == "corrupted.mp4")

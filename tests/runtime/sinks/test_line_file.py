"""Lines in files and named pipes, and what is left of them where a disk is full or a reader goes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.sinks.line_file import LineFile

needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk is made of Linux's /dev/full")


@pytest.mark.parametrize("stays_open", [True, False])
def test_a_file_is_made_anew_with_the_first_line(tmp_path: Path, stays_open: bool) -> None:
    path = tmp_path / "new/out.jsonl"
    for _ in range(2):
        file = LineFile(path, stays_open=stays_open)
        file.write(["ä\n", "b\n"])
        file.write(["c\n"])
        file.close()
    assert path.read_text(encoding="utf-8") == "ä\nb\nc\n"


@pytest.mark.parametrize("stays_open", [True, False])
def test_where_no_more_fits_whole_lines_stay(tmp_path: Path, stays_open: bool) -> None:
    # The system's limit on the size of a file stands for a full disk: it, too, takes a part of a line.
    lines = [
        "import resource, sys",
        "from pathlib import Path",
        "from s2tf_edge.errors import InputFileError",
        "from s2tf_edge.runtime.sinks.line_file import LineFile",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))",
        f"file = LineFile(Path('out.jsonl'), stays_open={stays_open})",
        "try:",
        "    for _ in range(9): file.write([29 * 'x' + '\\n'])",
        "except InputFileError as error: print(error)",
        "file.close()",
    ]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "cannot write out.jsonl (File too large); it keeps the 3 lines before\n", done.stderr
    assert (tmp_path / "out.jsonl").read_text() == 3 * (29 * "x" + "\n")


@needs_dev_full
def test_a_disk_that_is_full_from_the_start_is_named() -> None:
    file = LineFile(Path("/dev/full"))
    with pytest.raises(InputFileError, match=r"cannot write /dev/full \(No space left on device\); choose another"):
        file.write(["a\n"])
    file.close()


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_a_pipe_waits_for_its_reader(pipe: Path) -> None:
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    file = LineFile(pipe)
    file.write(["a\n", 100_000 * "b" + "\n"])
    file.close()
    reader.join()
    assert read == ["a\n" + 100_000 * "b" + "\n"]


def test_where_the_stream_ends_no_reader_is_waited_for(pipe: Path, caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    # The wait itself says that it has begun.
    caplog.set_level("INFO", logger="s2tf_edge")
    files: list[LineFile] = []
    waiting = threading.Thread(target=lambda: files.append(LineFile(pipe, stop=stop)))
    waiting.start()
    while f"waiting for somebody to read {pipe}" not in caplog.messages and waiting.is_alive():
        waiting.join(0.01)
    stop.set()
    waiting.join()
    with pytest.raises(BrokenPipeError, match="nobody reads it"):
        files[0].write(["a\n"])
    files[0].close()


def test_a_reader_that_leaves_is_told_from_one_of_stdout(pipe: Path) -> None:
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file = LineFile(pipe)
    file.write(["a\n"])
    os.close(reader)
    with pytest.raises(BrokenPipeError) as caught:
        file.write(["b\n"])
    assert caught.value.filename == str(pipe)
    file.close()


def test_a_reader_that_does_not_read_holds_nobody_up_at_the_end(pipe: Path) -> None:
    stop, reader = threading.Event(), os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    file = LineFile(pipe, stop=stop)
    stop.set()
    with pytest.raises(BrokenPipeError, match="its reader does not read"):
        file.write([10_000_000 * "x" + "\n"])
    file.close()
    os.close(reader)


@pytest.mark.parametrize(
    ("before", "after"), [(None, "b\nc\n"), ("", "b\nc\n"), ("a\n", "a\nb\nc\n"), ('{"torn', '{"torn\nb\nc\n')]
)
def test_lines_follow_those_that_are_there_on_lines_of_their_own(
    tmp_path: Path, before: str | None, after: str
) -> None:
    path = tmp_path / "lines"
    if before is not None:
        path.write_text(before, encoding="utf-8")
    for stays_open in (True, False):
        file = LineFile(path, append=True, stays_open=stays_open)
        file.write(["b\n" if stays_open else "c\n"])
        file.close()
    assert path.read_text(encoding="utf-8") == after


def test_a_device_is_written_to_as_it_is() -> None:
    file = LineFile(Path(os.devnull), append=True)
    file.write(["a\n"])
    file.close()

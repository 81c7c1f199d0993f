"""Videos that can be played whatever ends the writing of them."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from s2tf_edge.data.video import probe
from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.sinks import recording
from s2tf_edge.runtime.sinks.recording import TIME_BASE, Recording


def _frame(level: int = 90) -> av.VideoFrame:
    image = np.full((48, 64, 3), level, np.uint8)
    return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")


def _record(path: Path, *, seconds: float, fps: float) -> Recording:
    recorded = Recording(path, size=(48, 64))
    for index in range(int(seconds * fps)):
        recorded.write(_frame(), ticks=round(index / fps / TIME_BASE))
    return recorded


def _key_seconds(path: Path) -> Iterator[float]:
    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if packet.is_keyframe and packet.pts is not None:
                yield float(packet.pts * packet.time_base)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("fps", [0.5, 10, 60, 240])
def test_at_any_rate_a_part_begins_every_two_seconds(tmp_path: Path, suffix: str, fps: float) -> None:
    path = _record(tmp_path / f"out{suffix}", seconds=8, fps=fps).close(is_whole=True)
    assert [*_key_seconds(path)] == pytest.approx([0, 2, 4, 6], abs=2e-3)
    assert probe(path).frames == 8 * fps


def _boxes(path: Path) -> list[str]:
    data, names, at = path.read_bytes(), [], 0
    while at + 8 <= len(data):
        names.append(data[at + 4 : at + 8].decode())
        at += int.from_bytes(data[at : at + 4], "big")
    return names


def test_the_header_comes_first_and_nothing_at_the_end(tmp_path: Path) -> None:
    path = _record(tmp_path / "out.mp4", seconds=4, fps=25).close(is_whole=True)
    assert _boxes(path) == ["ftyp", "moov", "moof", "mdat", "moof", "mdat"]
    with av.open(str(path)) as container:
        assert container.duration == pytest.approx(4 * av.time_base, abs=0.05 * av.time_base)


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path) -> None:
    path = _record(tmp_path / "rec:10:30.mp4", seconds=1, fps=5).close(is_whole=True)
    assert path.name == "rec:10:30.mp4"


def test_what_another_run_left_is_not_written_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "out.part.mp4").write_text("older")
    recorded = _record(tmp_path / "out.mp4", seconds=1, fps=5)
    assert (tmp_path / "out.part-2.mp4").exists()
    recorded.close(is_whole=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "out.part.mp4"]
    assert (tmp_path / "out.part.mp4").read_text() == "older"
    assert "out.part.mp4, which another run has not finished, is left as it is" in caplog.text


def test_each_part_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    reached = threading.Semaphore(0)

    def sync(file: int) -> None:
        sizes.append(os.fstat(file).st_size)
        reached.release()

    monkeypatch.setattr(recording, "_sync", sync)
    recorded = Recording(tmp_path / "out.mp4", size=(48, 64))
    second = 0
    while len(sizes) < 3:
        for index in range(25):
            recorded.write(_frame(index), ticks=round((second + index / 25) / TIME_BASE))
        second += 1
        if second % 2 and second > 1:
            reached.acquire()
    recorded.close(is_whole=True)
    assert sizes == sorted(sizes)
    assert sizes[-1] == (tmp_path / "out.mp4").stat().st_size > sizes[1] > 0


def _write_all(recorded: Recording, frames: Iterable[tuple[av.VideoFrame, int]]) -> None:
    for frame, ticks in frames:
        recorded.write(frame, ticks=ticks)


def test_a_disk_that_goes_is_told_with_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(recording, "_sync", sync)
    recorded = Recording(tmp_path / "out.mp4", size=(48, 64))
    frames = ((_frame(), round(index / 25 / TIME_BASE)) for index in range(25 * 600))
    with pytest.raises(InputFileError, match=r"out\.mp4 \(Input/output error\); .*out\.part\.mp4 keeps its first"):
        _write_all(recorded, frames)
    assert probe(tmp_path / "out.part.mp4").frames >= 50


def test_a_file_system_that_knows_no_sync_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(_file: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(recording, "_sync", sync)
    assert _record(tmp_path / "out.mp4", seconds=6, fps=10).close(is_whole=True) == tmp_path / "out.mp4"


def test_a_video_that_cannot_get_its_name_is_kept_whole(tmp_path: Path) -> None:
    recorded = _record(tmp_path / "out.mp4", seconds=1, fps=10)
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(InputFileError, match=r"out\.part\.mp4 keeps the whole video"):
        recorded.close(is_whole=True)
    with av.open(str(tmp_path / "out.part.mp4")) as container:
        assert len([*container.decode(video=0)]) == 10

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from s2tf_edge.data.container import open_container, redacted, video_stream
from s2tf_edge.errors import InputFileError, SourceError


def write_sound(path: Path) -> None:
    with av.open(str(path), mode="w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("none.mp4", lambda _: None, "none.mp4 does not exist"),
        ("folder.mp4", Path.mkdir, "folder.mp4 is a folder"),
        ("empty.mp4", Path.touch, "empty.mp4 is empty"),
        ("text.mp4", lambda path: path.write_text("a text\n" * 50), "text.mp4 is not a video that FFmpeg can read"),
        ("notes.txt", lambda path: path.write_text("a text\n" * 50), "notes.txt is not a video that FFmpeg can read"),
        ("random.mp4", lambda path: path.write_bytes(bytes(range(256)) * 9), "random.mp4 is not a video"),
        ("sound.wav", write_sound, "sound.wav has no video stream, only audio"),
    ],
)
def test_files_without_a_video_are_refused(
    tmp_path: Path, name: str, write: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(InputFileError, match=message):
        open_container(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").write_bytes(b"secret")
    (tmp_path / "video.mp4").chmod(0)
    with pytest.raises(InputFileError, match="no permission to read"):
        open_container(tmp_path / "video.mp4")


@pytest.mark.parametrize("name", ["a b.mp4", "12:30.mp4", "http:x.mp4", "прыжок %03d.mp4"])
def test_any_file_name_is_a_file_name(make_video: Callable[..., Path], name: str) -> None:
    with open_container(make_video(name, frames=2)) as container:
        assert video_stream(container).width == 64


@pytest.mark.parametrize("name", ["fd:a.mp4", "pipe:0.mp4"])
def test_a_file_is_never_taken_for_stdin(
    make_video: Callable[..., Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(make_video(name, frames=2).parent)
    with open_container(Path(name)) as container:
        assert video_stream(container).width == 64


@pytest.mark.parametrize("url", ["rtsp://user:hunter2@127.0.0.1:1/live", "http://user:pass@127.0.0.1:1/a.mp4"])
def test_a_stream_that_cannot_be_opened_keeps_its_password(url: str) -> None:
    with pytest.raises(SourceError, match=r"cannot open \w+://\*\*\*@127.0.0.1:1/\S+ \(Connection refused\)") as caught:
        open_container(url, timeout_seconds=300)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_device_that_cannot_be_opened_is_a_source() -> None:
    with pytest.raises(SourceError, match="cannot open /dev/video99"):
        open_container("/dev/video99")
    with pytest.raises(SourceError, match=r"cannot open video=x .*no container format"):
        open_container("video=x", format="dshow")


def test_a_source_without_pictures_is_refused() -> None:
    with pytest.raises(SourceError, match="sine=frequency=440 has no video stream, only audio"):
        open_container("sine=frequency=440", format="lavfi")


def test_virtual_cameras_open_like_cameras() -> None:
    with open_container("testsrc=size=64x48:rate=30", format="lavfi", timeout_seconds=300) as container:
        assert video_stream(container).height == 48


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rtsp://user:hunter2@camera/live", "rtsp://***@camera/live"),
        ("rtsp://user:p@ss/word@camera/live", "rtsp://***@camera/live"),
        ("rtsp://camera/live", "rtsp://camera/live"),
        ("clips/a@b.mp4", "clips/a@b.mp4"),
        ("http://camera/a.cgi?channel=1&Token=hunter2&x=2", "http://camera/a.cgi?channel=1&Token=***&x=2"),
        ("http://camera/a?loginuse=me&loginpas=hunter2", "http://camera/a?loginuse=***&loginpas=***"),
        ("rtsp://camera/user=me&password=hunter2&channel=1", "rtsp://camera/user=***&password=***&channel=1"),
        ("clips/token=1.mp4", "clips/token=1.mp4"),
    ],
)
def test_redacted(url: str, expected: str) -> None:
    assert redacted(url) == expected

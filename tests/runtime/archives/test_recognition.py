"""One video, wherever it lies and whatever becomes of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from s2tf_edge.runtime.archives import recognition
from s2tf_edge.runtime.archives.entries import ListedEntry, shown_name
from s2tf_edge.runtime.archives.recognition import recognize_entry
from s2tf_edge.runtime.archives.rows import VideoRows
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import Session, SessionOptions
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

Recognize = Callable[[str | Path], VideoRows]


@pytest.fixture
def session(artifact: Path) -> Iterator[Session]:
    with open_session(artifact, SessionOptions(threads=1)) as session:
        yield session


@pytest.fixture
def recognize(session: Session, monkeypatch: pytest.MonkeyPatch) -> Recognize:
    monkeypatch.setattr(recognition, "_WAITS_SECONDS", (0.0, 0.0))

    def recognize(address: str | Path) -> VideoRows:
        entry = ListedEntry(number=0, address=str(address), name=shown_name(str(address)))
        return recognize_entry(entry, session, StreamOptions())

    return recognize


def _said(rows: VideoRows) -> list[dict[str, Any]]:
    """All that is said of a video, but for where it lies."""
    found = [rows.video, *rows.predictions, *rows.events]
    return [{key: value for key, value in row.items() if key not in {"source", "source_bytes"}} for row in found]


@pytest.fixture
def clip(make_video: Callable[..., Path]) -> Path:
    return make_video("clip.mp4", [25] * 20 + [230] * 30)


def test_bytes_are_as_good_as_a_file(recognize: Recognize, clip: Path, web: Any, videos: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    there = _said(recognize(clip))
    assert there[0]["status"] == "ok"
    assert len(there) > 3
    fsspec.filesystem("memory").pipe("/clips/clip.mp4", clip.read_bytes())
    shutil.copy(clip, videos / "clip.mp4")
    assert _said(recognize("memory://clips/clip.mp4")) == there
    assert _said(recognize(web.url("clip.mp4", user="anna:hunter2@"))) == there
    web.handler.gives_parts = False
    assert _said(recognize(web.url("clip.mp4"))) == there
    odd = os.fsencode(videos) + b"/\xff.mp4"
    shutil.copy(clip, os.fsdecode(odd))
    assert _said(recognize(os.fsdecode(odd))) == there


@pytest.mark.needs_shared
@pytest.mark.parametrize("name", ["odd", "real"])
def test_real_clips_through_a_store(recognize: Recognize, shared: Path, name: str) -> None:
    fsspec = pytest.importorskip("fsspec")
    for path in sorted((shared / "clips" / name).iterdir())[:6]:
        fsspec.filesystem("memory").pipe(f"/clips/{path.name}", path.read_bytes())
        through, there = _said(recognize(f"memory://clips/{path.name}")), _said(recognize(path))
        for row in (through[0], there[0]):
            row["status"] = row["status"].replace("memory://clips/", "").replace(f"{path.parent}/", "")
        assert through == there


def test_what_is_no_video(recognize: Recognize, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.mp4")
    (tmp_path / "a.txt.mp4").write_text("words")
    (tmp_path / "folder.mp4").mkdir()
    for name, error, words in (
        ("fifo.mp4", "unreadable", "is no file; name a video"),
        ("folder.mp4", "unreadable", "is a folder; name a video"),
        ("gone.mp4", "missing", "does not exist"),
        ("a.txt.mp4", "unreadable", "a.txt.mp4"),
        ("x" * 300 + ".mp4", "unreadable", "cannot be opened"),
    ):
        row = recognize(tmp_path / name).video
        assert row["error"] == error, row
        assert words in row["status"]
        assert (row["windows"], row["frames"], row["seconds"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("memory://gone.mp4", "missing", "memory://gone.mp4 does not exist"),
        ("nothing://u:hunter2@h/a.mp4", "unreadable", "nothing://***@h/a.mp4 cannot be read"),
        ("rtsp://u:hunter2@h/live", "unreadable", "is a stream, which has no end"),
        ("http://u:hunter2@127.0.0.1:9/a.mp4?token=hunter2", "store", "token=*** cannot be opened (FileNotFound"),
    ],
)
def test_what_a_store_does_not_have(recognize: Recognize, address: str, error: str, words: str) -> None:
    pytest.importorskip("fsspec")
    row = recognize(address).video
    assert "hunter2" not in str(row)
    if error == "store":
        # Nobody listens: whether that is a missing file is fsspec's to say.
        assert row["error"] in {"store", "missing"}
        return
    assert row["error"] == error
    assert words in row["status"]


def test_a_store_that_stops_in_the_middle_is_asked_again_and_then_bad(
    recognize: Recognize, web: Any, videos: Path
) -> None:
    """A video of which half came is no short video."""
    with av.open(str(videos / "long.avi"), "w") as container:
        stream = container.add_stream("rawvideo", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for level in range(100):
            frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), 2 * level, np.uint8))
            container.mux(stream.encode(frame))
    refused = [0]

    def asked(handler: SimpleHTTPRequestHandler) -> bool:
        begin = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        if begin < 6 * 2**20:
            return True
        refused[0] += 1
        handler.send_error(503)
        return False

    web.handler.asked = staticmethod(asked)
    row = recognize(web.url("long.avi")).video
    assert row["error"] == "store", row
    assert "503" in row["status"]
    assert (row["frames"], row["windows"]) == (0, 0)
    assert refused[0] >= 3
    web.handler.asked = staticmethod(lambda _: True)
    row = recognize(web.url("long.avi")).video
    assert (row["status"], row["frames"]) == ("ok", 100)


def test_bytes_that_name_files_of_this_machine_lead_to_none(
    recognize: Recognize, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.chdir(clip.parent)
    segment = f"#EXTINF:1,\nfile://{clip}\n"
    for text in (
        f"ffconcat version 1.0\nfile {clip.name}\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{segment}#EXT-X-ENDLIST\n",
    ):
        fsspec.filesystem("memory").pipe("/clips/list.m3u8", text.encode())
        row = recognize("memory://clips/list.m3u8").video
        assert (row["error"], row["frames"]) == ("unreadable", 0)
    # FFmpeg itself would have read it.
    Path("list.mp4").write_text(f"ffconcat version 1.0\nfile {clip.name}\n")
    with av.open("list.mp4") as container:
        assert next(container.decode(video=0))


def test_a_network_that_overflows_makes_a_bad_video(
    write_artifact: Callable[..., Path], clip: Path, tmp_path: Path
) -> None:
    with open_session(
        write_artifact(tmp_path / "broken", steepness=float("inf")), SessionOptions(threads=1)
    ) as session:
        rows = recognize_entry(ListedEntry(number=0, address=str(clip), name="clip.mp4"), session, StreamOptions())
    assert rows.video["error"] == "network"
    assert not rows.predictions

"""From SOURCES to videos."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.data.video_paths import find_videos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.runtime.archives.entries import readable_name
from s2tf_edge.runtime.archives.listing import find_entries
from s2tf_edge.runtime.archives.stores import open_in_store


def _names(*texts: str | Path) -> list[str]:
    return [found.name for found in find_entries(map(str, texts))]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a/2.AVI", "a/1.mkv", "a/.hidden.mp4", ".git/x.mp4", "notes.md", "c/d/e.webm", "a.mov"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(b"video")
    (tmp_path / "tree/c/loop").symlink_to(tmp_path / "tree")
    return tmp_path / "tree"


def test_a_folder_is_gone_through_as_by_other_commands(tree: Path) -> None:
    assert _names(tree) == [str(path) for path in find_videos(tree)]
    assert len(_names(tree)) == 5


def test_folders_globs_and_files_in_their_order(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    found = [*find_entries(["c/d", "a/*", "b.mp4", (tree / "b.mp4").as_uri()])]
    assert [each.name for each in found] == ["c/d/e.webm", "a/1.mkv", "a/2.AVI", "b.mp4", str(tree / "b.mp4")]
    assert {each.address for each in found} == {
        str(tree / name) for name in ("c/d/e.webm", "a/1.mkv", "a/2.AVI", "b.mp4")
    }
    assert {each.size for each in found} == {5}


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="needs /dev/shm")
def test_a_folder_in_memory_is_a_folder() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        (Path(folder) / "a.mp4").write_bytes(b"video")
        assert _names(folder) == _names(f"{folder}/a.mp4") == [f"{folder}/a.mp4"]


def test_a_list_may_name_anything_as_often_as_it_likes(tree: Path) -> None:
    lines = [
        b"\xef\xbb\xbf# videos",
        b"b.mp4 walk",
        b"",
        b"  b.mp4,walk ",
        b"/not/there.mp4\r",
        b"caf\xe9.mp4",
        b"b.mp4",
    ]
    (tree / "list.txt").write_bytes(b"\n".join(lines))
    named = [str(tree / "b.mp4"), str(tree / "b.mp4"), "/not/there.mp4", os.fsdecode(bytes(tree) + b"/caf\xe9.mp4")]
    assert _names(tree / "list.txt") == [*named, str(tree / "b.mp4")]
    assert readable_name(named[3])[1] == bytes(tree) + b"/caf\xe9.mp4"


def test_addresses_in_a_list_keep_their_passwords_and_do_not_show_them(tree: Path) -> None:
    pytest.importorskip("fsspec")
    secret = "https://anna:hunter2@host/a.mp4?X-Amz-Signature=hunter2&X-Amz-Credential=hunter2&part=1"
    (tree / "list.csv").write_text(f"path,label\n{secret},walk\nrtsp://u:hunter2@h/x\n")
    header, found, live = find_entries([str(tree / "list.csv")])
    assert header.name == str(tree / "path,label")
    assert found.address == secret
    assert found.name == "https://***@host/a.mp4?X-Amz-Signature=***&X-Amz-Credential=***&part=1"
    assert "hunter2" not in repr((found, live))


@pytest.mark.parametrize("source", ["-", "", "0", "/dev/video0", "lavfi:testsrc"])
def test_what_has_no_end_is_refused(source: str) -> None:
    with pytest.raises(UsageError, match=r"is no file that ends; give a video, .*or read it with s2tf-stream"):
        _names(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("nowhere.mp4", "nowhere.mp4 does not exist; give a video, a folder"),
        ("empty", "empty holds no video"),
        ("*.mp4", "holds no video"),
        ("none.txt", "none.txt is no list of videos: none of its lines names one"),
        ("zero.txt", r"zero.txt, line 2: no name of a video"),
        ("nowhere/*.mp4", "holds no video"),
        ("rtsp://user:hunter2@host/live", "rtsp:// is a stream, which has no end; s2tf-stream reads it"),
        (
            "nothing://user:hunter2@host/a.mp4",
            r"nothing://\*\*\*@host/a.mp4 cannot be read \(ValueError: Protocol not known",
        ),
    ],
)
def test_what_holds_no_video(source: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("none.txt").write_text("These are my notes.\nNothing else.\n")
    Path("zero.txt").write_bytes(b"a.mp4\n\0\0\0\n")
    with pytest.raises(InputFileError, match=message) as caught:
        _names(source)
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def memory() -> Any:
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    for name in ("v/b.mp4", "v/a.mp4", "v/sub/c.MKV", "v/notes.txt", "x.h264"):
        files.pipe(f"/{name}", b"video")
    files.pipe("/list.txt", b"v/a.mp4\nmemory://x.h264\n")
    yield files
    files.rm("/", recursive=True)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("memory://v", ["v/a.mp4", "v/b.mp4", "v/sub/c.MKV"]),
        ("memory://v/", ["v/a.mp4", "v/b.mp4", "v/sub/c.MKV"]),
        ("memory://", ["v/a.mp4", "v/b.mp4", "v/sub/c.MKV"]),
        ("memory://v/*", ["v/a.mp4", "v/b.mp4"]),
        ("memory://v/**", ["v/a.mp4", "v/b.mp4", "v/sub/c.MKV"]),
        ("memory://*.h264", ["x.h264"]),
        ("memory://v/a.mp4", ["v/a.mp4"]),
        ("memory://v/not there.mp4", ["v/not there.mp4"]),
        ("memory://list.txt", ["v/a.mp4", "x.h264"]),
    ],
)
def test_a_store(memory: Any, source: str, names: list[str]) -> None:
    del memory
    assert _names(source) == [f"memory://{name}" for name in names]


def test_a_folder_on_the_web(web: Any, videos: Path) -> None:
    found = [*find_entries([web.url(user="anna:hunter2@")])]
    names = {
        f"http://***@{web.host}/{path.relative_to(videos).as_posix().replace(' ', '%20')}"
        for path in find_videos(videos)
    }
    assert {each.name for each in found} == names
    assert all("anna:hunter2@" in each.address for each in found)


def test_a_store_that_answers_nothing(make_store_gone: Callable[[], str]) -> None:
    with pytest.raises(
        InputFileError, match=r"cannot list http://\*\*\*@127.0.0.1:\d+/ \(ClientConnector.*check the address"
    ) as caught:
        _names(make_store_gone())
    assert "hunter2" not in str(caught.value)


@pytest.fixture
def make_store_gone(web: Any) -> Callable[[], str]:
    def close() -> str:
        url: str = web.url(user="anna:hunter2@")
        web.close()
        return url

    return close


def test_a_zip_of_videos(videos: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(videos / "1.mp4", "d/1.mp4")
        archive.writestr("notes.txt", "no video")
    address = f"zip://d/1.mp4::{tmp_path}/a.zip"
    for source in (address, f"zip://*/*.mp4::{tmp_path}/a.zip", f"zip://::{tmp_path}/a.zip"):
        assert _names(source) == [address]
    with open_in_store(address) as file:
        assert file.read() == (videos / "1.mp4").read_bytes()


def test_a_list_in_a_zip_names_what_is_in_it(videos: Path, tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(videos / "1.mp4", "d/1.mp4")
        archive.writestr("d/list.txt", "1.mp4\n")
    (found,) = find_entries([f"zip://d/list.txt::{tmp_path}/a.zip"])
    assert found.address == f"zip://d/1.mp4::{tmp_path}/a.zip"
    with open_in_store(found.address) as file:
        assert file.read() == (videos / "1.mp4").read_bytes()

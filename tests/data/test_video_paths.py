from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from s2tf_edge.data.files import list_files
from s2tf_edge.data.video_paths import find_videos, is_folder, match_videos
from s2tf_edge.errors import InputFileError

NOBODY = 65534


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    def make_files(*names: str) -> Path:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make_files


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may read every folder, so it becomes somebody else meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def relative(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_a_folder_gives_its_videos_at_any_depth_in_order(make: Callable[..., Path]) -> None:
    folder = make("b/c.MKV", "b/a.mp4", "a-b/x.mp4", "a.avi", "notes.txt", ".git/x.mp4", "b/.x.mp4", "a/x.mp4")
    assert relative(find_videos(folder), folder) == ["a/x.mp4", "a-b/x.mp4", "a.avi", "b/a.mp4", "b/c.MKV"]


@pytest.mark.parametrize("find", [find_videos, lambda folder: match_videos(f"{folder}/**/*.mp4")])
def test_links_are_followed_and_loops_met_once(make: Callable[..., Path], find: Callable[[Path], list[Path]]) -> None:
    folder = make("top/a/one.mp4", "top/b/two.mp4", "elsewhere/deep/three.mp4") / "top"
    for link, to in (("a/up", ".."), ("a/self", "."), ("b/other", "../a"), ("out", "../elsewhere")):
        (folder / link).symlink_to(to)
    (folder / "b/linked.mp4").symlink_to("two.mp4")
    assert relative(find(folder), folder) == ["a/one.mp4", "b/linked.mp4", "b/two.mp4", "out/deep/three.mp4"]


def test_two_links_to_one_folder_give_it_once(make: Callable[..., Path]) -> None:
    folder = make("top/a.mp4", "elsewhere/b.mp4") / "top"
    for link in ("second", "first"):
        (folder / link).symlink_to("../elsewhere")
    assert relative(find_videos(folder), folder) == ["a.mp4", "first/b.mp4"]


def test_many_loops_do_not_multiply(make: Callable[..., Path]) -> None:
    """Two links back at each of 20 depths are a million ways to the last folder."""
    folder = make("/".join(["top", *(["d"] * 20), "a.mp4"])) / "top"
    below = folder
    for _ in range(20):
        (below / "x").symlink_to("d")
        (below / "y").symlink_to(folder)
        below /= "d"
    assert len(find_videos(folder)) == len(match_videos(f"{folder}/**/*.mp4")) == 1


def test_broken_links_are_left_out_and_told_of_once(
    make: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = make("a.mp4")
    for name, to in (("gone.mp4", "nowhere.mp4"), ("folder", "nowhere"), ("notes.txt", "nowhere"), ("self", "self")):
        (folder / name).symlink_to(to)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert relative(find_videos(folder), folder) == ["a.mp4"]
            assert relative(match_videos(f"{folder}/*"), folder) == ["a.mp4"]
    (record,) = caplog.records
    assert record.getMessage().startswith("3 links lead nowhere and are left out: ")


def test_special_files_are_not_touched(make: Callable[..., Path]) -> None:
    folder = make("a.mp4")
    os.mkfifo(folder / "fifo.mp4")
    (folder / "link.mp4").symlink_to("fifo.mp4")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket.mp4"))
        assert relative(find_videos(folder), folder) == ["a.mp4"]
        assert relative(match_videos(f"{folder}/*.mp4"), folder) == ["a.mp4"]


@pytest.mark.parametrize("text", [".", "shut", "shut/*", "**/*.mp4", "*/*.mp4", "shut/deep"])
def test_a_folder_without_permission_is_an_error(
    make: Callable[..., Path], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make("open/a.mp4", "shut/b.mp4", "shut/deep/c.mp4")
    folder.chmod(0o755)
    # The folders above this one are shut to others, who need not find it again.
    monkeypatch.chdir(folder)
    (folder / "shut").chmod(0)
    expected = r"^cannot (list the folder|look for) shut.*: Permission denied"
    try:
        with without_privileges(), pytest.raises(InputFileError, match=expected):
            list_files(text)
    finally:
        (folder / "shut").chmod(0o755)


def test_a_name_that_no_file_may_have_is_an_error() -> None:
    with pytest.raises(InputFileError, match=r"^cannot look for x{200}: File name too long"):
        is_folder(Path("x" * 5000))


FILES = ("a/1.mp4", "a/2.MP4", "a/.3.mp4", "a/b/4.mp4", "a/b/5.avi", "c/6.h264", "c/7.txt", ".d/8.mp4", "9.mp4")


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a/*.mp4", ["a/1.mp4", "a/2.MP4"]),
        ("[A]/*.mp4", []),
        ("a/*.Mp4", ["a/1.mp4", "a/2.MP4"]),
        ("a/*", ["a/1.mp4", "a/2.MP4"]),
        ("*/*", ["a/1.mp4", "a/2.MP4"]),
        ("*/b/*", ["a/b/4.mp4", "a/b/5.avi"]),
        ("*/none/*", []),
        ("**", ["9.mp4", "a/1.mp4", "a/2.MP4", "a/b/4.mp4", "a/b/5.avi"]),
        ("**/*", ["9.mp4", "a/1.mp4", "a/2.MP4", "a/b/4.mp4", "a/b/5.avi"]),
        ("**/**/b/**/**/*.mp4", ["a/b/4.mp4"]),
        ("**/[45].*", ["a/b/4.mp4", "a/b/5.avi"]),
        ("a/?.mp[!5]", ["a/1.mp4", "a/2.MP4"]),
        ("**/1.mp4", ["a/1.mp4"]),
        ("c/*", []),
        ("c/*.h264", ["c/6.h264"]),
        ("none/*.mp4", []),
        ("none/**", []),
        ("9.mp4/*", []),
        (".d/*", [".d/8.mp4"]),
    ],
)
def test_globs(make: Callable[..., Path], pattern: str, expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make(*FILES)
    assert relative(match_videos(f"{folder}/{pattern}"), folder) == expected
    monkeypatch.chdir(folder)
    assert [path.as_posix() for path in match_videos(pattern)] == expected


def test_many_files_are_listed_without_a_look_at_each(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, looks = make(*(f"{part}/{index}.mp4" for part in range(4) for index in range(50))), []
    stat = os.stat

    def counted(path: str, **options: bool) -> os.stat_result:
        looks.append(path)
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", counted)
    assert len(find_videos(folder)) == 200
    assert len(looks) < 50

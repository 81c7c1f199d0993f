from __future__ import annotations

from pathlib import Path

from s2tf_edge.data.files import VideoFile
from s2tf_edge.data.same_videos import find_same_videos
from s2tf_edge.data.videos import Videos

SIZE = 300_000
"""Bytes: more than are read of a file."""


def videos(*paths: Path) -> Videos:
    return Videos(name="some", videos=[VideoFile(path=path) for path in paths])


def write(path: Path, *, changed: int | None = None) -> Path:
    content = bytearray(index % 251 for index in range(SIZE))
    if changed is not None:
        content[changed] ^= 1
    path.write_bytes(content)
    return path


def test_links_and_copies_are_the_same_video(tmp_path: Path) -> None:
    one, copy, link, other = (tmp_path / name for name in ("one.mp4", "copy.mp4", "link.mp4", "other.mp4"))
    write(one)
    write(copy)
    write(other, changed=SIZE // 2)
    link.symlink_to(one)
    assert find_same_videos(videos(one, other), videos(copy, link)) == [(one, copy), (one, link)]
    assert find_same_videos(videos(one), videos(one)) == [(one, one)]


def test_videos_of_one_size_differ_by_their_content(tmp_path: Path) -> None:
    places = (0, SIZE // 2 + 10, SIZE - 1)
    others = [write(tmp_path / f"{place}.mp4", changed=place) for place in places]
    assert find_same_videos(videos(write(tmp_path / "one.mp4")), videos(*others)) == []


def test_empty_and_missing_files_are_like_nothing(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    assert find_same_videos(videos(tmp_path / "a.mp4", tmp_path / "c.mp4"), videos(tmp_path / "b.mp4")) == []

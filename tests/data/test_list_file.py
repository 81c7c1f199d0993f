from __future__ import annotations

from pathlib import Path

import pytest

from s2tf_edge.data.list_file import ListedVideo, read_class_index, read_list
from s2tf_edge.errors import InputFileError


@pytest.mark.parametrize(
    ("line", "path", "label"),
    [
        ("a.mp4", "a.mp4", None),
        ("a.MP4 run", "a.MP4", "run"),
        ("a b.mp4,  two words", "a b.mp4", "two words"),
        ("take 1.mp4 of 2.mp4", "take 1.mp4 of 2.mp4", None),
        ("take 1.mp4 of 2.mp4 7", "take 1.mp4 of 2.mp4", "7"),
        ("a.mp4x", "a.mp4x", None),
        ("/dev/video0", "/dev/video0", None),
    ],
)
def test_the_ending_tells_where_a_path_stops(tmp_path: Path, line: str, path: str, label: str | None) -> None:
    (tmp_path / "list.txt").write_text(f"# two lines before\n\n {line} \r\n", encoding="utf-8")
    assert read_list(tmp_path / "list.txt") == [ListedVideo(line=3, path=tmp_path / path, label=label)]


def test_a_list_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"cannot read .*gone\.txt: No such file"):
        read_list(tmp_path / "gone.txt")


def test_names_of_numbered_classes(tmp_path: Path) -> None:
    (tmp_path / "classInd.txt").write_text("1 Apply Makeup\n\nnotes\n2 Archery\n", encoding="utf-8")
    assert read_class_index(tmp_path / "classInd.txt") == {1: "Apply Makeup", 2: "Archery"}

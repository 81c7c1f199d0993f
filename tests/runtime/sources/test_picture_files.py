"""Which numbered pictures follow on each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from s2tf_edge.runtime.sources.picture_files import PictureFiles, find_folder, find_pattern


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def _names(pictures: PictureFiles) -> list[str]:
    return [path.name for path in pictures.paths]


def test_pictures_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    _touch(tmp_path, "f_10.jpg", "f_9.jpg", "f_1.JPG", "cover.jpg", "f_3.txt", ".f_2.jpg")
    (pictures,) = find_folder(tmp_path)
    assert pictures.name == str(tmp_path)
    assert _names(pictures) == ["f_1.JPG", "f_9.jpg", "f_10.jpg"]


def test_sequences_are_told_apart_by_folder_and_by_what_is_no_number(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"{name}{number}.png" for name in ("left", "right", "a/", "b/x") for number in (1, 2)))
    _touch(tmp_path, "alone7.png")
    found = {pictures.name: _names(pictures) for pictures in find_folder(tmp_path)}
    assert found == {
        str(tmp_path / "left%d.png"): ["left1.png", "left2.png"],
        str(tmp_path / "right%d.png"): ["right1.png", "right2.png"],
        str(tmp_path / "a"): ["1.png", "2.png"],
        str(tmp_path / "b"): ["x1.png", "x2.png"],
    }


def test_text_may_stand_behind_the_number(tmp_path: Path) -> None:
    _touch(tmp_path, *(f"{number:04}_{kind}.png" for kind in ("rgb", "depth") for number in (2, 10, 1)), "0003.png")
    # Of these the last number is the same.
    _touch(tmp_path, "img_0001_v2.png", "img_0002_v2.png")
    found = {pictures.name: (_names(pictures), pictures.numbers) for pictures in find_folder(tmp_path)}
    assert found == {
        str(tmp_path / "%d_depth.png"): (["0001_depth.png", "0002_depth.png", "0010_depth.png"], (1, 2, 10)),
        str(tmp_path / "%d_rgb.png"): (["0001_rgb.png", "0002_rgb.png", "0010_rgb.png"], (1, 2, 10)),
    }


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("%04d.png", ["0001.png", "0002.png", "10000.png"]),
        ("%d.png", ["1.png", "10000.png"]),
        ("a+%02d.png", ["a+07.png"]),
        ("x%03d.png", []),
    ],
)
def test_a_pattern_stands_for_what_it_prints(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    _touch(tmp_path, "0002.png", "0001.png", "10000.png", "00003.png", "1.png", "a+07.png", "aa07.png", "0004.jpg")
    found = find_pattern(str(tmp_path / pattern))
    assert found is not None
    assert _names(found) == expected


@pytest.mark.parametrize("text", ["a.png", "%s.png", "%d%d.png", "%d.mp4", "100%.png", "there%d.png"])
def test_what_is_no_pattern_is_a_file(tmp_path: Path, text: str) -> None:
    _touch(tmp_path, "there%d.png")
    assert find_pattern(str(tmp_path / text)) is None


@pytest.mark.parametrize("folder", ["", 300 * "x" + "/"])
def test_a_pattern_too_long_for_a_file_stands_for_nothing(tmp_path: Path, folder: str) -> None:
    found = find_pattern(str(tmp_path / f"{folder}{300 * 'x'}%d.png"))
    assert found is not None
    assert found.paths == ()


def test_folders_are_gone_through_as_for_videos(tmp_path: Path) -> None:
    """Links are followed, loops met once, what is hidden left out."""
    for name in (
        "shots/f_1.png",
        "shots/f_2.png",
        "shots/.thumbs/f_1.png",
        "shots/.thumbs/f_2.png",
        "far/g_1.png",
        "far/g_2.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "shots/linked").symlink_to(tmp_path / "far")
    (tmp_path / "shots/loop").symlink_to(tmp_path / "shots")
    found = find_folder(tmp_path / "shots")
    assert [[path.name for path in pictures.paths] for pictures in found] == [
        ["f_1.png", "f_2.png"],
        ["g_1.png", "g_2.png"],
    ]

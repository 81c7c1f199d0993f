from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge.data.datasets import from_any_folder, open_data, open_videos
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("run/a_1.mp4", "run/b_1.mp4", "jump/a_1.mp4", "jump/b_1.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("run/a_1.mp4 run\n", encoding="utf-8")
    return tmp_path


def test_folders_and_lists_are_told_apart(folder: Path) -> None:
    assert len(open_data(folder)) == 4
    assert len(open_data(str(folder / "list.txt"))) == 1


@pytest.mark.parametrize("name", ["run", "run/*.mp4", "**", "run/a_1.mp4", "bare.txt"])
def test_videos_without_labels(folder: Path, name: str) -> None:
    (folder / "bare.txt").write_text("run/a_1.mp4\n", encoding="utf-8")
    videos = open_videos(f"{folder}/{name}")
    assert videos.name == f"{folder}/{name}"
    assert "run/a_1.mp4" in {Path(video.name).relative_to(folder).as_posix() for video in videos.videos}
    expected = f"the videos of {re.escape(f'{folder}/{name}')} have no labels, .*; give a folder of class folders"
    with pytest.raises(InputFileError, match=expected):
        open_data(f"{folder}/{name}")


@pytest.mark.parametrize("open_any", [open_data, open_videos])
def test_a_missing_path_is_refused(open_any: Callable[[str], Videos], tmp_path: Path) -> None:
    expected = "none does not exist; give a folder of class folders, a list file .*, a folder, glob or list of videos"
    with pytest.raises(InputFileError, match=expected):
        open_any(str(tmp_path / "none"))


def test_no_password_of_an_address_is_told() -> None:
    with pytest.raises(InputFileError, match=r"^rtsp://\*\*\*@host/\*\.mp4 does not exist"):
        open_videos("rtsp://user:hush@host/*.mp4")


def test_synthetic_takes_options() -> None:
    assert len(open_data("synthetic")) == 400
    videos = open_data("synthetic?clips=20&split=test&seed=3")
    assert [video.name for video in videos.videos][:2] == ["synthetic/3/test/0", "synthetic/3/test/1"]
    assert len(videos) == 20


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("synthetic?clip=3", "no option 'clip'; it takes clips, split, seed"),
        ("synthetic?clips=many", "takes a whole number for clips, got 'many'"),
        ("synthetic?clips=0", "one clip or more and a seed from 0, got split=train, clips=0"),
        ("synthetic?split=val", "a split of train or test.* got split=val"),
        ("synthetic?seed=-1", "got split=train, clips=400, seed=-1"),
    ],
)
def test_synthetic_refuses_other_options(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_data(text)


def test_data_is_found_from_any_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for name in ("run", "list.txt", "run/a_1.mp4", "*/*.mp4", "*.mp4"):
        assert from_any_folder(name) == f"{folder}/{name}"
    for name in ("synthetic", "synthetic?clips=2", f"{folder}/*/*.mp4", "gone"):
        assert from_any_folder(name) == name


def test_the_folder_of_a_published_set_is_made_absolute_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert from_any_folder("ucf101:run?split=2") == f"ucf101:{folder}/run?split=2"
    assert from_any_folder("kinetics:.") == f"kinetics:{folder}"

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from s2tf_edge.data.datasets import open_data, open_videos
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.ready_split import read_ready_split
from s2tf_edge.data.sides import SplitVideos
from s2tf_edge.errors import InputFileError


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def split_of(root: Path) -> SplitVideos:
    found = read_ready_split(root)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("folders", "sides"),
    [
        ("train val", ["train", "val"]),
        ("train val test", ["train", "val", "test"]),
        ("Training Validation Testing", ["train", "val", "test"]),
        ("train valid", ["train", "val"]),
        ("train test", ["train", "test"]),
        ("train", ["train"]),
        ("validate test", ["val", "test"]),
        ("train eval", ["train", "val"]),
        ("train dev test", ["train", "val", "test"]),
    ],
)
def test_folders_of_sides_are_no_classes(tmp_path: Path, folders: str, sides: list[str]) -> None:
    tree(tmp_path, *(f"{folder}/{label}/a.mp4" for folder in folders.split() for label in ("run", "jump")))
    (tmp_path / "annotations").mkdir()
    assert list(split_of(tmp_path).sides) == sides
    assert open_data(tmp_path).labels == ("jump", "run")


@pytest.mark.parametrize("folders", ["train_set test_set", "train held-out", "Training2 Testing2"])
def test_sides_of_other_names_are_not_taken_for_classes(tmp_path: Path, folders: str) -> None:
    tree(tmp_path, *(f"{folder}/{label}/a.mp4" for folder in folders.split() for label in ("run", "jump")))
    with pytest.raises(InputFileError, match="look like the sides of a split; call them train, val and test"):
        open_data(tmp_path)


def test_classes_with_a_folder_for_each_person_stay_classes(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{label}/{person}/a.mp4" for label in ("run", "jump") for person in ("ira", "denis")))
    assert open_data(tmp_path).labels == ("jump", "run")
    tree(tmp_path, "train/ido/a.mp4")
    assert open_data(tmp_path).labels == ("jump", "run", "train")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    tree(tmp_path, "train/a.mp4", "bus/a.mp4", "car/a.mp4")
    assert read_ready_split(tmp_path) is None
    assert open_data(tmp_path).labels == ("bus", "car", "train")


def test_class_folders_are_no_sides(tmp_path: Path) -> None:
    assert read_ready_split(tree(tmp_path, "run/a.mp4", "jump/a.mp4")) is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train/run/a.mp4", "val/run/a.mp4", "walk/a.mp4"], "holds train, val, which look like the sides of a split"),
        (["train/run/a.mp4", "val/run/a.mp4", "Valid/run/a.mp4"], "two of which stand for one side"),
    ],
)
def test_what_is_unclear_is_refused(tmp_path: Path, names: list[str], message: str) -> None:
    with pytest.raises(InputFileError, match=message):
        open_data(tree(tmp_path, *names))


def test_videos_beside_the_sides_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"holds videos of its own \(a\.mp4\) as well as folders"):
        open_data(tree(tmp_path, "a.mp4", "train/run/a.mp4", "val/run/a.mp4"))


def test_measuring_takes_the_test_side_and_calibrating_the_training_side(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree(tmp_path, *(f"{side}/{label}/{side}.mp4" for side in ("train", "val", "test") for label in ("run", "jump")))
    caplog.set_level(logging.INFO)
    assert {Path(video.name).stem for video in open_videos(tmp_path).videos} == {"test"}
    assert {Path(video.name).stem for video in open_videos(tmp_path, use="train").videos} == {"train"}
    assert {Path(video.name).stem for video in open_videos(tmp_path, use="val").videos} == {"val"}
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path} comes split: test is taken, 2 videos",
        f"{tmp_path} comes split: train is taken, 2 videos",
        f"{tmp_path} comes split: val is taken, 2 videos",
    ]


def test_without_a_test_side_the_validation_side_is_measured_on(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{side}/{label}/{side}.mp4" for side in ("train", "valid") for label in ("run", "jump")))
    assert {Path(video.name).stem for video in open_videos(tmp_path).videos} == {"valid"}


def test_sides_without_labels(tmp_path: Path) -> None:
    tree(tmp_path, "train/a.mp4", "val/b.mp4")
    videos = open_videos(tmp_path, use="train")
    assert not isinstance(videos, LabeledVideos)
    assert [Path(video.name).name for video in videos.videos] == ["a.mp4"]
    with pytest.raises(InputFileError, match="have no labels, which are needed here"):
        open_data(tmp_path)


def test_a_side_without_a_video_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "train/run/a.mp4")
    (tmp_path / "val").mkdir()
    with pytest.raises(InputFileError, match="val holds no video"):
        open_data(tmp_path)

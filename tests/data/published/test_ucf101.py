from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.training_data import open_training_data
from s2tf_edge.errors import InputFileError
from s2tf_edge.spec import ClipSpec

CLASSES = ("ApplyEyeMakeup", "Archery", "HandstandPushups")
TRAIN = ["Archery/v_Archery_g08_c01.avi 2", "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1"]
# The lists of the authors spell these names with other capitals than their files.
TRAIN.append("HandstandPushups/v_HandStandPushups_g08_c01.avi 3")
TEST = ["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "HandstandPushups/v_HandStandPushups_g01_c01.avi"]
FILES = [line.split()[0].replace("HandStand", "Handstand") for line in TRAIN + TEST]


def lists(folder: str) -> dict[str, str]:
    return {
        f"{folder}classInd.txt": "".join(f"{number} {name}\r\n" for number, name in enumerate(CLASSES, start=1)),
        f"{folder}trainlist01.txt": "\n".join(TRAIN) + "\n",
        f"{folder}testlist01.txt": "\n".join(TEST) + "\n",
        f"{folder}trainlist02.txt": TRAIN[0] + "\n",
        f"{folder}testlist02.txt": TEST[0] + "\n",
    }


def shown(videos: LabeledVideos) -> list[tuple[str, str]]:
    return [(Path(video.name).name, videos.labels[video.label]) for video in videos.videos]


@pytest.mark.parametrize(
    ("videos", "folder", "root"),
    [
        ("UCF-101/", "ucfTrainTestlist/", ""),
        ("", "ucfTrainTestlist/", ""),
        ("UCF-101/", "", ""),
        ("UCF-101/", "ucfTrainTestlist/", "UCF-101"),
        ("videos/", "annotations/", ""),
    ],
)
def test_both_sides_where_they_are_unpacked(
    make_tree: Callable[..., Path], videos: str, folder: str, root: str
) -> None:
    tree = make_tree(videos=[f"{videos}{name}" for name in FILES], lists=lists(folder)) / root
    data = open_training_data(f"ucf101:{tree}")
    assert data.train.labels == data.validation.labels == CLASSES
    assert shown(data.train) == [
        ("v_Archery_g08_c01.avi", "Archery"),
        ("v_ApplyEyeMakeup_g08_c01.avi", "ApplyEyeMakeup"),
        ("v_HandstandPushups_g08_c01.avi", "HandstandPushups"),
    ]
    assert shown(data.validation) == [
        ("v_ApplyEyeMakeup_g01_c01.avi", "ApplyEyeMakeup"),
        ("v_HandstandPushups_g01_c01.avi", "HandstandPushups"),
    ]
    assert data.train.videos[0].read(ClipSpec(frames=4, size=16)).shape == (4, 16, 24, 3)


def test_one_side_of_one_split(make_tree: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    tree = make_tree(videos=FILES, lists=lists(""))
    caplog.set_level(logging.INFO)
    assert len(open_data(f"ucf101:{tree}")) == 2
    assert "comes split: testlist01.txt is taken, 2 videos" in caplog.text
    assert len(open_data(f"ucf101:{tree}?part=train")) == 3
    assert shown(open_data(f"ucf101:{tree}?split=2")) == [("v_ApplyEyeMakeup_g01_c01.avi", "ApplyEyeMakeup")]


def test_a_part_is_split_by_a_share(make_tree: Callable[..., Path]) -> None:
    tree = make_tree(videos=FILES, lists=lists(""))
    data = open_training_data(f"ucf101:{tree}?part=train", validation="0")
    assert (len(data.train), len(data.validation), data.is_published) == (3, 0, False)


def test_converted_copies_are_found(make_tree: Callable[..., Path]) -> None:
    tree = make_tree(videos=[name.replace(".avi", ".mp4") for name in FILES], lists=lists(""))
    assert len(open_data(f"ucf101:{tree}")) == 2


def test_copies_on_both_sides_are_kept_as_published(
    make_tree: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    tree = make_tree(videos=FILES, lists=lists(""))
    assert len(open_training_data(f"ucf101:{tree}").train) == 3
    assert "2 videos are on both sides" in caplog.text
    assert "the split is kept as published" in caplog.text


@pytest.mark.parametrize(
    ("changes", "data", "message"),
    [
        ({"trainlist01.txt": None}, "ucf101:{}", r"trainlist01\.txt does not exist, which split=1 needs; it holds"),
        ({}, "ucf101:{}?split=3", r"trainlist03\.txt does not exist, which split=3 needs"),
        ({}, "ucf101:{}/Archery/..?split=3", "which split=3 needs"),
        (
            {"testlist01.txt": "Archery/v_Archery_g01_c01.avi\n"},
            "ucf101:{}",
            "of which one does not exist, Arch",
        ),
        ({"testlist01.txt": "Fencing/v_Fencing_g01_c01.avi\n"}, "ucf101:{}", "has no class 'Fencing'|does not exist"),
        (
            {"trainlist01.txt": TRAIN[0].replace("2", "1")},
            "ucf101:{}?part=train",
            "1 is ApplyEyeMakeup by classInd.txt, not",
        ),
        ({"trainlist01.txt": "Archery 3\n"}, "ucf101:{}", "line 1: expected 'path'"),
    ],
)
def test_lists_that_do_not_fit_are_refused(
    make_tree: Callable[..., Path], changes: dict[str, str | None], data: str, message: str
) -> None:
    tree = make_tree(videos=FILES, lists=lists(""))
    for name, text in changes.items():
        (tree / name).unlink() if text is None else (tree / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputFileError, match=message):
        open_data(data.format(tree))


def test_a_folder_without_lists_says_what_it_holds(make_tree: Callable[..., Path]) -> None:
    tree = make_tree(videos=FILES, lists={})
    expected = r"has no list of UCF101, in itself or in ucfTrainTestlist: it holds ApplyEyeMakeup/, Archery/, Handstand"
    with pytest.raises(InputFileError, match=expected):
        open_data(f"ucf101:{tree}")

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.training_data import open_training_data
from s2tf_edge.errors import InputFileError

CLASSES = ("brush_hair", "wave")
# As on the authors' disk: names with whatever a keyboard has, and a space before each line's end.
TRAIN = {"brush_hair": "#20_Rhythm_brush_hair_u_nm_np1_fr_goo_0.avi", "wave": "(2003)_wave!_f_nm_np1_fr_med_1.avi"}
TEST = {
    "brush_hair": "April [09] & more_brush_hair_u_nm_np1_ba_goo_0.avi",
    "wave": "RATRACE_wave_f_nm_np1_fr_goo_37.avi",
}
OTHER = {"brush_hair": "unused_brush_hair_u_nm_np1_ba_goo_1.avi", "wave": "unused_wave_f_nm_np1_fr_goo_2.avi"}


def lists(folder: str) -> dict[str, str]:
    return {
        f"{folder}{label}_test_split{number}.txt": f"{TRAIN[label]} {1 if number == 1 else 2} \n"
        f"{TEST[label]} {2 if number == 1 else 1} \n{OTHER[label]} 0 \n"
        for label in CLASSES
        for number in (1, 2)
    }


def files(folder: str) -> list[str]:
    return [f"{folder}{label}/{names[label]}" for label in CLASSES for names in (TRAIN, TEST, OTHER)]


@pytest.mark.parametrize(
    ("videos", "folder", "root"),
    [
        ("", "testTrainMulti_7030_splits/", ""),
        ("hmdb51_org/", "testTrainMulti_7030_splits/", ""),
        ("hmdb51/", "testTrainMulti_7030_splits/", "hmdb51"),
        ("", "test_train_splits/testTrainMulti_7030_splits/", ""),
        ("", "", ""),
    ],
)
def test_both_sides_where_they_are_unpacked(
    make_tree: Callable[..., Path], videos: str, folder: str, root: str
) -> None:
    tree = make_tree(videos=files(videos), lists=lists(folder)) / root
    data = open_training_data(f"hmdb51:{tree}?split=1")
    assert data.train.labels == data.validation.labels == CLASSES
    assert [Path(video.name).name for video in data.train.videos] == list(TRAIN.values())
    assert [Path(video.name).name for video in data.validation.videos] == list(TEST.values())
    assert [video.label for video in data.train.videos] == [0, 1]


def test_one_side_of_another_split(make_tree: Callable[..., Path]) -> None:
    tree = make_tree(videos=files(""), lists=lists(""))
    names = [Path(video.name).name for video in open_data(f"hmdb51:{tree}?split=2&part=train").videos]
    assert names == list(TEST.values())
    assert [Path(video.name).name for video in open_data(f"hmdb51:{tree}?split=2").videos] == list(TRAIN.values())


@pytest.mark.parametrize(
    ("name", "text", "data", "message"),
    [
        (
            "wave_test_split1.txt",
            "a.avi 3\n",
            "hmdb51:{}",
            r"wave_test_split1\.txt, line 1: expected 'name\.avi 1' with a 0",
        ),
        ("wave_test_split1.txt", "a.avi\n", "hmdb51:{}", r"got 'a\.avi'"),
        ("wave_test_split1.txt", "gone.avi 2 \n", "hmdb51:{}", "of which one does not exist, wave/gone.avi"),
        ("notes.txt", "", "hmdb51:{}?split=3", r"no list of split=3, such as wave_test_split3\.txt; it holds"),
    ],
)
def test_lists_that_do_not_fit_are_refused(
    make_tree: Callable[..., Path], name: str, text: str, data: str, message: str
) -> None:
    tree = make_tree(videos=files(""), lists=lists("") | {name: text})
    with pytest.raises(InputFileError, match=message):
        open_data(data.format(tree))


def test_a_folder_without_lists_says_what_it_holds(make_tree: Callable[..., Path]) -> None:
    tree = make_tree(videos=files(""), lists={})
    expected = r"has no list of HMDB51, .*: it holds brush_hair/, wave/; unpack test_train_splits\.rar"
    with pytest.raises(InputFileError, match=expected):
        open_data(f"hmdb51:{tree}")

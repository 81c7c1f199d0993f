from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.training_data import open_training_data
from s2tf_edge.errors import InputFileError, UsageError

HEADER = "label,youtube_id,time_start,time_end,split\n"
CSV = {
    "train.csv": f'{HEADER}"air drumming",-aBcDeFgHiJ,12,22,train\narm wrestling,_xyzxyzxyz1,0,10,train\n',
    "val.csv": f"{HEADER}air drumming,abc-def_ghi,100,110,val\n",
    "test.csv": "youtube_id,time_start,time_end,split\nqqqqqqqqqqq,1,11,test\n",
}


def shown(videos: LabeledVideos) -> list[tuple[str, str]]:
    return [(Path(video.name).name, videos.labels[video.label]) for video in videos.videos]


@pytest.mark.parametrize(
    "names",
    [
        [
            "train/-aBcDeFgHiJ_000012_000022.mp4",
            "train/_xyzxyzxyz1_000000_000010.mp4",
            "val/abc-def_ghi_000100_000110.mp4",
        ],
        [
            "train/air drumming/-aBcDeFgHiJ_12_22.mp4",
            "train/arm wrestling/_xyzxyzxyz1_000000_000010.mp4",
            "val/air drumming/abc-def_ghi_000100_000110.mkv",
        ],
        [
            "train/air_drumming/-aBcDeFgHiJ.mp4",
            "train/arm_wrestling/_xyzxyzxyz1.mp4",
            "val/air_drumming/abc-def_ghi.mp4",
        ],
    ],
)
@pytest.mark.parametrize("folder", ["", "annotations/"])
def test_the_authors_lists(make_tree: Callable[..., Path], names: list[str], folder: str) -> None:
    tree = make_tree(videos=names, lists={f"{folder}{name}": text for name, text in CSV.items()})
    data = open_training_data(f"kinetics:{tree}")
    assert shown(data.train) == [(Path(names[0]).name, "air drumming"), (Path(names[1]).name, "arm wrestling")]
    assert shown(data.validation) == [(Path(names[2]).name, "air drumming")]
    assert data.validation.labels == ("air drumming", "arm wrestling")
    # The test side has no classes, so the one to validate on is measured on.
    assert shown(open_data(f"kinetics:{tree}")) == [(Path(names[2]).name, "air drumming")]
    with pytest.raises(UsageError, match=r"has no part 'test'; it has train, val"):
        open_data(f"kinetics:{tree}?part=test")


def test_videos_that_vanished_are_counted(make_tree: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    names = [f"train/{index:011d}_000000_000010.mp4" for index in range(4)]
    rows = "".join(f"{'ab'[index % 2]},{index:011d},0,10,train\n" for index in range(8))
    tree = make_tree(videos=names, lists={"train.csv": HEADER + rows})
    assert len(open_data(f"kinetics:{tree}?part=train")) == 4
    assert (
        "lists 8 videos, of which 4 do not exist, the first is 00000000004_000000_000010; they are left" in caplog.text
    )
    Path(tree / names[0]).unlink()
    with pytest.raises(InputFileError, match=r"lists 8 videos, of which 5 do not exist, .* 50% may be missing at most"):
        open_data(f"kinetics:{tree}?part=train")


@pytest.mark.parametrize("open_it", [open_data, open_training_data])
@pytest.mark.parametrize(
    ("lists", "named"),
    [
        ({"test.csv": CSV["test.csv"]}, "test.csv"),
        ({"train.csv": HEADER, "val.csv": HEADER}, "train.csv and val.csv"),
    ],
)
def test_lists_without_a_class_are_refused(
    make_tree: Callable[..., Path], lists: dict[str, str], named: str, open_it: Callable[[str], object]
) -> None:
    tree = make_tree(videos=["videos/qqqqqqqqqqq_000001_000011.mp4"], lists=lists)
    with pytest.raises(InputFileError, match=rf"no class of any video is in {named}; put train\.csv and val\.csv"):
        open_it(f"kinetics:{tree}")


def test_a_list_that_ends_with_its_header_is_no_side(make_tree: Callable[..., Path]) -> None:
    tree = make_tree(videos=["abc-def_ghi_000100_000110.mp4"], lists=CSV | {"train.csv": HEADER})
    assert len(open_data(f"kinetics:{tree}")) == 1
    with pytest.raises(InputFileError, match=r"holds val\.csv but no train beside it"):
        open_training_data(f"kinetics:{tree}")


def test_class_folders(make_tree: Callable[..., Path]) -> None:
    names = ["train/run/a.mp4", "train/jump/b.mp4", "val/run/c.mp4", "val/jump/d.mp4"]
    data = open_training_data(f"kinetics:{make_tree(videos=names, lists={})}")
    assert shown(data.train) == [("b.mp4", "jump"), ("a.mp4", "run")]
    assert shown(data.validation) == [("d.mp4", "jump"), ("c.mp4", "run")]


@pytest.mark.parametrize("comma", [",", " "])
def test_lists_as_slowfast_has_them(make_tree: Callable[..., Path], comma: str) -> None:
    lists = {"train.csv": f"a b/x.mp4{comma}1\na b/y.mp4{comma}0\n", "val.csv": f"a b/z.mp4{comma}1\n"}
    data = open_training_data(f"kinetics:{make_tree(videos=['a b/x.mp4', 'a b/y.mp4', 'a b/z.mp4'], lists=lists)}")
    assert shown(data.train) == [("x.mp4", "1"), ("y.mp4", "0")]
    assert shown(data.validation) == [("z.mp4", "1")]


def test_an_authors_list_is_a_list_like_others(make_tree: Callable[..., Path]) -> None:
    tree = make_tree(videos=["x/abc-def_ghi.mp4"], lists={"val.csv": CSV["val.csv"], "test.csv": CSV["test.csv"]})
    assert shown(open_data(tree / "val.csv")) == [("abc-def_ghi.mp4", "air drumming")]
    with pytest.raises(InputFileError, match=r"test\.csv names no class of any video; give train\.csv or val\.csv"):
        open_data(tree / "test.csv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER + "x" * 200_000, r"cannot read .*val\.csv as a table: field larger than"),
        (HEADER + "air drumming,,0,10,val\n", "has a row of the class air drumming without youtube_id"),
        ("x" * 200_000, "line 1: expected 'path', 'path label'"),
    ],
)
def test_lists_that_make_no_sense_are_refused(make_tree: Callable[..., Path], text: str, message: str) -> None:
    tree = make_tree(videos=["x/abc-def_ghi.mp4"], lists={"val.csv": text})
    for data in (tree / "val.csv", f"kinetics:{tree}"):
        with pytest.raises(InputFileError, match=message):
            open_data(data)


def test_a_folder_of_something_else_says_what_it_holds(make_tree: Callable[..., Path]) -> None:
    tree = make_tree(videos=["run/a.mp4"], lists={"notes.txt": "x"})
    expected = (
        r"has neither train\.csv and val\.csv nor folders .*: it holds run/, notes\.txt; give the folder that has"
    )
    with pytest.raises(InputFileError, match=expected):
        open_data(f"kinetics:{tree}")

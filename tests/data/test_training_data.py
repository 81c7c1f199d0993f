from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from s2tf_edge.data.datasets import open_videos
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.side_checks import without_shared_videos
from s2tf_edge.data.training_data import open_training_data
from s2tf_edge.errors import InputFileError, UsageError

TAKES = [f"{label}/{person}_{label}.mp4" for label in ("jump", "run") for person in ("ann", "bob", "cat", "dan", "eve")]


def tree(root: Path, *names: str) -> Path:
    """Files that differ; nothing here decodes them."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")
    return root


def names(videos: LabeledVideos) -> set[str]:
    return {Path(video.name).name for video in videos.videos}


def people(videos: LabeledVideos) -> set[str]:
    return {name[:3] for name in names(videos)}


def ready(root: Path) -> Path:
    return tree(
        root, *(f"{side}/{label}/{side}{take}.mp4" for side in ("train", "val") for label in "ab" for take in "12345")
    )


def test_a_fifth_is_drawn(tmp_path: Path) -> None:
    data = open_training_data(tree(tmp_path, *TAKES))
    assert (len(data.train), len(data.validation), data.share, data.origin) == (8, 2, 0.2, "a share of 0.2, drawn")


def test_groups_stay_on_one_side(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = open_training_data(tree(tmp_path, *TAKES), validation="0.4", group_by="^([a-z]+)_")
    assert (len(people(data.validation)), data.group_by) == (2, "^([a-z]+)_")
    assert not people(data.train) & people(data.validation)
    assert not caplog.records


def test_people_on_both_sides_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = open_training_data(tree(tmp_path, *TAKES), validation="0.4")
    assert people(data.train) & people(data.validation)
    assert "both sides have videos of one group" in caplog.text
    assert r"`group_by` '^([A-Za-z]+\d*)_' keeps each on one side" in caplog.text


def test_a_share_of_nothing_trains_on_all(tmp_path: Path) -> None:
    data = open_training_data(tree(tmp_path, *TAKES), validation="0")
    assert (len(data.train), len(data.validation), data.validation.labels) == (10, 0, ("jump", "run"))
    with pytest.raises(UsageError, match="but all videos are trained on; leave `group_by` out"):
        open_training_data(tmp_path, validation="0", group_by="^([a-z]+)_")


@pytest.mark.parametrize("share", ["1.5", "1", "-0.1", "nan"])
def test_shares_out_of_range_are_refused(tmp_path: Path, share: str) -> None:
    with pytest.raises(UsageError, match="must lie between 0 and 1"):
        open_training_data(tree(tmp_path, *TAKES), validation=share)


def test_a_list_to_validate_on_keeps_the_order_of_labels(tmp_path: Path) -> None:
    tree(tmp_path, *TAKES, "more/new.mp4", "more/other.mp4")
    (tmp_path / "more/list.txt").write_text("new.mp4 run\nother.mp4 jump\n", encoding="utf-8")
    (tmp_path / "more").rename(tmp_path.parent / "more of it")
    given = str(tmp_path.parent / "more of it/list.txt")
    data = open_training_data(tmp_path, validation=given)
    assert (data.validation.labels, [video.label for video in data.validation.videos]) == (("jump", "run"), [1, 0])
    assert (data.origin, data.share) == (given, None)
    with pytest.raises(UsageError, match=r"but .*list\.txt is there to validate on; leave `group_by` out"):
        open_training_data(tmp_path, validation=given, group_by="^([a-z]+)_")


def test_a_list_of_videos_of_the_folder_sets_them_aside(tmp_path: Path) -> None:
    tree(tmp_path, "run/a.mp4", "run/b.mp4", "jump/a.mp4", "jump/b.mp4")
    listed = tmp_path / "held out.txt"
    listed.write_text("run/b.mp4 run\njump/b.mp4 jump\n", encoding="utf-8")
    data = open_training_data(tmp_path, validation=str(listed))
    assert names(data.train) == {"a.mp4"}
    assert names(data.validation) == {"b.mp4"}
    assert (len(data.train), len(data.validation)) == (2, 2)
    assert data.origin == f"set aside as {listed} lists them"


def test_two_lists_that_share_a_video_are_refused(tmp_path: Path) -> None:
    tree(tmp_path, "run/a.mp4", "run/b.mp4", "jump/a.mp4", "jump/b.mp4")
    for name, lines in (("train", ["run/a", "run/b", "jump/a"]), ("val", ["run/b", "jump/b"])):
        text = "".join(f"{line}.mp4 {line.partition('/')[0]}\n" for line in lines)
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputFileError, match="1 video is on both sides"):
        open_training_data(tmp_path / "train.txt", validation=str(tmp_path / "val.txt"))


def test_a_ready_split_is_kept(tmp_path: Path) -> None:
    data = open_training_data(ready(tmp_path))
    assert names(data.train) == {f"train{take}.mp4" for take in "12345"}
    assert names(data.validation) == {f"val{take}.mp4" for take in "12345"}
    assert (data.train.labels, data.origin, data.share) == (("a", "b"), "val", None)
    with pytest.raises(UsageError, match=r"but val is there to validate on; leave `group_by` out, or give a share"):
        open_training_data(tmp_path, group_by="(.)")


def test_a_share_beside_a_ready_split_is_drawn_from_its_training_side(tmp_path: Path) -> None:
    data = open_training_data(ready(tmp_path), validation="0.4")
    assert {name[:5] for name in names(data.train) | names(data.validation)} == {"train"}
    assert (len(data.train), len(data.validation)) == (6, 4)
    assert len(open_training_data(tmp_path, validation="0").train) == 10


def test_another_data_set_goes_before_the_side_that_is_there(tmp_path: Path) -> None:
    ready(tmp_path), tree(tmp_path, *(f"test/{label}/test.mp4" for label in "ab"))
    data = open_training_data(tmp_path, validation=str(tmp_path / "test"))
    assert names(data.validation) == {"test.mp4"}


def test_a_training_side_alone_is_split_by_a_share(tmp_path: Path) -> None:
    tree(tmp_path, *(f"train/{label}/{take}.mp4" for label in "ab" for take in "12345"))
    data = open_training_data(tmp_path)
    assert (len(data.train), len(data.validation), data.train.labels) == (8, 2, ("a", "b"))


def test_sides_without_one_to_train_on_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="holds val and test but no train beside it"):
        open_training_data(tree(tmp_path, "val/a/1.mp4", "test/a/2.mp4"))


def test_a_side_to_test_on_chooses_the_epoch_for_want_of_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree(
        tmp_path, *(f"{side}/{label}/{side}{take}.mp4" for side in ("train", "test") for label in "ab" for take in "12")
    )
    assert open_training_data(tmp_path).origin == "test"
    assert "test chooses the best epoch, as there is no val: its figures will flatter" in caplog.text


def test_a_folder_around_the_class_folders_is_named(tmp_path: Path) -> None:
    tree(tmp_path, *(f"UCF-101/{name}" for name in TAKES))
    with pytest.raises(
        InputFileError, match=r"a single class, 'UCF-101'; .* give .*/UCF-101, if its folders are the cl"
    ):
        open_training_data(tmp_path)


def test_numbers_without_a_video_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "list.txt").write_text("a.mp4 0\nb.mp4 2\n", encoding="utf-8")
    open_training_data(tmp_path / "list.txt", validation="0")
    assert "no video at all: '1'" in caplog.text


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="has a single class, 'run'; there must be two or more"):
        open_training_data(tree(tmp_path, "run/a.mp4", "run/b.mp4"))


def test_an_empty_class_folder_is_refused(tmp_path: Path) -> None:
    (tree(tmp_path, *TAKES) / "wave").mkdir()
    with pytest.raises(InputFileError, match="wave: an empty class folder; put its videos there, or remove it"):
        open_training_data(tmp_path)


def test_an_empty_class_folder_of_one_side_is_refused(tmp_path: Path) -> None:
    (ready(tmp_path) / "val/c").mkdir()
    with pytest.raises(InputFileError, match="val/c: an empty class folder"):
        open_training_data(tmp_path)


def test_a_folder_of_other_files_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree(tmp_path, *TAKES, "annotations/all.json")
    assert open_training_data(tmp_path, validation="0").train.labels == ("jump", "run")
    assert f"no class, as there is no video in it: {tmp_path / 'annotations'}" in caplog.text


def test_a_class_to_validate_on_alone_is_refused(tmp_path: Path) -> None:
    tree(ready(tmp_path), "val/c/1.mp4")
    with pytest.raises(InputFileError, match="has classes 'c' that are not among those expected: a, b"):
        open_training_data(tmp_path)


def test_a_number_to_validate_on_alone_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    (tmp_path / "train.txt").write_text("a.mp4 0\nb.mp4 2\n", encoding="utf-8")
    (tmp_path / "val.txt").write_text("c.mp4 1\n", encoding="utf-8")
    expected = r"no video to train on of '1', only of the validation side, .*val\.txt; add some"
    with pytest.raises(InputFileError, match=expected):
        open_training_data(tmp_path / "train.txt", validation=str(tmp_path / "val.txt"))


def test_a_draw_that_leaves_a_class_untrained_is_refused(tmp_path: Path) -> None:
    tree(tmp_path, "run/a_1.mp4", "run/b_1.mp4", "jump/a_2.mp4", "wave/b_3.mp4")
    with pytest.raises(
        UsageError, match=r"no video to train on of '(jump|wave)', only .* give another `seed`, `group_by`"
    ):
        open_training_data(tmp_path, group_by="^([ab])_", validation="0.5")


def test_a_class_of_one_video_is_drawn_to_train_on_alone_and_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = open_training_data(tree(tmp_path, *TAKES, "wave/ann_wave.mp4"), validation="0.4")
    assert "ann_wave.mp4" in names(data.train)
    warning = "there is no video to validate on of 'wave', only of the training side; their accuracy stays unknown"
    assert warning in caplog.messages


def test_a_class_to_train_on_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no video to validate on of 'c', only of the training side; add some to"):
        open_training_data(tree(ready(tmp_path), "train/c/1.mp4"))


@pytest.mark.parametrize("how", ["link", "copy", "folder"])
def test_a_video_on_both_sides_is_refused(tmp_path: Path, how: str) -> None:
    ready(tmp_path)
    original, again = tmp_path / "train/a/train1.mp4", tmp_path / "val/a/other name.mp4"
    if how == "folder":
        (tmp_path / "val/b/deep").symlink_to(tmp_path / "train/b")
    elif how == "link":
        again.symlink_to(original)
    else:
        again.write_bytes(original.read_bytes())
    expected = (
        "5 videos are on both sides" if how == "folder" else "1 video is on both sides, .*train1.mp4 and .*other name"
    )
    with pytest.raises(InputFileError, match=expected):
        open_training_data(tmp_path)


def test_copies_within_a_data_set_are_refused_where_they_are_drawn_apart(tmp_path: Path) -> None:
    tree(tmp_path, "run/a.mp4", "jump/a.mp4", "jump/b.mp4")
    (tmp_path / "run/b.mp4").write_bytes((tmp_path / "run/a.mp4").read_bytes())
    with pytest.raises(InputFileError, match=r"run/a\.mp4 and .*run/b\.mp4|run/b\.mp4 and .*run/a\.mp4"):
        open_training_data(tmp_path, validation="0.5")


def test_classes_that_are_spelled_alike_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree(tmp_path, "High Jump/a.mp4", "high_jump/b.mp4", "run/c.mp4")
    open_training_data(tmp_path, validation="0")
    message = "'High Jump', 'high_jump' are different classes of"
    assert re.search(message, caplog.text)


def test_synthetic_data_need_no_word(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    data = open_training_data("synthetic?clips=20", validation="synthetic?clips=10&split=test")
    assert (len(data.train), len(data.validation)) == (20, 10)
    assert not caplog.records


def test_nothing_is_learned_from_videos_that_are_validated_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = open_training_data(ready(tmp_path / "clips"))
    more = tree(tmp_path / "more", "new.mp4")
    for copy in ("a copy.mp4", "another.mp4"):
        (more / copy).write_bytes((tmp_path / "clips/val/a/val1.mp4").read_bytes())
    kept = without_shared_videos(open_videos(more), data.validation)
    assert [Path(video.name).name for video in kept.videos] == ["new.mp4"]
    assert f"2 of the 3 videos of {more} are validated on, so nothing is learned from them" in caplog.text
    with pytest.raises(InputFileError, match=r"all 10 videos of .* are validated on; give others"):
        without_shared_videos(data.validation, data.validation)

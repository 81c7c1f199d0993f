from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from s2tf_edge.data.files import LabeledFile
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.splits import split_by_group
from s2tf_edge.errors import UsageError

PEOPLE = ("ann", "bob", "cat", "dan", "eve")
LABELS = ("bend", "run", "wave")


@pytest.fixture
def videos() -> LabeledVideos:
    files = [
        LabeledFile(path=Path(f"{label}/{person}_{take}.mp4"), label=index)
        for index, label in enumerate(LABELS)
        for person in PEOPLE
        for take in (1, 2)
    ]
    return LabeledVideos(name="made", labels=LABELS, videos=files)


def names(videos: LabeledVideos) -> list[str]:
    return [video.name for video in videos.videos]


def test_each_class_gives_its_share(videos: LabeledVideos) -> None:
    train, validation = split_by_group(videos, fraction=0.2)
    assert Counter(video.label for video in validation.videos) == {0: 2, 1: 2, 2: 2}
    assert sorted(names(train) + names(validation)) == sorted(names(videos))


def test_groups_stay_on_one_side(videos: LabeledVideos) -> None:
    train, validation = split_by_group(videos, fraction=0.4, group_by=r"^([a-z]+)_")
    people = [{Path(name).name[:3] for name in names(side)} for side in (train, validation)]
    assert len(people[1]) == 2
    assert not people[0] & people[1]
    assert len(train) + len(validation) == len(videos)


@pytest.mark.parametrize("group_by", [None, r"^([a-z]+)_"])
def test_a_seed_gives_one_split(videos: LabeledVideos, group_by: str | None) -> None:
    splits = [names(split_by_group(videos, fraction=0.4, group_by=group_by, seed=seed)[1]) for seed in (0, 0, 1, 2, 3)]
    assert splits[0] == splits[1]
    assert any(other != splits[0] for other in splits[2:])


def test_neither_side_is_empty(videos: LabeledVideos) -> None:
    assert len(split_by_group(videos, fraction=0.001)[1]) == len(LABELS)
    assert len(split_by_group(videos, fraction=0.999)[0]) == len(LABELS)
    with pytest.raises(UsageError, match="cannot split 1 video of made in two"):
        split_by_group(videos.limit(1), fraction=0.5)
    with pytest.raises(UsageError, match="cannot split 1 group of made in two"):
        split_by_group(videos, fraction=0.5, group_by="(mp4)")


@pytest.mark.parametrize(
    ("group_by", "message"),
    [
        (r"^([0-9]+)_", r"does not match ann_1\.mp4"),
        (r"^[a-z]+_", "needs a regular expression with a group"),
        (r"(", "needs a regular expression with a group"),
    ],
)
def test_patterns_that_find_no_group_are_refused(videos: LabeledVideos, group_by: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        split_by_group(videos, fraction=0.2, group_by=group_by)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -1.0, float("nan")])
def test_shares_outside_zero_to_one_are_refused(videos: LabeledVideos, fraction: float) -> None:
    with pytest.raises(UsageError, match="must lie between 0 and 1"):
        split_by_group(videos, fraction=fraction)

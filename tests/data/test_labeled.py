from __future__ import annotations

from collections import Counter

import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import UsageError


@pytest.mark.parametrize("count", [1, 10, 25, 30, 59])
def test_a_limit_keeps_as_many_of_each_class(count: int) -> None:
    limited = open_data("synthetic?clips=60").limit(count)
    classes = Counter(video.label for video in limited.videos)
    assert len(limited) == count
    assert max(classes.values()) - min(classes.values()) <= 1
    assert len(classes) == min(10, count)


def test_a_limit_draws_the_same_videos_in_their_order() -> None:
    videos = open_data("synthetic?clips=60")
    drawn = [video.name for video in videos.limit(20).videos]
    assert drawn == [video.name for video in videos.limit(20).videos]
    names = [video.name for video in videos.videos]
    assert drawn == sorted(drawn, key=names.index)
    assert drawn != names[:20]


@pytest.mark.parametrize("count", [None, 60, 1000])
def test_a_limit_beyond_the_data_keeps_all(count: int | None) -> None:
    videos = open_data("synthetic?clips=60")
    assert videos.limit(count) is videos


def test_a_limit_of_none_is_refused() -> None:
    with pytest.raises(UsageError, match="limit must be one or more, got 0"):
        open_data("synthetic?clips=10").limit(0)


def test_videos_without_labels_are_limited_too() -> None:
    labeled = open_data("synthetic?clips=60")
    videos = Videos(name="same", videos=labeled.videos).limit(20)
    names = [video.name for video in labeled.videos]
    drawn = [names.index(video.name) for video in videos.videos]
    assert len(set(drawn)) == 20
    assert drawn == sorted(drawn) != list(range(20))

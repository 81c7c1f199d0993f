from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.evaluation.accuracy import Evaluation, measure_drop

LABELS = ("dark", "middle", "bright")


def evaluation(predicted: list[int], targets: list[int], *, names: Sequence[str] | None = None) -> Evaluation:
    return Evaluation(
        labels=LABELS,
        names=tuple(names or "abcdefghij"[: len(targets)]),
        targets=np.array(targets),
        scores=np.eye(3, dtype=np.float32)[predicted],
    )


def test_videos_are_compared_in_pairs() -> None:
    baseline = evaluation([0, 1, 2, 0, 1], [0, 1, 2, 1, 2])
    other = evaluation([0, 2, 2, 1, 0], [0, 1, 2, 1, 2])
    drop = measure_drop(baseline, other)
    assert (drop.n, drop.agreement, drop.points) == (5, 40.0, 0.0)
    assert drop.low == pytest.approx(-drop.high)
    assert drop.high > 20
    assert (drop.baseline_top1, drop.top1) == (60.0, 60.0)


def test_only_what_both_scored_is_compared() -> None:
    baseline = evaluation([0, 1, 2], [0, 1, 2], names="abc")
    other = evaluation([1, 0], [2, 1], names="cb")
    drop = measure_drop(baseline, other)
    assert (drop.n, drop.agreement, drop.points) == (2, 0.0, 100.0)
    assert (drop.baseline_top1, drop.top1) == (100.0, 0.0)
    with pytest.raises(UsageError, match="none is the same"):
        measure_drop(baseline, evaluation([1], [2], names="z"))


def test_a_video_listed_twice_is_told_apart() -> None:
    labeled_twice = evaluation([0, 0, 1], [0, 1, 1], names="aaa")
    drop = measure_drop(labeled_twice, labeled_twice)
    assert (drop.n, drop.agreement, drop.points) == (3, 100.0, 0.0)
    assert measure_drop(labeled_twice, evaluation([2], [1], names="a")).n == 1


@pytest.mark.parametrize("right", range(1, 101))
def test_one_video_of_a_hundred_is_one_point_exactly(right: int) -> None:
    """A bound of one point must let it pass."""
    targets = [0] * 100
    answers = [[0] * count + [1] * (100 - count) for count in (right, right - 1)]
    names = [str(index) for index in range(100)]
    drop = measure_drop(*(evaluation(predicted, targets, names=names) for predicted in answers))
    assert (drop.points, drop.baseline_top1, drop.top1) == (1.0, right, right - 1)


def test_nan_is_never_right() -> None:
    scores = np.array([[np.nan] * 6, [0.3, np.nan, 0.7, 0, 0, 0], [np.nan, 0.3, 0.7, 0, 0, 0]], np.float32)
    found = Evaluation(labels=tuple("abcdef"), names=("x", "y", "z"), targets=np.array([0, 2, 0]), scores=scores)
    assert found.ranks.tolist() == [6, 0, 6]
    assert found.predictions.tolist()[1:] == [2, 2]
    assert (found.top1.count, found.top5.count) == (1, 1)


def test_a_tie_goes_to_the_lower_class() -> None:
    flat = Evaluation(
        labels=LABELS, names=("a", "b"), targets=np.array([0, 1]), scores=np.full((2, 3), 1 / 3, np.float32)
    )
    assert flat.ranks.tolist() == [0, 1]
    assert flat.predictions.tolist() == [0, 0]
    assert flat.top1.percent == 50.0

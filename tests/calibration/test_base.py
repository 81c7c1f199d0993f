from __future__ import annotations

import json

import pytest

from s2tf_edge.calibration.base import Drop
from s2tf_edge.runtime.statistics import Interval


def _drop(*, lost: int, n: int = 30, right: int = 27) -> Drop:
    return Drop(n=n, float_top1=right / n, top1=(right - lost) / n, interval=Interval(low=-0.05, high=0.125))


@pytest.mark.parametrize(("lost", "points"), [(0, 0.0), (3, 10.0), (-3, -10.0)])
def test_a_loss_is_in_points(lost: int, points: float) -> None:
    assert _drop(lost=lost).points == pytest.approx(points)


@pytest.mark.parametrize("right", range(1, 101))
def test_one_video_of_a_hundred_is_one_point_exactly(right: int) -> None:
    """A bound of one point must let it pass."""
    assert _drop(lost=1, n=100, right=right).points == 1.0


def test_it_says_how_sure_it_is() -> None:
    assert str(_drop(lost=3)) == "top-1 80.0 %, in float 90.0 %: a drop of 10.0 points (-5.0 to 12.5), n = 30"


def test_it_is_plain_json_in_percent() -> None:
    assert json.loads(json.dumps(_drop(lost=3).to_dict())) == {
        "n": 30,
        "float_top1": 90.0,
        "top1": 80.0,
        "drop_points": 10.0,
        "drop_low": -5.0,
        "drop_high": 12.5,
    }

"""Intervals against published values and an independent optimizer; percentiles and fronts against their definitions."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.statistics import (
    mcnemar_p,
    paired_difference_interval,
    pareto_front,
    percentiles,
    softmax,
    wilson_interval,
)

Z = 1.959964


def test_softmax_of_large_logits() -> None:
    scores = softmax(np.array([[1000.0, 1000.0], [0.0, np.log(3)]], np.float32))
    np.testing.assert_allclose(scores, [[0.5, 0.5], [0.25, 0.75]], atol=1e-7)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_as_published(successes: int, n: int, low: float, high: float) -> None:
    interval = wilson_interval(successes, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_mirrors_and_holds_the_proportion() -> None:
    for successes in range(31):
        interval, mirrored = wilson_interval(successes, 30), wilson_interval(30 - successes, 30)
        assert successes / 30 in interval
        assert (interval.low, interval.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))
    assert wilson_interval(30, 30).high == 1.0


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_interval_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(UsageError, match="0 <= successes <= n"):
        wilson_interval(successes, n)


def test_paired_interval_as_published() -> None:
    # M. W. Fagerland et al., Statistics in Medicine 33 (2014), 2850-2875, airway hyper-responsiveness: Tango's score.
    interval = paired_difference_interval(only_first=1, only_second=7, n=21)
    assert (interval.low, interval.high) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize(("only_first", "only_second", "n"), [(3, 9, 40), (0, 4, 25), (12, 2, 100)])
def test_paired_interval_ends_where_the_score_test_rejects(only_first: int, only_second: int, n: int) -> None:
    interval = paired_difference_interval(only_first=only_first, only_second=only_second, n=n)
    for bound in (interval.low, interval.high):
        score = _score_by_search(bound, only_first, only_second, n)
        assert abs(score) == pytest.approx(Z, rel=1e-3)


def _score_by_search(delta: float, only_first: int, only_second: int, n: int) -> float:
    """Tango's score with the constrained maximum of the multinomial likelihood found by brute force."""
    second = np.linspace(max(0.0, -delta), (1 - delta) / 2, 400_001)[1:-1]
    with np.errstate(divide="ignore"):
        likelihood = (
            only_first * np.log(second + delta)
            + only_second * np.log(second)
            + (n - only_first - only_second) * np.log(1 - delta - 2 * second)
        )
    p = second[np.argmax(likelihood)]
    return (only_first - only_second - n * delta) / math.sqrt(n * (2 * p + delta - delta**2))


def test_paired_interval_without_a_difference_has_the_width_of_n() -> None:
    interval = paired_difference_interval(only_first=0, only_second=0, n=30)
    half = Z**2 / (30 + Z**2)
    assert (interval.low, interval.high) == pytest.approx((-half, half), abs=1e-6)


def test_paired_interval_changes_sign_with_the_order() -> None:
    one = paired_difference_interval(only_first=5, only_second=2, n=60)
    other = paired_difference_interval(only_first=2, only_second=5, n=60)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_paired_interval_at_the_extremes() -> None:
    assert paired_difference_interval(only_first=10, only_second=0, n=10).high == pytest.approx(1.0)
    assert paired_difference_interval(only_first=0, only_second=10, n=10).low == pytest.approx(-1.0)


@pytest.mark.parametrize(("only_first", "only_second", "n"), [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_paired_interval_refuses_impossible_counts(only_first: int, only_second: int, n: int) -> None:
    with pytest.raises(UsageError, match="paired counts"):
        paired_difference_interval(only_first=only_first, only_second=only_second, n=n)


def test_percentiles_interpolate() -> None:
    # Type 7: the p-th percentile of n sorted values lies at (n - 1) p / 100.
    assert percentiles([40.0, 10.0, 20.0, 30.0], of=(0, 50, 95, 100)) == pytest.approx((10.0, 25.0, 38.5, 40.0))


def test_percentiles_of_nothing() -> None:
    with pytest.raises(UsageError, match="got none"):
        percentiles([], of=(50,))


def test_pareto_front_equals_its_definition() -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        points = [(float(x), float(y)) for x, y in generator.integers(0, 6, (12, 2))]
        unbeaten = {
            index
            for index, (cost, value) in enumerate(points)
            if not any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in points)
        }
        front = pareto_front(points)
        assert set(front) == unbeaten
        assert all(points[i][0] <= points[j][0] for i, j in pairwise(front))


def test_pareto_front_of_nothing() -> None:
    assert pareto_front([]) == []


@pytest.mark.parametrize(
    ("only_first", "only_second", "p"),
    [
        (0, 0, 1.0),
        (5, 0, 2 / 2**5),
        (0, 5, 2 / 2**5),
        (1, 1, 1.0),
        # 2 of 10 coins: (1 + 10 + 45) / 1024, on both sides.
        (8, 2, 2 * 56 / 1024),
    ],
)
def test_mcnemar_is_a_test_of_signs(only_first: int, only_second: int, p: float) -> None:
    assert mcnemar_p(only_first=only_first, only_second=only_second) == pytest.approx(p)


def test_mcnemar_refuses_what_is_no_count() -> None:
    with pytest.raises(UsageError, match="zero or more, got -1 and 2"):
        mcnemar_p(only_first=-1, only_second=2)

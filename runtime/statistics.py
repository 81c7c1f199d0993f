"""The statistics of predictions and reports: softmax, intervals, percentiles, the Pareto front.

Intervals have a coverage of 95 % and are fractions, not percent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import UsageError

__all__ = [
    "Interval",
    "Share",
    "mcnemar_p",
    "paired_difference_interval",
    "pareto_front",
    "percentiles",
    "softmax",
    "wilson_interval",
]

_Z: Final = NormalDist().inv_cdf(0.975)
_BISECTIONS: Final = 60


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A 95 % confidence interval, both ends included."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Scores of the last axis of ``logits``, safe for large values."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    scores: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return scores


def wilson_interval(successes: float, n: float) -> Interval:
    """Score interval of a proportion: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209-212.

    Unlike the textbook ``p ± z·sqrt(p(1-p)/n)`` it keeps its coverage for small ``n`` and near 0 and 1.

    Args:
        successes: from 0 to ``n``; fractions are of trials that are only expected.
        n: trials, one or more.

    Returns:
        Fractions in [0, 1].

    Raises:
        UsageError: the counts do not fit together.
    """
    if not 0 <= successes <= n or n < 1:
        msg = f"an interval needs 0 <= successes <= n and n >= 1, got {successes} of {n}"
        raise UsageError(msg)
    proportion, weight = successes / n, 1 + _Z**2 / n
    center = (proportion + _Z**2 / (2 * n)) / weight
    half = _Z / weight * math.sqrt(proportion * (1 - proportion) / n + _Z**2 / (4 * n**2))
    # Exact at the ends, where rounding would leave 1e-17 of something that is zero.
    return Interval(low=center - half if successes else 0.0, high=center + half if successes < n else 1.0)


@dataclass(frozen=True, kw_only=True)
class Share:
    """How many of ``n``, one or more, with the 95 % Wilson interval."""

    count: int
    n: int

    @property
    def percent(self) -> float:
        """In [0, 100]."""
        return 100 * self.count / self.n

    @property
    def low(self) -> float:
        """Lower bound of the 95 % interval, in percent."""
        return 100 * wilson_interval(self.count, self.n).low

    @property
    def high(self) -> float:
        """Upper bound of the 95 % interval, in percent."""
        return 100 * wilson_interval(self.count, self.n).high


def paired_difference_interval(*, only_first: float, only_second: float, n: float) -> Interval:
    """Score interval of the difference of two proportions counted on the same ``n`` cases.

    T. Tango, Statistics in Medicine 17 (1998), 891-908. The cases on which both agree cancel out, so that the interval
    is much narrower than one for two independent samples; with no case that tells the two apart it still has the
    width that ``n`` cases allow, ``± z² / (n + z²)``.

    Args:
        only_first: cases that the first has right and the second wrong.
        only_second: the other way round.
        n: all cases.

    Returns:
        Bounds of (first's proportion - second's proportion), in [-1, 1].

    Raises:
        UsageError: the counts do not fit together.
    """
    if min(only_first, only_second) < 0 or only_first + only_second > n or n < 1:
        msg = f"paired counts must be zero or more and add up to n or less, got {only_first} and {only_second} of {n}"
        raise UsageError(msg)
    difference = (only_first - only_second) / n

    def score(delta: float) -> float:
        return _tango_score(delta, only_first=only_first, only_second=only_second, n=n)

    return Interval(
        low=_bisect(lambda delta: score(delta) > _Z, -1.0, difference),
        high=_bisect(lambda delta: score(delta) >= -_Z, difference, 1.0),
    )


def mcnemar_p(*, only_first: int, only_second: int) -> float:
    """How likely chance alone would part two equal networks this much: McNemar's test, exact and two-sided.

    Q. McNemar, Psychometrika 12 (1947), 153-157; exact as a sign test of the cases that tell the two apart.

    Args:
        only_first: cases that the first has right and the second wrong.
        only_second: the other way round.

    Returns:
        A probability in (0, 1]; 1 where no case tells the two apart.

    Raises:
        UsageError: a count is negative.
    """
    if min(only_first, only_second) < 0:
        msg = f"counts must be zero or more, got {only_first} and {only_second}"
        raise UsageError(msg)
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, count) for count in range(fewer + 1)) * 2
    total: int = 1 << n
    return min(1.0, tail / total)


def _tango_score(delta: float, *, only_first: float, only_second: float, n: float) -> float:
    """Equation 7 of the paper: a z-value that falls as ``delta`` grows."""
    a = 2 * n
    b = -only_first - only_second + (2 * n - only_first + only_second) * delta
    c = -only_second * delta * (1 - delta)
    q = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * q + delta * (1 - delta))
    distance = only_first - only_second - n * delta
    if variance <= 0:
        return math.copysign(math.inf, distance) if distance else 0.0
    return distance / math.sqrt(variance)


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The border in [low, high] below which ``holds`` is true and above which it is not."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return (low + high) / 2


def percentiles(values: Sequence[float] | NDArray[np.float64], *, of: Sequence[float]) -> tuple[float, ...]:
    """Percentiles with linear interpolation: type 7 of Hyndman and Fan, The American Statistician 50 (1996), 361-365.

    Args:
        values: one or more numbers.
        of: percent in [0, 100].

    Raises:
        UsageError: there are no values.
    """
    if not len(values):
        msg = "percentiles need one value or more, got none"
        raise UsageError(msg)
    return tuple(
        float(value)
        for value in np.percentile(np.asarray(values, np.float64), np.asarray(of, np.float64), method="linear")
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point beats, from the cheapest on.

    Args:
        points: (cost, value) each. A point is beaten by one that costs no more and is worth no less, and is better
            in at least one of them (H. T. Kung et al., J. ACM 22 (1975), 469-476); equal points do not beat each
            other.
    """
    front: list[int] = []
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        last = points[front[-1]] if front else None
        if last is None or points[index][1] > last[1] or points[index] == last:
            front.append(index)
    return front

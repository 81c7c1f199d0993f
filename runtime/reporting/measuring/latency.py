"""What rounds of timed predictions say of an artifact's latency, and how sure that is.

Predictions of one round see the machine in the same state, so that a thousand of them in one quiet second are no
thousand observations. What is independent, more or less, are the rounds: intervals are of a bootstrap that draws whole
rounds (A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application, 1997, section 3.8, clustered data),
and of two artifacts the same rounds, as what else the machine did in one fell on both: what is compared is the ratio of
their medians in each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.statistics import Interval, percentiles

__all__ = [
    "MIN_ROUNDS",
    "SAME_ARTIFACT",
    "Latency",
    "Ratio",
    "Rounds",
    "compare_rounds",
    "count_by_time",
    "median_is_known",
]

Rounds = Sequence[Sequence[int]]
"""Nanoseconds of single predictions, by round."""

MIN_ROUNDS: Final = 6
"""With fewer, an interval of 95 % would be one of hardly more than the smallest and the largest."""
_DRAWS: Final = 400
_ENDS: Final = (2.5, 97.5)
_MOST_OF_A_ROUND: Final = 1000
_PERCENTS: Final = {"p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0}
_NARROW: Final = 0.01
"""Half of an interval that is narrow enough to stop, as a part of the median."""
SAME_ARTIFACT: Final = 0.03
"""What two processes of one artifact may differ by, on a quiet machine, for no other reason than where their memory
came to lie: benchmarks/measuring.py. No number of rounds tells it, as each artifact has one process."""
_AGREE_WITHIN: Final = 1.25
"""Ends of an interval, one over the other, from which on rounds do not agree about a ratio."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Times of single predictions at batch 1, from input array to logits: of a clip, or of one step."""

    n: int
    """Predictions timed; all count, outliers too."""
    p50_ms: float
    p95_ms: float
    p99_ms: float
    clips_per_second: float
    """Predictions divided by the sum of their times: one after another, never in parallel."""
    rounds: Rounds = field(default=(), repr=False)
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """Of the numbers above, by name; empty where there were fewer than ``MIN_ROUNDS`` rounds."""

    @classmethod
    def from_rounds(cls, rounds: Rounds) -> Latency:
        """Summarizes measured times, one or more in each round, one round or more."""
        times = np.concatenate([np.asarray(each, np.float64) for each in rounds]) / 1e6
        values = dict(zip(_PERCENTS, percentiles(times, of=tuple(_PERCENTS.values())), strict=True))
        return cls(
            n=len(times),
            clips_per_second=1000 * len(times) / float(times.sum()),
            rounds=tuple(tuple(each) for each in rounds),
            intervals=_estimate_intervals(rounds),
            **values,
        )


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How many times as fast one artifact is as another: the median of the ratios in rounds that both took part in."""

    times: float
    low: float
    """Of the 95 % interval, which allows for what two processes of one artifact may differ by."""
    high: float
    rounds: int

    @property
    def rounds_agree(self) -> bool:
        """Whether there were rounds enough, and they say about the same."""
        return self.rounds >= MIN_ROUNDS and self.high <= _AGREE_WITHIN * self.low * (1 + SAME_ARTIFACT) ** 2

    @property
    def is_different(self) -> bool:
        """Whether the interval leaves out that both are as fast."""
        return not self.low <= 1 <= self.high

    def scaled(self, factor: float) -> Ratio:
        """The same in other units on one side, as a second of video in place of a prediction."""
        return Ratio(times=factor * self.times, low=factor * self.low, high=factor * self.high, rounds=self.rounds)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"times": self.times, "low": self.low, "high": self.high, "rounds": self.rounds}


def compare_rounds(slow: Rounds, fast: Rounds) -> Ratio:
    """How many times as fast ``fast`` is as ``slow``; of their rounds, those count that both had.

    Args:
        slow: rounds of one artifact, one or more.
        fast: of the other, in the same order.
    """
    pairs = list(zip(slow, fast, strict=False))
    if not pairs:
        msg = "a comparison needs one round or more, got none"
        raise UsageError(msg)
    logs = np.log([np.median(one) / np.median(other) for one, other in pairs])
    drawn = np.random.default_rng(0).integers(0, len(logs), (_DRAWS, len(logs)))
    low, high = np.exp(percentiles(np.median(logs[drawn], axis=1), of=_ENDS))
    allowance = 1 + SAME_ARTIFACT
    times = float(np.exp(np.median(logs)))
    return Ratio(times=times, low=float(low) / allowance, high=float(high) * allowance, rounds=len(pairs))


def median_is_known(rounds: Rounds) -> bool:
    """Whether the 95 % interval of the median is narrow: within one percent of it on either side."""
    if len(rounds) < MIN_ROUNDS:
        return False
    low, high = percentiles(_Sorted(rounds).medians(_draw(len(rounds))), of=_ENDS)
    return (high - low) / 2 <= _NARROW * (high + low) / 2


def count_by_time(rounds: Rounds, *, low_ms: float, high_ms: float, bins: int) -> list[int]:
    """How many predictions took how long: counts in ``bins`` steps of equal ratio from ``low_ms`` to ``high_ms``.

    What lies outside counts in the first or the last.
    """
    times = np.concatenate([np.asarray(each, np.float64) for each in rounds]) / 1e6
    edges = np.geomspace(low_ms, high_ms, bins + 1)
    counts, _ = np.histogram(np.clip(times, low_ms, high_ms), np.concatenate([[low_ms], edges[1:-1], [high_ms]]))
    return [int(count) for count in counts]


def _estimate_intervals(rounds: Rounds) -> dict[str, Interval]:
    if len(rounds) < MIN_ROUNDS:
        return {}
    drawn, ordered = _draw(len(rounds)), _Sorted(rounds)
    found = dict(zip(_PERCENTS, ordered.percentiles(tuple(_PERCENTS.values()), drawn).T / 1e6, strict=True))
    counts, sums = (np.array([measure(each) for each in rounds], np.float64) for measure in (len, sum))
    found["clips_per_second"] = 1e9 * (drawn @ counts) / (drawn @ sums)
    ends = {key: percentiles(values, of=_ENDS) for key, values in found.items()}
    return {key: Interval(low=low, high=high) for key, (low, high) in ends.items()}


def _draw(rounds: int) -> NDArray[np.int64]:
    """How often each round is drawn in each of many draws, the same each time: (draws, rounds)."""
    if rounds < 1:
        msg = "an interval needs one round or more, got none"
        raise UsageError(msg)
    return np.random.default_rng(0).multinomial(rounds, np.full(rounds, 1 / rounds), size=_DRAWS)


def _thin(times: Sequence[int]) -> NDArray[np.float64]:
    """The times of a round in order; of very many, evenly spaced ones."""
    ordered = np.sort(np.asarray(times, np.float64))
    if len(ordered) <= _MOST_OF_A_ROUND:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, _MOST_OF_A_ROUND).round().astype(np.int64)]


class _Sorted:
    """All times of some rounds in order, so that a percentile of many draws takes one pass each."""

    def __init__(self, rounds: Rounds) -> None:
        thinned = [_thin(each) for each in rounds]
        times = np.concatenate(thinned)
        owners = np.repeat(np.arange(len(rounds)), [len(each) for each in thinned])
        order = np.argsort(times, kind="stable")
        self._times, self._owners = times[order], owners[order]

    def medians(self, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of each draw: (draws,)."""
        return self.percentiles((50,), drawn)[:, 0]

    def percentiles(self, of: Sequence[float], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of each draw, with linear interpolation as in ``statistics.percentiles``: (draws, percentiles)."""
        found = np.empty((len(drawn), len(of)))
        for index, weights in enumerate(drawn):
            ends = np.cumsum(weights[self._owners])
            last = ends[-1] - 1
            places = np.asarray(of, np.float64) / 100 * last
            below = places.astype(np.int64)
            first = self._times[np.searchsorted(ends, below, side="right")]
            second = self._times[np.searchsorted(ends, np.minimum(below + 1, last), side="right")]
            found[index] = first + (places - below) * (second - first)
        return found

"""What rounds tell, and what they do not."""

from __future__ import annotations

import numpy as np
import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.reporting.measuring.latency import (
    MIN_ROUNDS,
    Latency,
    Rounds,
    compare_rounds,
    count_by_time,
    median_is_known,
)


def made_rounds(ms: float, *, seed: int, rounds: int = 20, n: int = 40, drift: float = 0.0) -> list[list[int]]:
    """Times that vary by some percent; whole rounds by ``drift`` more."""
    rng = np.random.default_rng(seed)
    factors = np.exp(rng.normal(0, drift, rounds)) if drift else np.ones(rounds)
    return [[int(1e6 * ms * factor * value) for value in rng.gamma(400, 1 / 400, n)] for factor in factors]


def test_known_times() -> None:
    latency = Latency.from_rounds([[1_000_000, 2_000_000], [3_000_000, 4_000_000]])
    assert (latency.n, latency.p50_ms, latency.clips_per_second) == (4, 2.5, 400.0)
    assert latency.p95_ms == pytest.approx(3.85)
    assert latency.intervals == {}


def test_intervals_hold_what_they_are_of() -> None:
    """A median that is known holds the truth in most of many runs, also where rounds differ more than predictions."""
    held = {0.0: 0, 0.05: 0}
    for drift in held:
        for seed in range(60):
            interval = Latency.from_rounds(made_rounds(10, seed=seed, drift=drift)).intervals["p50_ms"]
            held[drift] += 10 * np.median(np.random.default_rng(0).gamma(400, 1 / 400, 10**5)) in interval
    # 95 % of 60 are 57; fewer rounds make a bootstrap somewhat too sure.
    assert all(count >= 51 for count in held.values()), held


def test_every_number_has_its_interval() -> None:
    latency = Latency.from_rounds(made_rounds(10, seed=0))
    assert set(latency.intervals) == {"p50_ms", "p95_ms", "p99_ms", "clips_per_second"}
    for name, interval in latency.intervals.items():
        assert interval.low <= getattr(latency, name) <= interval.high


def test_the_bootstrap_of_no_spread_is_the_value() -> None:
    interval = Latency.from_rounds([[5_000_000, 5_000_000]] * MIN_ROUNDS).intervals["p95_ms"]
    assert (interval.low, interval.high) == (5.0, 5.0)


@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_the_same_artifact_twice_is_not_different(drift: float) -> None:
    for seed in range(30):
        first, second = (made_rounds(10, seed=1000 * part + seed, drift=drift) for part in (1, 2))
        assert not compare_rounds(first, second).is_different


def test_one_that_is_a_fifth_slower_is() -> None:
    ratio = compare_rounds(made_rounds(12, seed=1), made_rounds(10, seed=2))
    assert ratio.times == pytest.approx(1.2, rel=0.03)
    assert ratio.is_different
    assert ratio.rounds_agree


def test_what_falls_on_both_cancels() -> None:
    """Two artifacts that are slow in the same rounds differ as much as ever."""
    factors = np.exp(np.random.default_rng(3).normal(0, 0.5, 20))
    slow, fast = (
        [[int(value * factor) for value in times] for times, factor in zip(part, factors, strict=True)]
        for part in (made_rounds(30, seed=4), made_rounds(10, seed=5))
    )
    ratio = compare_rounds(slow, fast)
    assert ratio.low < 3 < ratio.high
    assert not median_is_known(slow)


def test_rounds_that_disagree_say_so() -> None:
    calm = made_rounds(10, seed=6)
    disturbed = [[3 * time for time in times] if index % 2 else times for index, times in enumerate(calm)]
    assert not compare_rounds(disturbed, calm).rounds_agree
    assert not compare_rounds(calm[: MIN_ROUNDS - 1], calm).rounds_agree


def test_only_rounds_that_both_had_are_compared() -> None:
    early, late = made_rounds(10, seed=7, rounds=10), made_rounds(20, seed=8, rounds=10)
    ratio = compare_rounds([*early, *late], made_rounds(10, seed=9, rounds=10))
    assert ratio.rounds == 10
    assert ratio.times == pytest.approx(1, rel=0.03)


def test_a_ratio_in_other_units() -> None:
    ratio = compare_rounds(made_rounds(10, seed=1), made_rounds(10, seed=2))
    assert ratio.scaled(4).times == pytest.approx(4 * ratio.times)
    assert ratio.scaled(4).is_different


def test_when_a_median_is_known() -> None:
    assert median_is_known(made_rounds(10, seed=10))
    assert not median_is_known(made_rounds(10, seed=10, rounds=MIN_ROUNDS - 1))
    assert not median_is_known(made_rounds(10, seed=10, drift=0.3))


def test_very_many_times_are_thinned_alike() -> None:
    many = made_rounds(10, seed=11, n=5000)
    assert Latency.from_rounds(many).intervals["p50_ms"].high < 10.1
    assert Latency.from_rounds(many).n == 100_000


@pytest.mark.parametrize(
    ("rounds", "counts"),
    [([[1_000_000] * 3], [3, 0, 0]), ([[2_000_000], [8_000_000]], [0, 1, 1]), ([[1], [10**12]], [1, 0, 1])],
)
def test_counts_by_time(rounds: Rounds, counts: list[int]) -> None:
    assert count_by_time(rounds, low_ms=1, high_ms=8, bins=3) == counts


def test_nothing_to_compare() -> None:
    with pytest.raises(UsageError, match="needs one round or more"):
        compare_rounds([], [[1]])

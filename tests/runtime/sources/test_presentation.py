"""When frames were presented, told from when they arrived."""

from __future__ import annotations

import pytest

from s2tf_edge.runtime.sources.presentation import PresentationClock


def test_what_arrives_later_than_the_quickest_is_older() -> None:
    clock = PresentationClock()
    delays = [0.05, 0.02, 0.30, 0.02, 1.50]
    ages = []
    for index, delay in enumerate(delays):
        arrived_at = 1000 + index + delay
        ages.append(arrived_at - clock.presented_at(float(index), arrived_at=arrived_at))
    # The first has nothing to be compared with.
    assert ages == pytest.approx([0.0, 0.0, 0.28, 0.0, 1.48], abs=2e-3)


def test_a_reader_that_falls_behind_shows_it() -> None:
    clock = PresentationClock()
    for index in range(100):
        arrived_at = 1.5 * index / 25
        age = arrived_at - clock.presented_at(index / 25, arrived_at=arrived_at)
    assert age == pytest.approx(0.5 * 99 / 25, abs=2e-3)


@pytest.mark.parametrize("ppm", [-150, 150])
def test_the_drift_of_clocks_is_no_age(ppm: int) -> None:
    clock = PresentationClock()
    ages = []
    for second in range(0, 36_000, 10):
        arrived_at = second * (1 + 1e-6 * ppm)
        ages.append(arrived_at - clock.presented_at(float(second), arrived_at=arrived_at))
    assert max(ages) < 1e-6


def test_a_clock_that_jumps_back_starts_anew() -> None:
    clock = PresentationClock()
    clock.presented_at(500.0, arrived_at=10.0)
    assert clock.presented_at(0.0, arrived_at=10.1) == 10.1
    assert clock.presented_at(0.1, arrived_at=10.5) == pytest.approx(10.2, abs=1e-3)


def test_frames_in_the_order_of_decoding_are_no_jump() -> None:
    clock = PresentationClock()
    clock.presented_at(0.12, arrived_at=10.0)
    assert clock.presented_at(0.04, arrived_at=10.0) == pytest.approx(9.92)

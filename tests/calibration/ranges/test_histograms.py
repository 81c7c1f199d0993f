from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.calibration.ranges.histograms import BINS, THRESHOLDS, count_magnitudes

SIGNED, UNSIGNED = 128, 256
RANDOM = np.random.default_rng(0)


def _histogram(values: NDArray[np.float32]) -> tuple[NDArray[np.int64], float]:
    top = float(np.abs(values).max())
    return count_magnitudes(values, top=top), top


def _error(values: NDArray[np.float32], threshold: float, levels: int) -> float:
    """Mean squared error of a symmetric quantizer, from the values themselves."""
    step = threshold / (levels - 1)
    quantized = np.clip(np.rint(values / step), 1 - levels, levels - 1) * step
    return float(np.mean((values - quantized) ** 2))


def test_magnitudes_are_counted_as_numpy_does() -> None:
    values = RANDOM.standard_normal((3, 5, 1_000_00)).astype(np.float32)
    counts, top = _histogram(values)
    expected, _ = np.histogram(np.abs(values), BINS, (0, top))
    assert counts.sum() == values.size
    # Values on the border of two bins may fall on either side.
    assert np.abs(counts - expected).sum() < 1e-4 * values.size


def test_what_lies_beyond_the_top_counts_in_the_last_bin() -> None:
    counts = count_magnitudes(np.array([0.0, -3.0, 3.0], np.float32), top=1.0)
    assert (counts[0], counts[-1], counts.sum()) == (1, 2, 3)


def test_the_percentile_leaves_one_value_in_ten_thousand_above() -> None:
    values = np.linspace(0, 1, 100_000, dtype=np.float32) ** 8
    counts, top = _histogram(values)
    threshold = THRESHOLDS["percentile"](counts, SIGNED) * top
    assert np.mean(np.abs(values) > threshold) <= 1e-4
    assert threshold == pytest.approx(float(np.quantile(values, 0.9999)), abs=1 / BINS)


@pytest.mark.parametrize("levels", [SIGNED, UNSIGNED])
def test_mse_finds_the_threshold_of_least_error(levels: int) -> None:
    values = RANDOM.laplace(size=50_000).astype(np.float32)
    counts, top = _histogram(values)
    threshold = THRESHOLDS["mse"](counts, levels) * top
    least = min(_error(values, top * share, levels) for share in np.linspace(0.1, 1, 181))
    assert threshold < 0.95 * top
    assert _error(values, threshold, levels) < 1.02 * least
    assert least < 0.95 * _error(values, top, levels)


@pytest.mark.parametrize("method", ["entropy", "mse"])
def test_an_even_distribution_is_not_cut(method: str) -> None:
    counts = np.full(BINS, 1000, np.int64)
    assert THRESHOLDS[method](counts, SIGNED) > 0.98


@pytest.mark.parametrize("method", THRESHOLDS)
def test_an_outlier_among_a_million_values_is_cut_off(method: str) -> None:
    values = np.abs(RANDOM.standard_normal(1_000_000)).astype(np.float32)
    values[0] = 100
    counts, top = _histogram(values)
    threshold = THRESHOLDS[method](counts, UNSIGNED) * top
    assert 3 < threshold < (60 if method == "mse" else 30)


def test_entropy_does_not_count_zeros() -> None:
    """A ReLU's zeros are exact at any threshold."""
    values = np.abs(RANDOM.laplace(size=100_000)).astype(np.float32)
    counts, _ = _histogram(values)
    many = counts.copy()
    many[0] += 10_000_000
    assert THRESHOLDS["entropy"](many, SIGNED) == pytest.approx(THRESHOLDS["entropy"](counts, SIGNED), abs=0.02)

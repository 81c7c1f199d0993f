"""Percentiles in constant memory."""

from __future__ import annotations

import numpy as np
import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.sources.timing import Histogram, StageTimes


def test_percentiles_are_within_one_percent() -> None:
    values = np.random.default_rng(0).lognormal(3, 1.5, 20_000)
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    for percent in (1, 50, 95, 99):
        expected = np.percentile(values, percent, method="inverted_cdf")
        assert histogram.percentile(percent) == pytest.approx(expected, rel=0.011)
    assert histogram.percentile(100) == pytest.approx(values.max(), rel=0.011)


@pytest.mark.parametrize("value", [0.0, 1e-9, 1e9])
def test_what_lies_outside_the_bins_is_counted(value: float) -> None:
    histogram = Histogram()
    histogram.add(value)
    assert len(histogram) == 1
    assert histogram.percentile(50) <= max(value, 1e-3)


def test_an_empty_histogram_has_no_percentile() -> None:
    with pytest.raises(UsageError, match="one duration or more"):
        Histogram().percentile(50)


def test_merging_is_counting_both() -> None:
    one, other, both = StageTimes(), StageTimes(), StageTimes()
    for index in range(100):
        (one if index % 3 else other).add("infer", index)
        both.add("infer", index)
    other.add("decode", 1.0)
    both.add("decode", 1.0)
    one.merge(other)
    assert one.to_dict() == both.to_dict()
    assert one.to_dict()["infer"]["n"] == 100

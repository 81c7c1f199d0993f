"""Said against true."""

from __future__ import annotations

import numpy as np
import pytest

from s2tf_edge.runtime.evaluation.accuracy import Evaluation
from s2tf_edge.runtime.evaluation.confidence import measure_confidence


def evaluation(*sure: tuple[float, bool]) -> Evaluation:
    """Videos of class 0 among eight, each with the score of its best class and whether that is right."""
    scores = np.array([[part, *[(1 - part) / 7] * 7] for part, _ in sure], np.float32)
    targets = np.array([0 if right else 1 for _, right in sure], np.int64)
    names = tuple(str(index) for index in range(len(sure)))
    return Evaluation(labels=tuple("abcdefgh"), names=names, targets=targets, scores=scores)


def test_a_network_that_is_as_often_right_as_it_says() -> None:
    found = measure_confidence(evaluation(*[(0.75, True)] * 3, (0.75, False)))
    assert found.ece == pytest.approx(0, abs=1e-4)
    (only,) = found.bins
    assert (only.n, only.right) == (4, 75)
    assert only.confidence == pytest.approx(75)


def test_the_error_is_weighed_by_the_videos_of_a_bin() -> None:
    found = measure_confidence(evaluation((0.95, True), (0.95, False), (0.95, False), (0.55, False)))
    # Three that are right a third of the time, said 95 %; one that is wrong, said 55 %.
    assert found.ece == pytest.approx((3 * (95 - 100 / 3) + 55) / 4, abs=1e-3)
    assert [part.n for part in found.bins] == [1, 3]
    assert found.n == 4


def test_the_surest_of_all_has_a_bin() -> None:
    found = measure_confidence(evaluation((1.0, True)))
    assert (found.ece, len(found.bins)) == (0, 1)


def test_what_is_no_number_is_not_sure() -> None:
    broken = evaluation((0.9, True))
    scores = np.full_like(broken.scores, np.nan)
    found = measure_confidence(
        Evaluation(labels=broken.labels, names=broken.names, targets=broken.targets, scores=scores)
    )
    assert found.bins[0].confidence == 0

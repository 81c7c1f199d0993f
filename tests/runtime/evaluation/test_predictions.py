from __future__ import annotations

import numpy as np
import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.evaluation.accuracy import Evaluation
from s2tf_edge.runtime.evaluation.predictions import Predictions, measure_agreement

LABELS = ("dark", "middle", "bright")


def _found(*classes: int, names: str = "abcdefg", labels: tuple[str, ...] = LABELS) -> Predictions:
    scores = np.eye(3, dtype=np.float32)[list(classes)]
    return Predictions(labels=labels, names=tuple(names[: len(classes)]), scores=scores)


def test_counts_what_videos_are_taken_for() -> None:
    found = _found(2, 0, 2, 2, 0)
    assert list(found.predicted.items()) == [("bright", 3), ("dark", 2)]
    assert list(_found(2, 0).predicted) == ["bright", "dark"]


def test_what_takes_labels_is_none() -> None:
    values = _found(2, 0, 2).to_dict()
    known = {key: value for key, value in values.items() if value is not None}
    assert known == {
        "n": 3,
        "skipped": 0,
        "skipped_videos": [],
        "predicted": [{"label": "bright", "n": 2}, {"label": "dark", "n": 1}],
    }
    evaluation = Evaluation(labels=LABELS, names=("a",), targets=np.array([1]), scores=np.eye(3, dtype=np.float32)[:1])
    assert list(values) == list(evaluation.to_dict())
    assert None not in evaluation.to_dict().values()


def test_a_score_that_is_no_number_ranks_last() -> None:
    scores = np.array([[np.nan, 0.1, 0.2], [np.nan, np.nan, np.nan]], np.float32)
    assert Predictions(labels=LABELS, names=("a", "b"), scores=scores).predictions.tolist() == [2, 0]


def test_agreement_is_of_the_same_videos_and_names() -> None:
    assert measure_agreement(_found(0, 1, 2, 2), _found(0, 1, 1, 0)).percent == 50
    assert measure_agreement(_found(0, 1, 2), _found(0, 1, names="bcx")).percent == 0
    assert measure_agreement(_found(0, 1), _found(2, 1, labels=("bright", "middle", "dark"))).percent == 100
    # The second of the two videos of one name is compared with the second.
    assert measure_agreement(_found(0, 1, names="aa"), _found(0, 1, names="aa")).percent == 100
    with pytest.raises(UsageError, match="2 and 1 videos were scored, and none is the same"):
        measure_agreement(_found(0, 1), _found(0, names="x"))

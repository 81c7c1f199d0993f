"""Which classes are confused, and what of that is shown."""

from __future__ import annotations

import numpy as np
import pytest

from s2tf_edge.runtime.evaluation.accuracy import Evaluation
from s2tf_edge.runtime.evaluation.confusion_plot import draw_confusion
from s2tf_edge.runtime.evaluation.confusions import OTHERS, find_confused_pairs, readable_matrix


def _evaluation(targets: list[int], said: list[int], sure: list[float], classes: int) -> Evaluation:
    scores = np.zeros((len(targets), classes), np.float32)
    scores[np.arange(len(said)), said] = sure
    return Evaluation(
        labels=tuple(f"class {index}" for index in range(classes)),
        names=tuple(f"video {index}" for index in range(len(targets))),
        targets=np.array(targets),
        scores=scores,
    )


def test_pairs_come_by_frequency_and_their_videos_by_certainty() -> None:
    found = _evaluation([0, 0, 0, 1, 2, 2], [1, 1, 0, 0, 2, 1], [0.4, 0.9, 0.9, 0.5, 0.8, 0.6], classes=4)
    first, second, third = find_confused_pairs(found, most=5)
    assert (first.true, first.said, first.count, first.n, first.rows) == ("class 0", "class 1", 2, 3, (1, 0))
    assert (second.true, second.said, second.rows, second.n) == ("class 1", "class 0", (3,), 1)
    assert (third.true, third.said, third.rows, third.n) == ("class 2", "class 1", (5,), 2)
    assert find_confused_pairs(found, most=1) == [first]


def test_the_matrix_has_the_classes_that_occur() -> None:
    matrix = readable_matrix(_evaluation([0, 0, 7], [0, 3, 7], [0.9] * 3, classes=400))
    assert matrix.labels == ("class 0", "class 3", "class 7")
    assert matrix.counts.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]
    np.testing.assert_array_equal(matrix.shares, [[0.5, 0.5, 0], [0, 0, 0], [0, 0, 1]])


def test_of_many_classes_those_with_most_mistakes_are_shown_and_none_is_lost() -> None:
    rng = np.random.default_rng(0)
    targets = np.repeat(np.arange(100), 5)
    said = targets.copy()
    said[:150] = rng.integers(30, size=150)
    found = _evaluation(targets.tolist(), said.tolist(), [0.9] * 500, classes=100)
    matrix = readable_matrix(found)
    assert (len(matrix.labels), matrix.labels[-1], matrix.left_out) == (41, OTHERS, 60)
    assert {f"class {index}" for index in range(30)} <= set(matrix.labels)
    assert matrix.counts.sum() == 500
    assert matrix.counts[:30].diagonal().sum() == int((targets[:150] == said[:150]).sum())


def test_a_class_s_row_says_what_it_is_taken_for() -> None:
    rows = _evaluation([0, 0, 0, 1], [1, 1, 2, 1], [0.9] * 4, classes=3).to_dict()["per_class"]
    assert [(row["label"], row["correct"], row["n"]) for row in rows] == [("class 0", 0, 3), ("class 1", 1, 1)]
    assert [(row["taken_for"], row["taken_for_n"]) for row in rows] == [("class 1", 2), (None, 0)]
    assert 0 == rows[0]["top1_low"] < rows[0]["top1_high"] < 100


@pytest.mark.parametrize("classes", [2, 12, 70])
def test_the_picture_grows_with_the_classes_up_to_a_size(classes: int) -> None:
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    targets = np.arange(4 * classes) % classes
    found = _evaluation(targets.tolist(), rng.permutation(targets).tolist(), [0.9] * len(targets), classes=classes)
    png = draw_confusion(readable_matrix(found), title="100 % <b>$x$ of all")
    assert png.startswith(b"\x89PNG")
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    assert 400 < width < 2400
    assert 400 < height < 2400

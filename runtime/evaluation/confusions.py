"""What is taken for what: the pairs that are confused most, and a matrix of no more classes than can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.runtime.evaluation.accuracy import Evaluation

__all__ = ["ConfusedPair", "ConfusionMatrix", "find_confused_pairs", "readable_matrix"]

_READABLE: Final = 60
"""Classes whose names can be read beside a matrix."""
_CHOSEN: Final = 40
"""Classes that are shown where there are more than that."""
OTHERS: Final = "all others"


@dataclass(frozen=True, kw_only=True)
class ConfusedPair:
    """Videos of one class that were taken for another."""

    true: str
    said: str
    rows: tuple[int, ...]
    """Of the evaluation: the videos, those that it was most sure of first."""
    n: int
    """Videos of the true class."""

    @property
    def count(self) -> int:
        """How many were mistaken."""
        return len(self.rows)


def find_confused_pairs(evaluation: Evaluation, *, most: int) -> list[ConfusedPair]:
    """The pairs that were confused, the most frequent first."""
    said, scores = evaluation.predictions, evaluation.comparable.max(axis=1)
    pairs: dict[tuple[int, int], list[int]] = {}
    for row in np.argsort(-scores, kind="stable").tolist():
        true, taken = int(evaluation.targets[row]), int(said[row])
        if true != taken:
            pairs.setdefault((true, taken), []).append(row)
    ordered = sorted(pairs.items(), key=lambda item: (-len(item[1]), item[0]))[:most]
    sizes = np.bincount(evaluation.targets, minlength=len(evaluation.labels))
    return [
        ConfusedPair(true=evaluation.labels[i], said=evaluation.labels[j], rows=tuple(rows), n=int(sizes[i]))
        for (i, j), rows in ordered
    ]


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrix:
    """Some classes against each other."""

    labels: tuple[str, ...]
    """Of rows (true) and columns (said)."""
    counts: NDArray[np.int64]
    """Int64 [K, K]."""
    left_out: int = 0
    """Classes that have no row of their own; the last row and column then are for all of them."""

    @property
    def shares(self) -> NDArray[np.float64]:
        """Float64 [K, K]: of each row's videos; 0 in a row without any."""
        shares: NDArray[np.float64] = self.counts / np.maximum(1, self.counts.sum(axis=1, keepdims=True))
        return shares


def readable_matrix(evaluation: Evaluation) -> ConfusionMatrix:
    """The matrix of the classes that have videos or were found; where those are many, of those with most mistakes."""
    counts = evaluation.confusion
    there = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    counts = counts[np.ix_(there, there)]
    labels = tuple(evaluation.labels[index] for index in there)
    if len(labels) <= _READABLE:
        return ConfusionMatrix(labels=labels, counts=counts)
    mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    chosen = np.sort(np.argsort(-mistakes, kind="stable")[:_CHOSEN])
    group = np.full(len(labels), _CHOSEN)
    group[chosen] = np.arange(_CHOSEN)
    merged = np.zeros((_CHOSEN + 1,) * 2, np.int64)
    np.add.at(merged, (group[:, None], group[None, :]), counts)
    return ConfusionMatrix(
        labels=(*(labels[index] for index in chosen), OTHERS), counts=merged, left_out=len(labels) - _CHOSEN
    )

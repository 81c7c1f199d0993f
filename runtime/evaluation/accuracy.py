"""What an evaluation found: accuracy with its interval, classes, confusions, and what another network loses."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.runtime.evaluation.predictions import Predictions, measure_agreement, pair_rows
from s2tf_edge.runtime.statistics import Share, mcnemar_p, paired_difference_interval

__all__ = ["Drop", "Evaluation", "measure_drop"]


@dataclass(frozen=True, kw_only=True)
class Evaluation(Predictions):
    """What a network says about n videos, and what it should have said."""

    targets: NDArray[np.int64]
    """Int64 [n]: the true class of each, as index into ``labels``."""

    @property
    def true_labels(self) -> Sequence[str]:
        """The true class of each video."""
        return [self.labels[target] for target in self.targets]

    @functools.cached_property
    def ranks(self) -> NDArray[np.int64]:
        """Int64 [n]: how many classes come before the true one; 0 is right, ties go to the lower index."""
        scores = self.comparable
        true = np.take_along_axis(scores, self.targets[:, None], axis=1)
        lower = np.arange(scores.shape[1]) < self.targets[:, None]
        before: NDArray[np.bool_] = (scores > true) | ((scores == true) & lower) | (true < 0)
        ranks: NDArray[np.int64] = before.sum(axis=1)
        return ranks

    @property
    def top1(self) -> Share:
        """Videos whose best class is the true one."""
        return Share(count=int((self.ranks < 1).sum()), n=self.n)

    @property
    def top5(self) -> Share:
        """Videos whose true class is among the best five."""
        return Share(count=int((self.ranks < 5).sum()), n=self.n)

    @property
    def per_class(self) -> dict[str, Share]:
        """Top-1 of each class that has videos, in the network's order."""
        found = {}
        for index in np.unique(self.targets):
            right = self.ranks[self.targets == index] < 1
            found[self.labels[index]] = Share(count=int(right.sum()), n=len(right))
        return found

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Int64 [K, K]: videos of the row's class that were taken for the column's."""
        counts = np.zeros((self.scores.shape[1],) * 2, np.int64)
        np.add.at(counts, (self.targets, self.predictions), 1)
        return counts

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values: percent, and the confusions that occurred as [true, predicted, count]."""
        counts = self.confusion
        mistaken = [(int(i), int(j), int(counts[i, j])) for i, j in np.argwhere(counts) if i != j]
        mistaken.sort(key=lambda item: -item[2])
        return super().to_dict() | {
            "top1": self.top1.percent,
            "top5": self.top5.percent,
            "top1_low": self.top1.low,
            "top1_high": self.top1.high,
            "top5_low": self.top5.low,
            "top5_high": self.top5.high,
            "per_class": [self._class_row(label, part, counts) for label, part in self.per_class.items()],
            "confusion": [[self.labels[i], self.labels[j], count] for i, j, count in mistaken],
        }

    def _class_row(self, label: str, accuracy: Share, counts: NDArray[np.int64]) -> dict[str, Any]:
        """A class with what its videos were most often mistaken for, None where never."""
        own = self.labels.index(label)
        mistakes = np.where(np.arange(len(counts)) == own, 0, counts[own])
        said = int(mistakes.argmax())
        return {
            "label": label,
            "top1": accuracy.percent,
            "n": accuracy.n,
            "correct": accuracy.count,
            "top1_low": accuracy.low,
            "top1_high": accuracy.high,
            "taken_for": self.labels[said] if mistakes[said] else None,
            "taken_for_n": int(mistakes[said]),
        }


@dataclass(frozen=True, kw_only=True)
class Drop:
    """How much top-1 a network loses against a baseline, on the videos that both scored.

    Everything but the counts of videos is in percent, or in points of it.
    """

    n: int
    baseline_top1: float
    top1: float
    points: float
    """What is lost: ``baseline_top1 - top1``, but exact; negative where the network is better."""
    low: float
    """Lower bound of the 95 % interval of ``points``; it is paired, as the videos are the same."""
    high: float
    agreement: float
    """Videos that both give the same class."""
    lost: int
    """Videos that the baseline alone has right."""
    won: int
    """Videos that the other alone has right."""

    @property
    def p(self) -> float:
        """How likely chance alone would part two equal networks this much, by McNemar's exact test."""
        return mcnemar_p(only_first=self.lost, only_second=self.won)


def measure_drop(baseline: Evaluation, other: Evaluation) -> Drop:
    """Compares ``other`` with ``baseline``, video by video: those of the same name and class, in their order.

    Raises:
        UsageError: they have no video in common.
    """
    first, second = pair_rows(baseline, other)
    right, other_right = baseline.ranks[first] < 1, other.ranks[second] < 1
    n, lost, won = len(first), int((right & ~other_right).sum()), int((~right & other_right).sum())
    interval = paired_difference_interval(only_first=lost, only_second=won, n=n)
    return Drop(
        n=n,
        baseline_top1=100 * int(right.sum()) / n,
        top1=100 * int(other_right.sum()) / n,
        # From counts: the difference of two percentages would make one video of a hundred a bit more than one point,
        # and a bound of one point would not let it pass.
        points=100 * (lost - won) / n,
        low=100 * interval.low,
        high=100 * interval.high,
        agreement=measure_agreement(baseline, other).percent,
        lost=lost,
        won=won,
    )

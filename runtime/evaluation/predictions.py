"""What a network says about videos, whether anybody knows what they show or not."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.statistics import Share

__all__ = ["Predictions", "measure_agreement", "pair_rows", "video_keys"]

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a network says about n videos."""

    labels: tuple[str, ...]
    """The network's class names."""
    names: tuple[str, ...]
    """The videos that were scored, in the order of the data set."""
    scores: NDArray[np.float32]
    """Float32 [n, K]: softmax, averaged over the views; NaN ranks last."""
    skipped: tuple[str, ...] = ()
    """The videos that could not be read."""

    @property
    def n(self) -> int:
        """Videos scored."""
        return len(self.names)

    @functools.cached_property
    def comparable(self) -> NDArray[np.float32]:
        """The scores with -1 for NaN, which compares with nothing and would so come before everything."""
        return np.where(np.isnan(self.scores), np.float32(-1), self.scores)

    @functools.cached_property
    def predictions(self) -> NDArray[np.int64]:
        """Int64 [n]: the best class of each video."""
        best: NDArray[np.int64] = self.comparable.argmax(axis=1)
        return best

    @property
    def predicted(self) -> dict[str, int]:
        """How many videos each class is the best of, the most frequent first."""
        counts = Counter(self.labels[index] for index in self.predictions)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def true_labels(self) -> Sequence[str | None]:
        """The true class of each video; None where it is not known."""
        return [None] * self.n

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; what takes labels to know is None."""
        unknown = ("top1", "top5", "top1_low", "top1_high", "top5_low", "top5_high")
        return {
            **dict.fromkeys(unknown),
            "n": self.n,
            "skipped": len(self.skipped),
            "skipped_videos": list(self.skipped),
            "predicted": [{"label": label, "n": count} for label, count in self.predicted.items()],
            "per_class": None,
            "confusion": None,
        }


def measure_agreement(baseline: Predictions, other: Predictions) -> Share:
    """How many videos both give the same class, of those that both scored.

    Raises:
        UsageError: they have no video in common.
    """
    first, second = pair_rows(baseline, other)
    same = [
        baseline.labels[i] == other.labels[j]
        for i, j in zip(baseline.predictions[first], other.predictions[second], strict=True)
    ]
    return Share(count=sum(same), n=len(same))


def pair_rows(baseline: Predictions, other: Predictions) -> tuple[Rows, Rows]:
    """The rows in both of the videos that both scored: those of the same name and class, in their order.

    Raises:
        UsageError: they have no video in common.
    """
    rows = {key: row for row, key in enumerate(video_keys(other))}
    pairs = [(row, rows[key]) for row, key in enumerate(video_keys(baseline)) if key in rows]
    if not pairs:
        msg = f"nothing to compare: {baseline.n} and {other.n} videos were scored, and none is the same"
        raise UsageError(msg)
    first, second = np.array(pairs, np.int64).T
    return first, second


def video_keys(found: Predictions) -> list[tuple[str, str | None, int]]:
    """Name and class of each video, and how often the two came before: a list may hold a video twice."""
    seen: Counter[tuple[str, str | None]] = Counter()
    keys = []
    for key in zip(found.names, found.true_labels, strict=True):
        keys.append((*key, seen[key]))
        seen[key] += 1
    return keys

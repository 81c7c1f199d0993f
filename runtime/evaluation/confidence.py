"""Whether a network is as often right as it says: calibration of its confidences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from s2tf_edge.runtime.evaluation.accuracy import Evaluation

__all__ = ["Bin", "Confidence", "measure_confidence"]

_BINS: Final = 10


@dataclass(frozen=True, kw_only=True)
class Bin:
    """Videos whose best class has a score between two bounds."""

    n: int
    confidence: float
    """Mean score of the best class, in percent."""
    right: float
    """How many of them it is right about, in percent."""


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """Said against true, of all videos."""

    ece: float
    """Expected calibration error in percent: C. Guo et al., On Calibration of Modern Neural Networks, ICML 2017."""
    bins: tuple[Bin, ...]
    """Those of ten equal ones that hold a video, from the least sure on."""

    @property
    def n(self) -> int:
        """Videos in all."""
        return sum(each.n for each in self.bins)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "ece": self.ece,
            "bins": [{"n": each.n, "confidence": each.confidence, "right": each.right} for each in self.bins],
        }


def measure_confidence(evaluation: Evaluation) -> Confidence:
    """Compares the score of the best class with how often it is the true one, in ten bins of equal width.

    With few videos the error is too large: each bin's share of right ones then strays from what it would be.
    """
    scores = np.clip(evaluation.comparable.max(axis=1).astype(np.float64), 0.0, 1.0)
    right = evaluation.ranks < 1
    places = np.minimum((scores * _BINS).astype(np.int64), _BINS - 1)
    bins = []
    for place in np.unique(places):
        inside = places == place
        bins.append(
            Bin(
                n=int(inside.sum()),
                confidence=100 * float(scores[inside].mean()),
                right=100 * float(right[inside].mean()),
            )
        )
    gaps = sum(each.n * abs(each.right - each.confidence) for each in bins)
    return Confidence(ece=gaps / len(scores), bins=tuple(bins))

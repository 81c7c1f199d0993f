"""Percentiles of durations in constant memory, however long a stream runs."""

from __future__ import annotations

import itertools
import math
from typing import Final

from s2tf_edge.errors import UsageError

__all__ = ["Histogram", "StageTimes"]

_LOW_MS: Final = 1e-3
_GROWTH: Final = 1.02
_BINS: Final = 1 + math.ceil(math.log(1e10) / math.log(_GROWTH))


class Histogram:
    """Counts durations in bins that grow by 2 %, from a microsecond to hours.

    A percentile is therefore within 1 % of the true one. There are some thousand bins, of which only those take memory
    that something fell into: a folder of videos has a histogram for each stage of each.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._max_ms = 0.0

    def __len__(self) -> int:
        return sum(self._counts.values())

    def add(self, milliseconds: float) -> None:
        """Counts one duration; what lies outside the bins goes to the first or the last."""
        position = math.log(max(milliseconds, _LOW_MS) / _LOW_MS) / math.log(_GROWTH)
        index = min(int(position), _BINS - 1)
        self._counts[index] = self._counts.get(index, 0) + 1
        self._max_ms = max(self._max_ms, milliseconds)

    def percentile(self, percent: float) -> float:
        """The duration in milliseconds that ``percent`` of those counted do not exceed (nearest rank).

        Args:
            percent: in (0, 100].

        Raises:
            UsageError: nothing was counted.
        """
        total = len(self)
        if not total:
            msg = "percentiles need one duration or more, got none"
            raise UsageError(msg)
        rank = max(1, math.ceil(percent / 100 * total))
        indices = sorted(self._counts)
        up_to = itertools.accumulate(self._counts[index] for index in indices)
        index = next(index for index, count in zip(indices, up_to, strict=True) if count >= rank)
        middle_ms = _LOW_MS * _GROWTH ** (index + 0.5)
        return float(min(middle_ms, self._max_ms))

    def merge(self, other: Histogram) -> None:
        """Adds what ``other`` counted; another thread may be adding to it."""
        for index, count in dict(other._counts).items():
            self._counts[index] = self._counts.get(index, 0) + count
        self._max_ms = max(self._max_ms, other._max_ms)

    def to_dict(self) -> dict[str, float]:
        """p50, p95, p99 and the maximum in milliseconds, and how many were counted."""
        named = {f"p{percent}": round(self.percentile(percent), 3) for percent in (50, 95, 99)}
        return named | {"max": round(self._max_ms, 3), "n": len(self)}


class StageTimes:
    """One histogram a stage, made when the stage is first seen."""

    def __init__(self) -> None:
        self._stages: dict[str, Histogram] = {}

    def add(self, stage: str, milliseconds: float) -> None:
        """Counts one duration of ``stage``."""
        self._stages.setdefault(stage, Histogram()).add(milliseconds)

    def merge(self, other: StageTimes) -> None:
        """Adds what ``other`` counted, stage by stage; another thread may be adding to it."""
        for stage, histogram in dict(other._stages).items():
            self._stages.setdefault(stage, Histogram()).merge(histogram)

    def to_dict(self) -> dict[str, dict[str, float]]:
        """``{"infer": {"p50": …, "p95": …, "p99": …, "max": …, "n": …}, …}`` in milliseconds."""
        return {stage: histogram.to_dict() for stage, histogram in self._stages.items()}

"""Scores made steady over the windows of one source."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import UsageError

__all__ = ["Scores", "Smoother", "Smoothing"]

Scores = NDArray[np.float64]
"""Float64 [K], in [0, 1], adding up to one."""

_MAX_MEAN = 1000


class Smoother(Protocol):
    """The smoothed scores of one source, from window to window."""

    def update(self, scores: Scores) -> Scores:
        """Takes the scores of the next window and returns smoothed ones."""

    def reset(self) -> None:
        """Forgets all windows so far, as after a gap."""


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """What becomes of a window's scores: a running mean that forgets, the mean of the last few, or nothing."""

    kind: str = "ema"
    """ema, mean or none."""
    value: float = 0.6
    """For ema the weight of the newest window, for mean the number of windows."""

    def __post_init__(self) -> None:
        allowed = {
            "ema": 0 < self.value <= 1,
            "mean": 1 <= self.value <= _MAX_MEAN and self.value == int(self.value),
            "none": True,
        }
        if not allowed.get(self.kind, False):
            msg = (
                f"smoothing must be ema:A with 0 < A <= 1, mean:K with K from 1 to {_MAX_MEAN}, or none, "
                f"got {self.kind}:{self.value:g}"
            )
            raise UsageError(msg)

    @classmethod
    def parse(cls, text: str) -> Smoothing:
        """Reads ``ema:0.6``, ``mean:5`` or ``none``.

        Raises:
            UsageError: ``text`` is none of these, or its number is out of range.
        """
        kind, colon, number = text.strip().partition(":")
        try:
            if bool(colon) == (kind == "none"):
                raise ValueError(text)
            return cls(kind=kind, value=float(number) if colon else 1.0)
        except ValueError as error:
            msg = f"smoothing must be ema:A such as ema:0.6, mean:K such as mean:5, or none, got {text!r}"
            raise UsageError(msg) from error

    def start(self) -> Smoother:
        """A smoother for one source."""
        if self.kind == "ema":
            return _Ema(self.value)
        return _Mean(int(self.value) if self.kind == "mean" else 1)

    def __str__(self) -> str:
        return self.kind if self.kind == "none" else f"{self.kind}:{self.value:g}"


class _Ema:
    def __init__(self, weight: float) -> None:
        self._weight = weight
        self._scores: Scores | None = None

    def update(self, scores: Scores) -> Scores:
        before = scores if self._scores is None else self._scores
        self._scores = self._weight * scores + (1 - self._weight) * before
        return self._scores

    def reset(self) -> None:
        self._scores = None


class _Mean:
    def __init__(self, count: int) -> None:
        self._last: deque[Scores] = deque(maxlen=count)

    def update(self, scores: Scores) -> Scores:
        self._last.append(scores)
        mean: Scores = np.mean(self._last, axis=0)
        return mean

    def reset(self) -> None:
        self._last.clear()

"""What every integer quantizer offers, whatever it quantizes for: recipes, and layers that can be returned to float.

A recipe is one way to quantize, such as a preset of a library. Which one is fastest, and whether the target's compiler
takes it at all, is found by trying (``search``); which layers cost accuracy, by returning them to float (``gate``).
"""

from __future__ import annotations

import abc
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.statistics import Interval

__all__ = ["Drop", "Judge", "Quantizer"]


@dataclass(frozen=True, kw_only=True)
class Drop:
    """How much top-1 an integer form loses, on the same videos."""

    n: int
    float_top1: float
    """Of the network in float, in [0, 1]."""
    top1: float
    interval: Interval
    """95 % of the loss, as a fraction."""

    @property
    def points(self) -> float:
        """Percentage points lost; below zero where the integer form does better."""
        # One video of a hundred is one point, and not a bit more: the difference of two fractions is not exact.
        return round(100 * (self.float_top1 - self.top1), 6)

    def __str__(self) -> str:
        low, high = 100 * self.interval.low, 100 * self.interval.high
        loss = f"a drop of {self.points:.1f} points ({low:.1f} to {high:.1f})"
        return f"top-1 {100 * self.top1:.1f} %, in float {100 * self.float_top1:.1f} %: {loss}, n = {self.n}"

    def to_dict(self) -> dict[str, Any]:
        """In percent and points, as plain JSON values."""
        return {
            "n": self.n,
            "float_top1": round(100 * self.float_top1, 3),
            "top1": round(100 * self.top1, 3),
            "drop_points": round(self.points, 3),
            "drop_low": round(100 * self.interval.low, 3),
            "drop_high": round(100 * self.interval.high, 3),
        }


class Judge(Protocol):
    """What decides whether an integer form may stand for its network."""

    def complaint(self, session: Session) -> str | None:
        """What is wrong with the logits of an open session; None if they agree with the network's."""

    def drop(self, session: Session) -> Drop:
        """The loss of top-1 of an open session.

        Raises:
            UsageError: there is no data to tell.
        """


class Quantizer(abc.ABC):
    """Makes integer forms of one network for one target.

    Attributes:
        recipes: ways to quantize, all of which are worth trying.
    """

    recipes: tuple[str, ...]

    @abc.abstractmethod
    def layers(self, recipe: str) -> tuple[str, ...]:
        """Names of the layers that a recipe quantizes, in the order in which they run."""

    @abc.abstractmethod
    def write(self, recipe: str, folder: Path, *, floats: Collection[str] = ()) -> Path:
        """Writes an integer form.

        Args:
            recipe: one of ``recipes``.
            folder: where to.
            floats: layers that stay in float.

        Returns:
            The file that a runtime opens.
        """

    @abc.abstractmethod
    def session(self, path: Path) -> Session:
        """A session, not yet open, for what ``write`` wrote."""

    @abc.abstractmethod
    def describe(self, recipe: str) -> dict[str, Any]:
        """Method and ranges of activations, for ``calib.json``."""

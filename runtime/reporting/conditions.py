"""Bounds on what a report found, as a user writes them: ``p95<40ms,drop<1`` and ``top1=70,p95=40ms``.

A bound is judged by the 95 % interval of what it bounds, so that a few videos cannot pass what many would not:

    drop < 1    ├──────●──────┤              shown
                    ├──────●──────┤          not shown: it may lie on either side
                              ├──●──┤        refuted
    points     −1      0      1      2
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import UsageError

__all__ = ["QUANTITIES", "By", "Condition", "Finding", "Quantity", "check_known", "parse_fail_under", "parse_slo"]

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_PATTERN = re.compile(r"([a-z0-9_/]+)\s*(<=|>=|<|>|=)\s*(-?\d+(?:\.\d+)?)\s*([a-z%/]*)")


class Finding(Enum):
    """What a measurement says of a bound."""

    SHOWN = "shown"
    NOT_SHOWN = "not shown"
    REFUTED = "refuted"


class By(Enum):
    """What a bound is judged by."""

    BOUND = "bound"
    """The end of the 95 % interval that is worse for it."""
    ESTIMATE = "estimate"
    """The value that was measured, however uncertain."""

    @classmethod
    def parse(cls, text: str) -> By:
        """Reads ``bound`` or ``estimate``.

        Raises:
            UsageError: it is neither.
        """
        if text not in {each.value for each in cls}:
            msg = f"`by` must be bound, which is the worse end of the 95 % interval, or estimate; got {text!r}"
            raise UsageError(msg)
        return cls(text)


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """Something that a report measures and a condition can bound."""

    key: str
    """Its name among a row's metrics."""
    unit: str
    units: Mapping[str, float]
    """Units that a user may write, with the factor to ``unit``; none is ``unit``."""
    higher_is_better: bool
    about_accuracy: bool = False
    about_speed: bool = False
    """Whether a busy machine makes it worse."""
    needs_labels: bool = False
    """Whether it is not known of videos without labels."""


def _latency(key: str) -> Quantity:
    return Quantity(key=key, unit="ms", units={"ms": 1, "s": 1000}, higher_is_better=False, about_speed=True)


def _accuracy(key: str, *, needs_labels: bool = True) -> Quantity:
    return Quantity(
        key=key, unit="%", units={"%": 1}, higher_is_better=True, about_accuracy=True, needs_labels=needs_labels
    )


def _megabytes(key: str) -> Quantity:
    return Quantity(key=key, unit="MB", units={"mb": 1, "gb": 1000}, higher_is_better=False)


QUANTITIES: Final[dict[str, Quantity]] = {
    "top1": _accuracy("top1"),
    "top5": _accuracy("top5"),
    "agreement": _accuracy("agreement", needs_labels=False),
    "drop": Quantity(
        key="drop",
        unit="points",
        units={"%": 1, "points": 1},
        higher_is_better=False,
        about_accuracy=True,
        needs_labels=True,
    ),
    "p50": _latency("p50_ms"),
    "p95": _latency("p95_ms"),
    "p99": _latency("p99_ms"),
    "clips/s": Quantity(
        key="clips_per_second", unit="clips/s", units={"clips/s": 1}, higher_is_better=True, about_speed=True
    ),
    "cost": Quantity(key="ms_per_second", unit="ms/s", units={"ms/s": 1}, higher_is_better=False, about_speed=True),
    "memory": _megabytes("peak_memory_mb"),
    "size": _megabytes("size_mb"),
}
"""What a condition may name."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """A bound of ``slo`` or ``fail_under``, such as ``p95<40ms``."""

    name: str
    """Key of ``QUANTITIES``."""
    comparison: str
    """<, <=, > or >=."""
    bound: float
    """In the quantity's unit."""

    @property
    def quantity(self) -> Quantity:
        """What is bounded."""
        return QUANTITIES[self.name]

    @property
    def asks_for_better(self) -> bool:
        """Whether it bounds a quantity from its bad side, as bounds mostly do."""
        return self.comparison.startswith(">") == self.quantity.higher_is_better

    def holds(self, value: float) -> bool:
        """Whether a value meets it."""
        return _OPERATORS[self.comparison](value, self.bound)

    def judge(self, metrics: Mapping[str, float | None], *, by: By = By.BOUND) -> Finding:
        """What a row's metrics say of it; of a value that is not known, nothing is shown.

        Args:
            metrics: values, and of those that have an interval its ends as ``<key>_low`` and ``<key>_high``.
            by: the interval, or the value alone.
        """
        ends = self._ends(metrics) if by is By.BOUND else [metrics.get(self.quantity.key)]
        held = {self.holds(end) for end in ends if end is not None}
        if len(held) != 1:
            return Finding.NOT_SHOWN
        return Finding.SHOWN if held == {True} else Finding.REFUTED

    def explain(self, metrics: Mapping[str, float | None]) -> str:
        """The value found beside the bound, such as ``drop is 0.33 (-0.91 to 1.87) points, wanted < 1 points``."""
        value, unit = metrics.get(self.quantity.key), self.quantity.unit
        ends = [f"{end:.2f}" for end in self._ends(metrics) if end is not None]
        interval = f" ({' to '.join(ends)})" if len(set(ends)) > 1 else ""
        found = "is not known" if value is None else f"is {value:.2f}{interval} {unit}"
        return f"{self.name} {found}, wanted {self.comparison} {self.bound:g} {unit}"

    def _ends(self, metrics: Mapping[str, float | None]) -> list[float | None]:
        """Of the 95 % interval; the value alone where there is none."""
        key = self.quantity.key
        ends = [metrics.get(f"{key}_{end}") for end in ("low", "high")]
        return [metrics.get(key)] if None in ends else ends

    def __str__(self) -> str:
        return f"{self.name} {self.comparison} {self.bound:g} {self.quantity.unit}"


def parse_slo(text: str) -> tuple[Condition, ...]:
    """Reads ``p95<40ms,drop<1``.

    Raises:
        UsageError: it is not of this form, or names an unknown quantity or unit.
    """
    return tuple(_parse(part, text, option="slo", example="p95<40ms,drop<1") for part in text.split(","))


def parse_fail_under(text: str) -> tuple[Condition, ...]:
    """Reads ``top1=70,p95=40ms``: at least 70 % top-1, at most 40 ms.

    Raises:
        UsageError: it is not of this form, or names an unknown quantity or unit.
    """
    return tuple(_parse(part, text, option="fail_under", example="top1=70,p95=40ms") for part in text.split(","))


def check_known(conditions: Sequence[Condition], data: Videos) -> None:
    """Whether all that is bounded can be measured on ``data``.

    Raises:
        UsageError: it takes labels, which ``data`` has not.
    """
    unknown = dict.fromkeys(each.name for each in conditions if each.quantity.needs_labels)
    if unknown and not isinstance(data, LabeledVideos):
        msg = (
            f"a bound on {' and '.join(unknown)} needs videos with labels, and those of {data.name} have none; bound "
            "agreement instead, or give `data` as a folder of class folders or a list of 'path label' lines"
        )
        raise UsageError(msg)


def _parse(part: str, text: str, *, option: str, example: str) -> Condition:
    match = _PATTERN.fullmatch(part.strip().lower())
    wants_equals = option == "fail_under"
    if not match or (match[2] == "=") != wants_equals:
        msg = f"`{option}` must look like {example!r}, got {text!r}"
        raise UsageError(msg)
    name, comparison, number, unit = match.groups()
    if name not in QUANTITIES:
        msg = f"`{option}` knows no {name!r}; it takes {', '.join(QUANTITIES)}"
        raise UsageError(msg)
    quantity = QUANTITIES[name]
    if unit and unit not in quantity.units:
        msg = f"`{option}`: {name} is given in {' or '.join(quantity.units)}, got {unit!r}"
        raise UsageError(msg)
    if wants_equals:
        comparison = ">=" if quantity.higher_is_better else "<="
    return Condition(name=name, comparison=comparison, bound=float(number) * quantity.units.get(unit, 1))

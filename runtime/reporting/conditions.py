"""Bounds on what a report found, as a user writes them: ``p95<40ms,drop<1`` and ``top1=70,p95=40ms``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import UsageError

__all__ = ["QUANTITIES", "Condition", "Quantity", "check_known", "parse_fail_under", "parse_slo"]

_OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_PATTERN = re.compile(r"([a-z0-9_/]+)\s*(<=|>=|<|>|=)\s*(-?\d+(?:\.\d+)?)\s*([a-z%/]*)")


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
    needs_labels: bool = False
    """Whether it is not known of videos without labels."""


def _latency(key: str) -> Quantity:
    return Quantity(key=key, unit="ms", units={"ms": 1, "s": 1000}, higher_is_better=False)


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
    "clips/s": Quantity(key="clips_per_second", unit="clips/s", units={"clips/s": 1}, higher_is_better=True),
    "cost": Quantity(key="ms_per_second", unit="ms/s", units={"ms/s": 1}, higher_is_better=False),
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

    def holds(self, metrics: Mapping[str, float | None]) -> bool:
        """Whether a row meets it; a value that is not known does not."""
        value = metrics.get(self.quantity.key)
        return value is not None and _OPERATORS[self.comparison](value, self.bound)

    def explain(self, metrics: Mapping[str, float | None]) -> str:
        """The value found beside the bound, such as ``p95 is 51.2 ms, wanted < 40 ms``."""
        value, unit = metrics.get(self.quantity.key), self.quantity.unit
        found = "is not known" if value is None else f"is {value:.2f} {unit}"
        return f"{self.name} {found}, wanted {self.comparison} {self.bound:g} {unit}"

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

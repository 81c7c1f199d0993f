"""Two reports of the same artifacts, before and after: what became worse, and whether that is shown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Final

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.reporting.measuring.latency import SAME_ARTIFACT
from s2tf_edge.runtime.reporting.saved import SavedReport, SavedRow
from s2tf_edge.runtime.statistics import mcnemar_p, paired_difference_interval
from s2tf_edge.words import counted, first_few

__all__ = ["Comparison", "Difference", "compare_reports"]

_MEMORY: Final = 1.1
"""Of the peak: less differs from run to run."""
_NOT_TOLD: Final = "not told"
"""Begins a finding that is none, before the reason."""
_OF_COST: Final = ("device", "threads", "hint")
"""Settings that latency and memory depend on."""

_Pairs = Sequence[tuple[bool, bool]]
"""Whether the old and the new answer to each video is right."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One quantity of one artifact, old and new."""

    artifact: str
    quantity: str
    unit: str
    old: float
    new: float
    change: str
    """In words, with its interval."""
    finding: str
    """``regression``, ``improvement``, ``no change shown``, or why nothing can be told."""

    @property
    def is_regression(self) -> bool:
        """Whether it is shown to be worse."""
        return self.finding == "regression"

    @property
    def is_told(self) -> bool:
        """Whether the two can be compared."""
        return not self.finding.startswith(_NOT_TOLD)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "artifact": self.artifact,
            "quantity": self.quantity,
            "unit": self.unit,
            "old": self.old,
            "new": self.new,
            "change": self.change,
            "finding": self.finding,
        }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that two reports have in common."""

    old: SavedReport
    new: SavedReport
    differences: tuple[Difference, ...]
    gone: tuple[str, ...]
    """Artifacts that ran in the old one alone."""
    added: tuple[str, ...]

    @property
    def regressions(self) -> tuple[Difference, ...]:
        """What is shown to be worse."""
        return tuple(each for each in self.differences if each.is_regression)

    @property
    def verdict(self) -> str:
        """One sentence."""
        bad = [f"{each.quantity} of {each.artifact}" for each in self.regressions]
        untold = [f"{each.quantity} of {each.artifact}" for each in self.differences if not each.is_told]
        artifacts = counted(len({each.artifact for each in self.differences}), "artifact")
        says = [
            f"{counted(len(bad), 'regression')}: {first_few(bad)}" if bad else f"no regression is shown in {artifacts}",
            f"{_NOT_TOLD}: {first_few(untold, 3)}" if untold else "",
            f"gone: {first_few(self.gone, 3)}" if self.gone else "",
        ]
        return "; ".join(filter(None, says))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "schema_version": 1,
            "verdict": self.verdict,
            "old": str(self.old.path),
            "new": str(self.new.path),
            "differences": [each.to_dict() for each in self.differences],
            "gone": list(self.gone),
            "added": list(self.added),
        }


def compare_reports(old: SavedReport, new: SavedReport) -> Comparison:
    """Compares the artifacts that both have by name: top-1 where the videos have labels, latency and memory.

    Top-1 is compared video by video where both scored the same with as many views, with the paired interval; p50 by the
    intervals of both, on machines that were quiet, of the same processor, with the same settings. Videos are the same
    by their paths or, where the data lies elsewhere, by their names.

    Raises:
        UsageError: no artifact ran in both.
    """
    names = [name for name in old.rows if name in new.rows]
    if not names:
        msg = (
            f"{old.path} and {new.path} have no artifact in common: {first_few(list(old.rows), 3)}; "
            f"{first_few(list(new.rows), 3)}; give reports of artifacts with the same names"
        )
        raise UsageError(msg)
    found: list[Difference] = []
    others = _name_others(old, new, _OF_COST)
    for name in names:
        before, after = old.rows[name], new.rows[name]
        if old.has_labels and new.has_labels:
            found += _compare_top1(before, after, why_not=_name_others(old, new, ["views"]))
        found += _compare_latency(before, after, why_not=_why_no_speed(old, new) or others)
        found += _compare_memory(before, after, why_not=others)
    return Comparison(
        old=old,
        new=new,
        differences=tuple(found),
        gone=tuple(name for name in old.rows if name not in new.rows),
        added=tuple(name for name in new.rows if name not in old.rows),
    )


def _why_no_speed(old: SavedReport, new: SavedReport) -> str:
    if old.machine != new.machine:
        return f"{_NOT_TOLD}: other machine"
    busy = [name for name, report in (("old", old), ("new", new)) if report.busy]
    return f"{_NOT_TOLD}: busy machine ({' and '.join(busy)})" if busy else ""


def _name_others(old: SavedReport, new: SavedReport, names: Sequence[str]) -> str:
    """Settings that differ, where both have them."""
    pairs = {
        name: (old.settings[name], new.settings[name])
        for name in names
        if name in old.settings and name in new.settings
    }
    others = [f"{name} ({one} and {other})" for name, (one, other) in pairs.items() if one != other]
    return f"{_NOT_TOLD}: other {', '.join(others)}" if others else ""


def _pair_answers(before: SavedRow, after: SavedRow) -> _Pairs:
    """Of the videos that both scored: those of the same path, or of the same name where no path is the same."""
    for place in (str, lambda path: PurePath(path).name):
        first, second = _place_answers(before, place), _place_answers(after, place)
        common = [key for key in first if key in second]
        if common:
            return [(first[key] == key[1], second[key] == key[1]) for key in common]
    return []


def _place_answers(row: SavedRow, place: Callable[[str], str]) -> dict[tuple[str, str | None], str]:
    """Answers to videos with a class, by place and class, where there is one such video."""
    keys = [(place(name), true) for name, true in row.answers]
    counts = Counter(keys)
    return {
        key: said
        for key, said in zip(keys, row.answers.values(), strict=True)
        if key[1] is not None and counts[key] == 1
    }


def _compare_top1(before: SavedRow, after: SavedRow, *, why_not: str) -> Sequence[Difference]:
    right = _pair_answers(before, after)
    if why_not or not right:
        return _leave_top1(before, after, why_not or f"{_NOT_TOLD}: other videos")
    n, lost, won = len(right), right.count((True, False)), right.count((False, True))
    interval = paired_difference_interval(only_first=lost, only_second=won, n=n)
    points = 100 * (won - lost) / n
    finding = "regression" if interval.low > 0 else "improvement" if interval.high < 0 else "no change shown"
    return (
        Difference(
            artifact=before.name,
            quantity="top-1",
            unit="%",
            old=100 * sum(first for first, _ in right) / n,
            new=100 * sum(second for _, second in right) / n,
            change=f"{points:+.1f} points ({-100 * interval.high:+.1f} to {-100 * interval.low:+.1f}), n = {n}, "
            f"p = {mcnemar_p(only_first=lost, only_second=won):.2g}",
            finding=finding,
        ),
    )


def _leave_top1(before: SavedRow, after: SavedRow, why_not: str) -> Sequence[Difference]:
    """What both say, which is not the same thing."""
    old, new = before.number("top1"), after.number("top1")
    if old is None or new is None:
        return ()
    change = f"{new - old:+.1f} points"
    return (
        Difference(artifact=before.name, quantity="top-1", unit="%", old=old, new=new, change=change, finding=why_not),
    )


def _compare_latency(before: SavedRow, after: SavedRow, *, why_not: str) -> Sequence[Difference]:
    """The ratio of two medians from two runs: in logarithms, the widths of both intervals add up as squares."""
    old, new = before.number("p50_ms"), after.number("p50_ms")
    if not old or not new:
        return ()
    width = math.hypot(_half_width(before), _half_width(after)) + math.log1p(SAME_ARTIFACT)
    ratio = new / old
    low, high = ratio * math.exp(-width), ratio * math.exp(width)
    if math.isinf(width):
        why_not = why_not or f"{_NOT_TOLD}: too few rounds"
    finding = why_not or ("regression" if low > 1 else "improvement" if high < 1 else "no change shown")
    interval = "" if math.isinf(width) else f" ({100 * (low - 1):+.1f} to {100 * (high - 1):+.1f})"
    return (
        Difference(
            artifact=before.name,
            quantity="p50",
            unit="ms",
            old=old,
            new=new,
            change=f"{100 * (ratio - 1):+.1f} %{interval}",
            finding=finding,
        ),
    )


def _half_width(row: SavedRow) -> float:
    low, high = row.number("p50_ms_low"), row.number("p50_ms_high")
    return math.log(high / low) / 2 if low and high and high >= low > 0 else math.inf


def _compare_memory(before: SavedRow, after: SavedRow, *, why_not: str) -> Sequence[Difference]:
    old, new = before.number("peak_memory_mb"), after.number("peak_memory_mb")
    if not old or not new:
        return ()
    worse, better = new > _MEMORY * old, old > _MEMORY * new
    return (
        Difference(
            artifact=before.name,
            quantity="memory",
            unit="MB",
            old=old,
            new=new,
            change=f"{100 * (new / old - 1):+.1f} %",
            finding=why_not or ("regression" if worse else "improvement" if better else "no change shown"),
        ),
    )

"""The three things that a reader of a report wants first: what to use, how fast it is, what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from s2tf_edge.runtime.reporting.build import Report
from s2tf_edge.runtime.reporting.conditions import By, Condition
from s2tf_edge.runtime.reporting.rows import Row
from s2tf_edge.runtime.reporting.verdict import brief, choose, describe_times
from s2tf_edge.words import counted

__all__ = ["Tile", "make_tiles"]


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A title, the answer, and how sure it is."""

    title: str
    value: str
    note: str
    tone: str = ""
    """``good``, ``bad``, or neither."""

    def to_dict(self) -> dict[str, str]:
        """As plain JSON values."""
        return {"title": self.title, "value": self.value, "note": self.note, "tone": self.tone}


def make_tiles(report: Report, slo: Sequence[Condition] = (), *, by: By = By.BOUND) -> tuple[Tile, ...]:
    """What to use, how fast it is with its spread, and what it costs and whether that is shown."""
    wanted = " and ".join(map(str, slo))
    if not slo:
        row = min(report.measured, key=report.cost_of)
        first = Tile(title="The fastest", value=row.name, note=_others(report))
    elif (winner := choose(report, slo, by=by)) is not None:
        row = winner
        first = Tile(
            title="Use", value=row.name, note=f"shown to meet {wanted}" if by is By.BOUND else wanted, tone="good"
        )
    else:
        none = Tile(title="Use", value="none", note=f"none is shown to meet {wanted}", tone="bad")
        return (none, _speed(report, report.measured[0]), _cost(report, report.measured[0]))
    return (first, _speed(report, row), _cost(report, row))


def _others(report: Report) -> str:
    count = len(report.measured)
    return "the only one" if count == 1 else f"of {count}; a bound such as p95<40ms,drop<1 would choose by accuracy too"


def _speed(report: Report, row: Row) -> Tile:
    metrics = row.metrics
    step = row.measured is not None and row.measured.info.step is not None
    spread = _range(metrics["p50_ms_low"], metrics["p50_ms_high"], "ms")
    notes = [f"p50 of {row.name}{f', {spread}' if spread else ''}"]
    if row.speedup is not None and report.baseline is not None:
        notes.append(f"{describe_times(row.speedup)} as fast as {report.baseline.name}")
    elif not row.is_baseline and report.no_ratios:
        notes.append(f"no ratio: {report.no_ratios}")
    return Tile(
        title="Speed",
        value=f"{brief(metrics['p50_ms'] or 0.0)} ms a {'step' if step else 'clip'}",
        note="; ".join(notes),
    )


def _cost(report: Report, row: Row) -> Tile:
    metrics, drop = row.metrics, row.drop
    if row.measured is not None and row.measured.accuracy is None:
        return _agreement(report, row)
    if drop is None:
        videos, interval = int(metrics["n"] or 0), _range(metrics["top1_low"], metrics["top1_high"], "%")
        note = f"top-1 of {row.name} on {counted(videos, 'video')}, {interval}"
        return Tile(title="Accuracy", value=f"{metrics['top1']:.1f} %", note=note)
    tone = "bad" if drop.low > 0 else "good" if drop.high < 0 else ""
    told = {"bad": "a drop is shown", "good": "a gain is shown"}.get(tone, "too few videos to tell it from none")
    interval = f"95 % interval {drop.low:+.1f} to {drop.high:+.1f}, {counted(drop.n, 'video')}"
    note = f"{interval}: {told}, against {_baseline(report)}"
    note += f"; it {row.overlap}" if row.overlap else ""
    return Tile(title="Cost", value=f"{drop.points + 0.0:.1f} points of top-1", note=note, tone=tone)


def _agreement(report: Report, row: Row) -> Tile:
    same = row.agreement
    if same is None:
        return Tile(title="Accuracy", value="no labels", note="give videos with labels to learn top-1")
    note = f"with {_baseline(report)} on {counted(same.n, 'video')}; {_range(same.low, same.high, '%')}"
    return Tile(title="Agreement", value=f"{same.percent:.1f} %", note=note)


def _baseline(report: Report) -> str:
    return report.baseline.name if report.baseline else "the baseline"


def _range(low: float | None, high: float | None, unit: str) -> str:
    return "" if low is None or high is None else f"95 % interval {brief(low)} to {brief(high)} {unit}"

"""The files of a report: HTML, Markdown, JSON and CSV, made from its templates."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s2tf_edge.extras import require
from s2tf_edge.runtime.reporting.build import Report
from s2tf_edge.runtime.reporting.conditions import By, Condition
from s2tf_edge.runtime.reporting.figures import (
    Times,
    class_drops_svg,
    layers_svg,
    parts_svg,
    reliability_svg,
    times_svg,
)
from s2tf_edge.runtime.reporting.plot import LATENCY, Point, scatter_svg
from s2tf_edge.runtime.reporting.rendering import render
from s2tf_edge.runtime.reporting.rows import Row
from s2tf_edge.runtime.reporting.svg import to_element
from s2tf_edge.runtime.reporting.tiles import make_tiles
from s2tf_edge.runtime.reporting.verdict import choose, judge_one, report_command, shortfalls, stream_command, verdict
from s2tf_edge.text_file import create_text, write_json, write_text
from s2tf_edge.words import first_few

__all__ = ["SCHEMA_VERSION", "ClassRow", "report_values", "require_report_extra", "tabulate_classes", "write_report"]

SCHEMA_VERSION: Final = 1
"""Of ``report.json``: a name that goes, or means something else, makes it another."""
_FIRST_CLASSES: Final = 12
_FIGURES: Final = {
    "accuracy-latency": "Accuracy against latency",
    "times": "How long predictions took",
    "class-drops": "What classes lose",
    "layers": "Layers by precision",
    "profile": "Where the time goes",
    "reliability": "How sure is how right",
}
"""What each shows, by the name of its file."""


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """A row of the table of classes."""

    label: str
    n: int
    baseline: float
    """Top-1 of the baseline in percent."""
    drops: tuple[float | None, ...]
    """Percentage points that each other artifact that ran loses on it; None where it scored no video of it."""

    @property
    def worst(self) -> float:
        """The largest drop."""
        return max((drop for drop in self.drops if drop is not None), default=0.0)


def require_report_extra() -> None:
    """Fails early, before minutes of measuring.

    Raises:
        MissingExtraError: jinja2, matplotlib, adjustText or psutil is not installed.
    """
    for module in ("jinja2", "matplotlib", "adjustText", "psutil"):
        require(module, extra="report", purpose="writing a report")


def report_values(report: Report, *, slo: Sequence[Condition] = (), by: By = By.BOUND) -> dict[str, Any]:
    """What ``report.json`` holds: the report with its verdict, winner and commands."""
    winner = choose(report, slo, by=by) if slo else None
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict(report, slo, by=by),
        "slo": [str(condition) for condition in slo],
        "by": by.value,
        "findings": {
            row.name: [
                {"bound": str(condition), "finding": judge_one(row, condition, by=by).value} for condition in slo
            ]
            for row in report.measured
        },
        "winner": winner.name if winner else None,
        "run": stream_command(winner, threads=report.options.session.threads) if winner and winner.can_stream else None,
        "command": report_command(report),
        "tiles": [tile.to_dict() for tile in make_tiles(report, slo, by=by)],
        **report.to_dict(),
    }


def write_report(report: Report, folder: Path, *, slo: Sequence[Condition] = (), by: By = By.BOUND) -> None:
    """Writes ``report.html``, ``.md``, ``.json`` and ``.csv``, and each figure as SVG, into an existing folder.

    Raises:
        MissingExtraError: jinja2, matplotlib or adjustText is not installed.
    """
    values = report_values(report, slo=slo, by=by)
    write_json(folder / "report.json", values)
    _write_csv(values["artifacts"], folder / "report.csv")
    shown = {
        "report": report,
        "values": values,
        "shortfalls": shortfalls(report, slo, by=by),
        "skipped_videos": first_few(report.skipped_videos, 3, separator="; "),
        "classes": tabulate_classes(report),
        "confusions": {
            row.name: row.measured.accuracy.to_dict()["confusion"]
            for row in report.measured
            if row.measured and row.measured.accuracy
        },
        "has_energy": any(row.metrics.get("joules") is not None for row in report.rows),
        "first_classes": _FIRST_CLASSES,
    }
    figures = _draw_figures(report, values)
    (folder / "figures").mkdir(exist_ok=True)
    for name, svg in figures.items():
        write_text(folder / "figures" / f"{name}.svg", svg)
    inside = {name: to_element(svg, label=_FIGURES[name]) for name, svg in figures.items()}
    write_text(folder / "report.html", render("report.html.j2", figures=inside, **shown))
    write_text(folder / "report.md", render("report.md.j2", **shown))


def _draw_figures(report: Report, values: dict[str, Any]) -> dict[str, str]:
    """The text of an SVG file each; those that would show nothing are left out."""
    figures = {}
    if report.has_labels:
        figures["accuracy-latency"] = scatter_svg(*_scatter(report))
    figures["times"] = times_svg(_times(report, values))
    classes = tabulate_classes(report)[:_FIRST_CLASSES]
    if classes:
        others = [row.name for row in report.measured if not row.is_baseline]
        drops = {name: [each.drops[index] for each in classes] for index, name in enumerate(others)}
        figures["class-drops"] = class_drops_svg([each.label for each in classes], drops)
    layers = {row.name: row.facts.layers for row in report.rows if row.facts.layers}
    if layers:
        figures["layers"] = layers_svg(layers)
    profiles = {row.name: row.measured.profile for row in report.rows if row.measured and row.measured.profile}
    if profiles:
        figures["profile"] = parts_svg({name: profile.parts for name, profile in profiles.items()})
    sure = {row.name: row.confidence for row in report.measured if row.confidence}
    if sure:
        figures["reliability"] = reliability_svg(sure)
    return figures


def _times(report: Report, values: dict[str, Any]) -> list[Times]:
    found = values["times"]
    ends = {"low_ms": found["low_ms"], "high_ms": found["high_ms"]}
    numbers = {row.name: row.measured.latency for row in report.rows if row.measured}
    return [
        Times(name=name, counts=tuple(counts), p50_ms=numbers[name].p50_ms, p95_ms=numbers[name].p95_ms, **ends)
        for name, counts in found["counts"].items()
    ]


def tabulate_classes(report: Report) -> list[ClassRow]:
    """Every class that the baseline scored, the worst losses first; empty without labels, a baseline or others."""
    baseline = report.baseline.measured if report.baseline else None
    others = [row.measured.accuracy for row in report.measured if row.measured and not row.is_baseline]
    theirs = [other.per_class for other in others if other is not None]
    if baseline is None or baseline.accuracy is None or not theirs:
        return []
    rows = []
    for label, part in baseline.accuracy.per_class.items():
        drops = tuple(part.percent - their[label].percent if label in their else None for their in theirs)
        rows.append(ClassRow(label=label, n=part.n, baseline=part.percent, drops=drops))
    return sorted(rows, key=lambda row: (-row.worst, row.label))


def _scatter(report: Report) -> tuple[list[Point], str]:
    """The points of the plot, and what its axis of time shows."""
    steps = any(row.measured and row.measured.info.step for row in report.rows)
    what = LATENCY.replace("clip", "step") if steps else LATENCY
    if report.by_second:
        what = "computing for a second of video at each artifact's hop, median with its 95 % interval, in ms"
    return [_point(report, row) for row in report.measured], what


def _point(report: Report, row: Row) -> Point:
    metrics = row.metrics
    numbers = {key: float(metrics[key] or 0) for key in ("p50_ms", "top1", "top1_low", "top1_high")}
    scale = report.cost_of(row) / numbers["p50_ms"]
    ends = [metrics[f"p50_ms_{end}"] or numbers["p50_ms"] for end in ("low", "high")]
    numbers |= {"p50_ms": scale * numbers["p50_ms"], "p50_low": scale * ends[0], "p50_high": scale * ends[1]}
    return Point(
        name=row.name,
        runtime=str(row.measured.runtime.get("backend", "")) if row.measured else "",
        precision=row.measured.info.precision if row.measured else "",
        size_mb=row.facts.size_mb or 0.0,
        on_front=row.on_front,
        is_baseline=row.is_baseline,
        **numbers,
    )


def _write_csv(artifacts: Sequence[dict[str, Any]], path: Path) -> None:
    """A row an artifact: everything in ``report.json`` that is one value, and what the runtime says of itself."""
    rows = [
        {key: value for key, value in artifact.items() if not isinstance(value, (dict, list))}
        | {f"runtime_{key}": value for key, value in artifact.get("runtime", {}).items()}
        for artifact in artifacts
    ]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with create_text(path) as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)

"""The files of a report: HTML, Markdown, JSON and CSV, made from its templates."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s2tf_edge.extras import require
from s2tf_edge.runtime.reporting.build import Report, Row
from s2tf_edge.runtime.reporting.conditions import By, Condition
from s2tf_edge.runtime.reporting.plot import LATENCY, Point, scatter_svg
from s2tf_edge.runtime.reporting.verdict import choose, judge_one, report_command, shortfalls, stream_command, verdict
from s2tf_edge.words import first_few, one_line

__all__ = ["SCHEMA_VERSION", "ClassRow", "report_values", "require_report_extra", "tabulate_classes", "write_report"]

SCHEMA_VERSION: Final = 1
"""Of ``report.json``: a name that goes, or means something else, makes it another."""
_FIRST_CLASSES: Final = 12
_MARKDOWN_SPECIAL: Final = "\\`*_[]<>|#$~"


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
        "run": stream_command(winner, threads=report.options.session.threads) if winner else None,
        "command": report_command(report),
        **report.to_dict(),
    }


def write_report(report: Report, folder: Path, *, slo: Sequence[Condition] = (), by: By = By.BOUND) -> None:
    """Writes ``report.html``, ``report.md``, ``report.json`` and ``report.csv`` into an existing folder.

    Raises:
        MissingExtraError: jinja2, matplotlib or adjustText is not installed.
    """
    values = report_values(report, slo=slo, by=by)
    text = json.dumps(values, indent=1, ensure_ascii=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    _write_csv(values["artifacts"], folder / "report.csv")
    shown = {
        "report": report,
        "values": values,
        "shortfalls": shortfalls(report, slo, by=by),
        "skipped_videos": first_few(report.skipped_videos, 3, separator="; "),
        "classes": tabulate_classes(report),
        "has_energy": any(row.metrics.get("joules") is not None for row in report.rows),
        "first_classes": _FIRST_CLASSES,
    }
    plot = scatter_svg(*_scatter(report)) if report.has_labels else ""
    (folder / "report.html").write_text(_render("report.html.j2", plot=plot, **shown), encoding="utf-8")
    (folder / "report.md").write_text(_render("report.md.j2", **shown), encoding="utf-8")


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
        what = "computing for a second of video at each artifact's hop, median, in ms (thin line: to p95)"
    return [_point(report, row) for row in report.measured], what


def _point(report: Report, row: Row) -> Point:
    metrics = row.metrics
    numbers = {key: float(metrics[key] or 0) for key in ("p50_ms", "p95_ms", "top1", "top1_low", "top1_high")}
    scale = report.cost_of(row) / numbers["p50_ms"]
    numbers |= {key: scale * numbers[key] for key in ("p50_ms", "p95_ms")}
    return Point(name=row.name, on_front=row.on_front, is_baseline=row.is_baseline, **numbers)


def _write_csv(artifacts: Sequence[dict[str, Any]], path: Path) -> None:
    """A row an artifact: everything in ``report.json`` that is one value, and what the runtime says of itself."""
    rows = [
        {key: value for key, value in artifact.items() if not isinstance(value, dict)}
        | {f"runtime_{key}": value for key, value in artifact.get("runtime", {}).items()}
        for artifact in artifacts
    ]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _render(template: str, **shown: Any) -> str:
    jinja2 = require("jinja2", extra="report", purpose="writing a report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=template.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": _number, "signed": _signed, "md": _markdown, "breakable": _breakable, "ms": _ms}
    return str(environment.get_template(template).render(**shown))


def _breakable(text: str) -> Any:
    """Escaped for HTML, with a place to break the line after each underscore."""
    markupsafe = require("markupsafe", extra="report", purpose="writing a report")
    return markupsafe.Markup(str(markupsafe.escape(text)).replace("_", "_<wbr>"))


def _number(value: float | None, digits: int = 1) -> str:
    """Fixed decimals, a thin space between thousands; a dash for what is not known."""
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")


def _ms(value: float | None) -> str:
    """Milliseconds with about four digits."""
    return _number(value, 2 if value is None or value < 100 else 1)


def _signed(value: float | None, digits: int = 1) -> str:
    if value is None:
        return "–"
    # Rounded first: -0.04 must not become "−0.0".
    rounded = round(value, digits) + 0.0
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def _markdown(value: object) -> str:
    """Escapes text, so that a hostile name is neither HTML nor a link nor another column."""
    line = one_line(value)
    return "".join(f"\\{char}" if char in _MARKDOWN_SPECIAL else char for char in line)

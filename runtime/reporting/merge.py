"""Reports of the same artifacts from several devices, in one picture: one color a device.

Accuracy stands beside accuracy of the same videos only. Times of two machines are shown beside each other, and no ratio
is made of them: they were not measured by turns, as those of one report are.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.reporting.plot import Point, scatter_svg
from s2tf_edge.runtime.reporting.rendering import render
from s2tf_edge.runtime.reporting.saved import SavedReport, SavedRow
from s2tf_edge.runtime.reporting.svg import to_element
from s2tf_edge.runtime.statistics import pareto_front
from s2tf_edge.text_file import create_text, write_json, write_text

__all__ = ["Merged", "MergedRow", "merge_reports", "write_merged"]

_ACCURACY: Final = ("top1", "top1_low", "top1_high", "agreement")
_KEYS: Final = (
    *_ACCURACY,
    *("p50_ms", "p50_ms_low", "p50_ms_high", "p95_ms", "ms_per_second"),
    *("clips_per_second", "video_ms", "joules", "peak_memory_mb", "size_mb"),
)


@dataclass(frozen=True, kw_only=True)
class MergedRow:
    """One artifact on one device."""

    artifact: str
    device: str
    row: SavedRow | None
    """None where it could not run there."""
    skipped: str | None = None
    other_videos: bool = False
    """Whether its accuracy is of other videos than that of the first report, and so left out."""

    def number(self, key: str) -> float | None:
        """A metric; None where it is not known, or not comparable."""
        return None if self.row is None or (self.other_videos and key in _ACCURACY) else self.row.number(key)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, and a row of the CSV."""
        values: dict[str, Any] = {"artifact": self.artifact, "device": self.device, "skipped": self.skipped}
        backend, precision = self.row.form if self.row else (None, None)
        numbers = {key: self.number(key) for key in _KEYS}
        return values | {"runtime": backend, "precision": precision, "other_videos": self.other_videos} | numbers


@dataclass(frozen=True, kw_only=True)
class Merged:
    """All artifacts on all devices."""

    reports: tuple[SavedReport, ...]
    devices: tuple[str, ...]
    """What each report's device is called; unique."""
    rows: tuple[MergedRow, ...]

    @property
    def busy(self) -> tuple[str, ...]:
        """Devices that were busy while artifacts were timed."""
        return tuple(name for name, report in zip(self.devices, self.reports, strict=True) if report.busy)

    @property
    def other_videos(self) -> tuple[str, ...]:
        """Devices whose accuracy is left out, as it is of other videos than that of the first."""
        return tuple(dict.fromkeys(row.device for row in self.rows if row.other_videos))

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "schema_version": 1,
            "devices": [
                {"device": name, "report": str(report.path), "machine": report.machine, "busy": report.busy}
                | {"data": report.data, "created": report.created}
                for name, report in zip(self.devices, self.reports, strict=True)
            ],
            "rows": [row.to_dict() for row in self.rows],
        }


def merge_reports(reports: Sequence[SavedReport]) -> Merged:
    """Puts the artifacts of several reports side by side, by name.

    A device is called by its processor; where two reports are of the same, by the folder of the report too.

    Raises:
        UsageError: fewer than two reports.
    """
    if len(reports) < 2:
        msg = f"merging takes two reports or more, got {len(reports)}"
        raise UsageError(msg)
    machines = [report.machine for report in reports]
    devices = tuple(
        report.machine if machines.count(report.machine) == 1 else f"{report.machine} ({report.path.parent})"
        for report in reports
    )
    artifacts = dict.fromkeys(name for report in reports for name in [*report.rows, *report.skipped])
    first = next((report.videos for report in reports if report.videos), None)
    rows = [
        MergedRow(
            artifact=artifact,
            device=device,
            row=report.rows.get(artifact),
            skipped=report.skipped.get(artifact),
            other_videos=artifact in report.rows and report.videos not in {None, first},
        )
        for artifact in artifacts
        for device, report in zip(devices, reports, strict=True)
        if artifact in report.rows or artifact in report.skipped
    ]
    return Merged(reports=tuple(reports), devices=devices, rows=tuple(rows))


def write_merged(merged: Merged, folder: Path) -> None:
    """Writes ``merged.html``, ``merged.json``, ``merged.csv`` and the figure into an existing folder.

    Raises:
        MissingExtraError: jinja2, matplotlib or adjustText is not installed.
    """
    values = merged.to_dict()
    write_json(folder / "merged.json", values)
    with create_text(folder / "merged.csv") as file:
        writer = csv.DictWriter(file, list(values["rows"][0]))
        writer.writeheader()
        writer.writerows(values["rows"])
    points = [point for device in merged.devices for point in _points_of(merged, device)]
    figure = ""
    if points:
        svg = scatter_svg(points, joins_front=False)
        write_text(folder / "accuracy-latency.svg", svg)
        figure = to_element(svg, label="Accuracy against latency on each device")
    page = render("merged.html.j2", merged=merged, values=values, figure=figure)
    write_text(folder / "merged.html", page)


def _points_of(merged: Merged, device: str) -> list[Point]:
    """Those of a device that have a top-1; filled are those on its front."""
    rows = [each for each in merged.rows if each.device == device]
    points = [_point(each.row, device) for each in rows if each.row is not None and each.number("top1") is not None]
    front = set(pareto_front([(point.p50_ms, point.top1) for point in points]))
    return [replace(point, on_front=index in front) for index, point in enumerate(points)]


def _point(row: SavedRow, device: str) -> Point:
    p50_ms = row.number("p50_ms") or 0.0
    return Point(
        name=row.name,
        # What has a color of its own is the device here.
        runtime=device,
        precision=row.form[1],
        size_mb=row.number("size_mb") or 0.0,
        p50_ms=p50_ms,
        p50_low=row.number("p50_ms_low") or p50_ms,
        p50_high=row.number("p50_ms_high") or p50_ms,
        top1=row.number("top1") or 0.0,
        top1_low=row.number("top1_low") or 0.0,
        top1_high=row.number("top1_high") or 0.0,
        on_front=False,
    )

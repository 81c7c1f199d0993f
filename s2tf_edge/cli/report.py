"""``s2tf-report``: accuracy against latency over several artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s2tf_edge.cli.app import (
    Quiet,
    RequireSignature,
    Verbose,
    print_json,
    progress_bar,
    run,
    say,
    translate,
    version_option,
)
from s2tf_edge.cli.completions import named
from s2tf_edge.errors import UsageError
from s2tf_edge.words import printable

if TYPE_CHECKING:
    from s2tf_edge.runtime.reporting.build import Report
    from s2tf_edge.runtime.reporting.conditions import By, Condition
    from s2tf_edge.runtime.reporting.measuring.measure import MeasureOptions

__all__ = ["main", "report"]

_NAME = "s2tf-report"
_COLUMNS = {
    "top1": ("top-1 %", 1),
    "drop": ("drop", 1),
    "p50_ms": ("p50 ms", 2),
    "p95_ms": ("p95 ms", 2),
    "clips_per_second": ("clips/s", 1),
    "peak_memory_mb": ("memory MB", 0),
}
"""By metric: heading and decimals."""
_AGREEMENT = ("agreement %", 1)
_COST = ("ms a s of video", 1)
"""Where steps and clips are measured beside each other, whose predictions cannot be compared."""
_EXAMPLES = (
    "s2tf-report model.pt model_onnx_fp32 model_openvino_int8 --data clips/test",
    "s2tf-report model_openvino_* --data clips/test --threads 1 --slo 'p95<40ms,drop<1'",
    "s2tf-report model_openvino_int8 --data clips/test --fail-under 'top1=70,p95=40ms' --json",
    "s2tf-report --compare report-of-last-week new-report",
    "s2tf-report --merge jetson/report.json nuc/report.json --out devices",
)


def report(
    artifacts: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Artifact folders or model.pt files; with --compare or --merge, reports: report.json files, or their "
            "folders.",
            metavar="ARTIFACT...",
            readable=False,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="A folder of class folders, a list file, or synthetic; without labels a folder, glob or list of "
            "videos, or one video, which gives agreement and latency, and no accuracy."
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for report.html, .md, .json and .csv.")] = Path(
        "report"
    ),
    limit: Annotated[int | None, typer.Option(help="At most so many videos, spread over the data set.")] = None,
    views: Annotated[str, typer.Option(help="Clips in time x crops of each video, such as 1x1 or 10x3.")] = "1x1",
    duration: Annotated[
        float,
        typer.Option(
            help="Seconds of timed inference for each artifact, at most: fewer where all medians are known to 1 % "
            "before."
        ),
    ] = 10.0,
    warmup: Annotated[float, typer.Option(help="Seconds of inference for each artifact before that.")] = 2.0,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 lets the runtime choose.")] = 0,
    hint: Annotated[
        str,
        typer.Option(
            help="What OpenVINO is told to optimize for: latency or throughput; clips run one by one.",
            **named(("latency", "throughput")),
        ),
    ] = "latency",
    baseline: Annotated[
        str | None, typer.Option(help="Artifact to compare the others with; the first that runs unless given.")
    ] = None,
    slo: Annotated[
        str | None,
        typer.Option(
            help="Bounds, such as 'p95<40ms,drop<1': names the artifact to use; exit 6 where none is shown to meet "
            "them."
        ),
    ] = None,
    fail_under: Annotated[
        str | None,
        typer.Option(
            help="Bounds, such as 'top1=70,p95=40ms': exit 6 if an artifact that ran is not shown to meet one."
        ),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            help="What bounds are judged by: bound, the worse end of the 95 % interval where there is one, or "
            "estimate.",
            **named(("bound", "estimate")),
        ),
    ] = "bound",
    profile: Annotated[
        bool,
        typer.Option(
            "--profile", help="Also tell which layers take the time, as OpenVINO, ONNX Runtime and TensorRT count it."
        ),
    ] = False,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Compare two reports, old and new, of artifacts with the same names; exit 6 where something is shown "
            "to be worse.",
        ),
    ] = False,
    merge: Annotated[
        bool,
        typer.Option(
            "--merge", help="Put reports of several devices into one picture: merged.html, .json and .csv in --out."
        ),
    ] = False,
    require_signature: RequireSignature = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print report.json, or what was compared or merged, instead of text.")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """Compare artifacts: [bold]accuracy against latency[/bold], measured side by side.

    Bounds may name top1, top5, agreement, drop, p50, p95, p99, clips/s, cost (ms of computing for a
    second of video at the artifact's hop), memory and size.
    """
    del quiet, verbose, version  # taken by the app
    paths = artifacts or []
    if compare or merge:
        _check_reports_alone(data=data, bounds=bool(slo or fail_under), both=compare and merge)
        if compare:
            _compare(paths, json=json)
        else:
            _merge(paths, out, json=json)
        return
    if not paths or data is None:
        msg = "give one artifact or more and `data`, or two reports with `compare` or `merge`"
        raise UsageError(msg)
    from s2tf_edge.runtime.evaluation.multi_view import Views
    from s2tf_edge.runtime.reporting.conditions import By, parse_fail_under, parse_slo
    from s2tf_edge.runtime.reporting.measuring.measure import MeasureOptions
    from s2tf_edge.runtime.session import SessionOptions

    bounds = _Bounds(
        slo=parse_slo(slo) if slo else (), floor=parse_fail_under(fail_under) if fail_under else (), by=By.parse(by)
    )
    options = MeasureOptions(
        duration_seconds=duration,
        warmup_seconds=warmup,
        views=Views.parse(views),
        limit=limit,
        session=SessionOptions(threads=threads, hint=hint, require_signature=require_signature),
        profile=profile,
    )
    _measure(paths, data, out, baseline=baseline, options=options, bounds=bounds, json=json)


@dataclass(frozen=True, kw_only=True)
class _Bounds:
    """What artifacts are held against."""

    slo: Sequence[Condition]
    floor: Sequence[Condition]
    """``--fail-under``."""
    by: By


def _measure(
    paths: Sequence[Path],
    data: str,
    out: Path,
    *,
    baseline: str | None,
    options: MeasureOptions,
    bounds: _Bounds,
    json: bool,
) -> None:
    from s2tf_edge.data.datasets import open_videos
    from s2tf_edge.runtime.evaluation.output_folder import output_folder
    from s2tf_edge.runtime.reporting.build import make_report
    from s2tf_edge.runtime.reporting.conditions import check_known
    from s2tf_edge.runtime.reporting.report_files import report_values, require_report_extra, write_report

    require_report_extra()
    videos = open_videos(data)
    check_known([*bounds.slo, *bounds.floor], videos)
    with output_folder(out) as folder:
        found = make_report(paths, videos, baseline=baseline, options=options, steps=progress_bar)
        write_report(found, folder, slo=bounds.slo, by=bounds.by)
    values = report_values(found, slo=bounds.slo, by=bounds.by)
    if json:
        print_json(values)
    else:
        _print_summary(found, values, out)
    _check_bounds(found, bounds)


def _check_reports_alone(*, data: str | None, bounds: bool, both: bool) -> None:
    given = [name for name, is_given in (("data", data is not None), ("slo or fail_under", bounds)) if is_given]
    if both or given:
        what = "both" if both else f"`{'` and `'.join(given)}` beside one"
        msg = f"`compare` and `merge` read reports that were made before, and take nothing else; got {what}"
        raise UsageError(msg)


def _compare(paths: Sequence[Path], *, json: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from s2tf_edge.errors import AccuracyError
    from s2tf_edge.runtime.reporting.compare import compare_reports
    from s2tf_edge.runtime.reporting.saved import read_report

    if len(paths) != 2:
        msg = f"`compare` takes two reports, the old one and the new one, got {len(paths)}"
        raise UsageError(msg)
    found = compare_reports(*map(read_report, paths))
    if json:
        print_json(found.to_dict())
    else:
        table = Table(box=None, pad_edge=False)
        for heading in ("artifact", "", "old", "new", "change (95 %)", "finding"):
            table.add_column(heading, overflow="fold")
        for each in found.differences:
            numbers = [f"{value:.4g} {each.unit}" for value in (each.old, each.new)]
            words = (each.artifact, each.quantity, *numbers, each.change, each.finding)
            table.add_row(*(Text(printable(word)) for word in words))
        Console().print(table)
        say(found.verdict)
    if found.regressions:
        raise AccuracyError(found.verdict)


def _merge(paths: Sequence[Path], out: Path, *, json: bool) -> None:
    from s2tf_edge.runtime.evaluation.output_folder import output_folder
    from s2tf_edge.runtime.reporting.merge import merge_reports, write_merged
    from s2tf_edge.runtime.reporting.report_files import require_report_extra
    from s2tf_edge.runtime.reporting.saved import read_report

    require_report_extra()
    merged = merge_reports([read_report(path) for path in paths])
    with output_folder(out) as folder:
        write_merged(merged, folder)
    if json:
        print_json(merged.to_dict())
    else:
        if merged.other_videos:
            say(f"accuracy is of other videos, and left out, on: {printable('; '.join(merged.other_videos))}")
        say(f"{len(merged.rows)} results of {len(merged.devices)} devices: {out / 'merged.html'}")


def main() -> None:
    """Entry point of the console script."""
    run(report, name=_NAME, examples=_EXAMPLES)


def _print_summary(found: Report, values: dict[str, Any], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    columns = _COLUMNS if found.has_labels else {"agreement": _AGREEMENT, **_COLUMNS}
    columns = {**columns, "ms_per_second": _COST} if found.by_second else columns
    table.add_column("artifact", overflow="fold")
    for heading, _ in columns.values():
        table.add_column(heading, justify="right", overflow="fold")
    for row in found.measured:
        metrics = row.metrics
        numbers = [_format(key, metrics[key], digits) for key, (_, digits) in columns.items()]
        table.add_row(Text(printable(row.name)), *numbers)
    Console().print(table)
    for row in found.rows:
        if row.skipped:
            say(f"{row.name} skipped: {translate(row.skipped)}")
    for row in found.measured:
        if row.measured and row.measured.profile:
            say(f"{row.name}: {row.measured.profile.explain()}")
    say(values["verdict"])
    if values["run"]:
        say(values["run"])
    say(f"report: {out / 'report.html'}")


def _format(key: str, value: float | None, digits: int) -> str:
    if value is not None:
        return f"{value:.{digits}f}"
    return "no labels" if key == "top1" else "–"


def _check_bounds(found: Report, bounds: _Bounds) -> None:
    from s2tf_edge.errors import AccuracyError
    from s2tf_edge.runtime.reporting.verdict import choose, name_meeting, shortfalls

    slo, by = bounds.slo, bounds.by
    if slo and choose(found, slo, by=by) is None:
        meets, wanted = name_meeting(found, slo, by=by), " and ".join(map(str, slo))
        msg = f"no artifact {meets} {wanted}; {'; '.join(shortfalls(found, slo, by=by))}"
        raise AccuracyError(msg)
    missed = shortfalls(found, bounds.floor, by=by)
    if missed:
        msg = f"not shown to meet --fail-under; {'; '.join(missed)}"
        raise AccuracyError(msg)

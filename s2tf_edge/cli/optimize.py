"""``s2tf-optimize``: every form that runs here, measured in one report, and the one to use under one name."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s2tf_edge.cli.app import Quiet, Verbose, existing, print_json, progress_bar, run, say, version_option
from s2tf_edge.cli.completions import named
from s2tf_edge.cli.forms import MadeForm, make_forms, plan_forms
from s2tf_edge.errors import AccuracyError, InputFileError

if TYPE_CHECKING:
    from s2tf_edge.runtime.reporting.build import Report
    from s2tf_edge.runtime.reporting.rows import Row

__all__ = ["main", "optimize"]

_NAME = "s2tf-optimize"
_EXAMPLES = (
    "s2tf-optimize model.pt --data clips/test --calib clips/train --slo 'p95<40ms,drop<1'",
    "s2tf-optimize net.onnx --meta net.json --data clips --calib clips --targets openvino",
)


def optimize(
    model: Annotated[Path, typer.Argument(help="model.pt, or an .onnx with --meta.", metavar="MODEL", readable=False)],
    data: Annotated[str, typer.Option(help="Videos to measure on, with labels for top-1; as s2tf-report takes them.")],
    calib: Annotated[str, typer.Option(help="Videos to calibrate int8 with, others than those of --data.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for artifacts, report and winner.")] = Path(
        "optimized"
    ),
    slo: Annotated[
        str | None,
        typer.Option(
            help="Bounds, such as 'p95<40ms,drop<1': exit 6 where no form is shown to meet them. Without: the fastest "
            "form that is not shown to lose top-1."
        ),
    ] = None,
    targets: Annotated[
        str | None, typer.Option(help="onnx, openvino, trt, trt-rtx, or several by commas; default: what runs here.")
    ] = None,
    meta: Annotated[Path | None, typer.Option(help="JSON file that says what clips an .onnx takes.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many videos, spread over the data set.")] = None,
    duration: Annotated[float, typer.Option(help="Seconds of timed inference for each form, at most.")] = 10.0,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 lets the runtime choose.")] = 0,
    by: Annotated[
        str,
        typer.Option(
            help="What bounds are judged by: bound or estimate; as in s2tf-report.", **named(("bound", "estimate"))
        ),
    ] = "bound",
    json: Annotated[bool, typer.Option("--json", help="Print report.json instead of text.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """Export every form that runs here, measure all in one run, and name [bold]the one to use[/bold].

    A form that fails is skipped, and said why. What was exported before from the same network with the same options is
    kept, so the command goes on where it was interrupted. The winner is copied to OUT/best.
    """
    del verbose, version  # taken by the app
    from s2tf_edge.data.datasets import open_videos
    from s2tf_edge.export.artifact_folder import check_destination
    from s2tf_edge.runtime.evaluation.output_folder import output_folder
    from s2tf_edge.runtime.reporting.build import make_report
    from s2tf_edge.runtime.reporting.conditions import By, check_known, parse_slo
    from s2tf_edge.runtime.reporting.measuring.measure import MeasureOptions
    from s2tf_edge.runtime.reporting.report_files import report_values, require_report_extra, write_report
    from s2tf_edge.runtime.reporting.verdict import choose
    from s2tf_edge.runtime.session import SessionOptions

    # What is wrong should not be found after minutes of exporting.
    require_report_extra()
    model = _check_model(model, meta)
    check_destination(out / "best")
    forms = plan_forms(targets, calib=calib, meta=meta)
    bounds, judged_by, videos = parse_slo(slo) if slo else (), By.parse(by), open_videos(data)
    check_known(bounds, videos)
    options = MeasureOptions(duration_seconds=duration, limit=limit, session=SessionOptions(threads=threads))

    made = make_forms(model, forms, out, meta=meta, quiet=quiet)
    paths = [out / each.name for each in made if each.error is None]
    # The first, in float, was held against the network itself to 0.01 %, and stands for it.
    found = make_report(paths, videos, options=options, steps=progress_bar)
    with output_folder(out / "report") as folder:
        write_report(found, folder, slo=bounds, by=judged_by)
    values = report_values(found, slo=bounds, by=judged_by)
    winner = choose(found, bounds, by=judged_by) if bounds else _find_unharmed(found)
    _keep(winner, out / "best")
    if json:
        print_json(values | {"skipped_forms": {each.name: each.error for each in made if each.error is not None}})
    else:
        _print_summary(values, made, winner, out)
    if winner is None:
        msg = f"no form is shown to meet {' and '.join(map(str, bounds))}; {out / 'report' / 'report.html'} says why"
        raise AccuracyError(msg)


def main() -> None:
    """Entry point of the console script."""
    run(optimize, name=_NAME, examples=_EXAMPLES)


def _check_model(model: Path, meta: Path | None) -> Path:
    """The network's file.

    Raises:
        InputFileError: there is none, or it is an artifact already.
    """
    from s2tf_edge.file_kinds import NETWORK, check_kind

    model = check_kind(existing(model), NETWORK).stands_for
    if model.is_dir():
        msg = f"{model} was exported already; give the model.pt or .onnx that it was made from"
        raise InputFileError(msg)
    if meta is not None:
        existing(meta)
    return model


def _find_unharmed(found: Report) -> Row | None:
    """The fastest that is not shown to lose top-1."""
    rows = [row for row in found.measured if row.drop is None or row.drop.low <= 0]
    return min(rows, key=found.cost_of, default=None)


def _keep(winner: Row | None, best: Path) -> None:
    """Copies the artifact to use, in place of an earlier one; that goes where there is none to use any more."""
    from s2tf_edge.export.artifact_folder import new_artifact

    if winner is None:
        shutil.rmtree(best, ignore_errors=True)
        return
    with new_artifact(best) as folder:
        shutil.copytree(winner.path, folder, dirs_exist_ok=True)


def _print_summary(values: dict[str, Any], made: Sequence[MadeForm], winner: Row | None, out: Path) -> None:
    for each in made:
        if each.error is not None:
            say(f"{each.name} skipped: {each.error}")
    say(values["verdict"])
    if winner is not None:
        say(f"best: {out / 'best'} is {winner.name}; s2tf-stream {shlex.quote(str(out / 'best'))} --camera 0")
    say(f"report: {out / 'report' / 'report.html'}")

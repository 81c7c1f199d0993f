"""``s2tf-optimize``: every form that runs here, measured in one report, and the one to use under one name."""

from __future__ import annotations

import hashlib
import importlib.util
import json as json_format
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from s2tf_edge.cli.app import Quiet, Verbose, existing, print_json, progress_bar, run, version_option
from s2tf_edge.errors import AccuracyError, BuildError, InputFileError, UsageError

if TYPE_CHECKING:
    from s2tf_edge.runtime.reporting.build import Report
    from s2tf_edge.runtime.reporting.rows import Row

__all__ = ["main", "optimize"]

_NAME = "s2tf-optimize"
_EXAMPLES = (
    "s2tf-optimize model.pt --data clips/test --calib clips/train --slo 'p95<40ms,drop<1'",
    "s2tf-optimize net.onnx --meta net.json --data clips --calib clips --targets openvino",
)
_RUNTIMES: Final = {"onnx": "onnxruntime", "openvino": "openvino", "trt": "tensorrt"}
"""Package that a target takes to run here."""
_PRECISIONS: Final = {
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "fp16", "int8"),
    "trt": ("fp16", "int8"),
    "trt-rtx": ("fp16", "int8"),
}
_JOURNAL: Final = "optimize.json"
_EXPORT: Final = "from s2tf_edge.cli.export import main; main()"
_BLOCK: Final = 2**20


@dataclass(frozen=True, kw_only=True)
class PlannedForm:
    """One way to export the network."""

    target: str
    precision: str
    words: tuple[str, ...]
    """What ``s2tf-export`` is told, the network and the folder left out."""
    of_clips: bool = False
    """Whether it is the clip form of a network that can step."""

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.target}_{self.precision}{'_clip' if self.of_clips else ''}"


@dataclass(frozen=True, kw_only=True)
class MadeForm:
    """What became of a form."""

    name: str
    key: str
    """Of the network and the words it was exported with: the same need not be made again."""
    error: str | None = None


def optimize(
    model: Annotated[Path, typer.Argument(help="model.pt, or an .onnx with --meta.", metavar="MODEL", readable=False)],
    data: Annotated[str, typer.Option(help="Videos to measure on, with labels for top-1; as s2tf-report takes them.")],
    calib: Annotated[str, typer.Option(help="Videos to calibrate int8 with, others than those of --data.")],
    out: Annotated[Path, typer.Option(help="Folder for artifacts, report and winner.")] = Path("optimized"),
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
    by: Annotated[str, typer.Option(help="What bounds are judged by: bound or estimate; as in s2tf-report.")] = "bound",
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
    from s2tf_edge.file_kinds import NETWORK, check_kind
    from s2tf_edge.runtime.evaluation.output_folder import output_folder
    from s2tf_edge.runtime.reporting.build import make_report
    from s2tf_edge.runtime.reporting.conditions import By, check_known, parse_slo
    from s2tf_edge.runtime.reporting.measuring.measure import MeasureOptions
    from s2tf_edge.runtime.reporting.report_files import report_values, require_report_extra, write_report
    from s2tf_edge.runtime.reporting.verdict import choose
    from s2tf_edge.runtime.session import SessionOptions

    # What is wrong should not be found after minutes of exporting.
    require_report_extra()
    model = check_kind(existing(model), NETWORK).stands_for
    if model.is_dir():
        msg = f"{model} was exported already; give the model.pt or .onnx that it was made from"
        raise InputFileError(msg)
    if meta is not None:
        existing(meta)
    bounds, judged_by, videos = parse_slo(slo) if slo else (), By.parse(by), open_videos(data)
    check_known(bounds, videos)
    options = MeasureOptions(duration_seconds=duration, limit=limit, session=SessionOptions(threads=threads))
    forms = list(_forms(_choose_targets(targets), calib=calib, meta=meta))

    made = _make_all(model, forms, out, meta=meta, quiet=quiet)
    if any(_steps(out / each.name) for each in made if each.error is None):
        clips = [replace(form, words=(*form.words, "--form", "clip"), of_clips=True) for form in forms]
        made += _make_all(model, clips, out, meta=meta, quiet=quiet)
    paths = [out / each.name for each in made if each.error is None]
    if not paths:
        msg = "no form could be exported; " + "; ".join(f"{each.name}: {each.error}" for each in made)
        raise BuildError(msg)
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


def _choose_targets(text: str | None) -> list[str]:
    if text is None:
        return [target for target, package in _RUNTIMES.items() if importlib.util.find_spec(package) is not None]
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in _PRECISIONS]
    if unknown:
        msg = f"`targets` may be {', '.join(_PRECISIONS)}, got {unknown[0]!r}"
        raise UsageError(msg)
    return list(dict.fromkeys(names))


def _forms(targets: Sequence[str], *, calib: str, meta: Path | None) -> Iterator[PlannedForm]:
    own = ("--meta", str(meta)) if meta else ()
    for target in targets:
        for precision in _PRECISIONS[target]:
            words = ("--target", target, "--precision", precision, "--calib", calib, *own)
            yield PlannedForm(target=target, precision=precision, words=words)


def _make_all(
    model: Path, forms: Sequence[PlannedForm], out: Path, *, meta: Path | None, quiet: bool
) -> list[MadeForm]:
    """Exports all forms, one after another; those that are there from before are left as they are."""
    out.mkdir(parents=True, exist_ok=True)
    before = {each.name: each for each in _read_journal(out / _JOURNAL)}
    files = [model, *([meta] if meta else [])]
    content = hashlib.sha256(b"".join(_digest(file) for file in files)).hexdigest()
    made: list[MadeForm] = []
    for form in forms:
        key = f"{content} {shlex.join(form.words)}"
        known = before.get(form.name)
        if known is not None and known.key == key and known.error is None and (out / form.name / "meta.json").is_file():
            typer.echo(f"{form.name} is there from before", err=True)
            made.append(known)
        else:
            made.append(_make(model, form, out / form.name, key=key, quiet=quiet))
        # After each: what was interrupted goes on from here.
        rest = [each for name, each in before.items() if name not in {one.name for one in made}]
        journal = json_format.dumps([asdict(each) for each in [*made, *rest]], indent=1)
        (out / _JOURNAL).write_text(journal + "\n", encoding="utf-8")
    return made


def _make(model: Path, form: PlannedForm, folder: Path, *, key: str, quiet: bool) -> MadeForm:
    """Exports one form in a process of its own: a runtime that crashes takes no other form with it."""
    words = [str(model), *form.words, "--out", str(folder), *(["--quiet"] if quiet else [])]
    typer.echo(f"$ s2tf-export {shlex.join(words)}", err=True)
    process = subprocess.Popen(
        [sys.executable, "-c", _EXPORT, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    last = ""
    assert process.stderr is not None
    for line in process.stderr:
        typer.echo(line.rstrip("\n"), err=True)
        last = line.strip() or last
    code = process.wait()
    if code == 0:
        return MadeForm(name=form.name, key=key)
    shutil.rmtree(folder, ignore_errors=True)
    ended = f"ended by signal {-code}" if code < 0 else f"exit {code}"
    return MadeForm(name=form.name, key=key, error=last.removeprefix("s2tf-export: error: ") or ended)


def _digest(file: Path) -> bytes:
    found = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            found.update(block)
    return found.digest()


def _read_journal(path: Path) -> list[MadeForm]:
    """What was made before; nothing where that cannot be told."""
    try:
        items = json_format.loads(path.read_text(encoding="utf-8"))
        return [MadeForm(name=str(item["name"]), key=str(item["key"]), error=item["error"]) for item in items]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _steps(artifact: Path) -> bool:
    from s2tf_edge.runtime.artifact import read_meta

    return read_meta(artifact).step is not None


def _find_unharmed(found: Report) -> Row | None:
    """The fastest that is not shown to lose top-1."""
    rows = [row for row in found.measured if row.drop is None or row.drop.low <= 0]
    return min(rows, key=found.cost_of, default=None)


def _keep(winner: Row | None, best: Path) -> None:
    """Copies the artifact to use; an earlier one goes."""
    shutil.rmtree(best, ignore_errors=True)
    if winner is not None:
        shutil.copytree(winner.path, best)


def _print_summary(values: dict[str, Any], made: Sequence[MadeForm], winner: Row | None, out: Path) -> None:
    for each in made:
        if each.error is not None:
            typer.echo(f"{each.name} skipped: {each.error}")
    typer.echo(values["verdict"])
    if winner is not None:
        typer.echo(f"best: {out / 'best'} is {winner.name}; s2tf-stream {shlex.quote(str(out / 'best'))} --camera 0")
    typer.echo(f"report: {out / 'report' / 'report.html'}")

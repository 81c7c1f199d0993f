"""``s2tf-export``: from a ``model.pt`` to a checked artifact for one target and precision."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s2tf_edge.cli.app import Quiet, Verbose, existing, progress_bar, run, setup_logging, version_option

if TYPE_CHECKING:
    from s2tf_edge.export import ExportPlan, ExportResult

__all__ = ["export", "main"]

_NAME = "s2tf-export"
_EXAMPLES = (
    "s2tf-export model.pt --target openvino",
    "s2tf-export model.pt --target openvino --precision int8 --calib clips/train",
    "s2tf-export model.pt --target onnx --out model_onnx --dynamic-batch",
)


def export(
    model: Annotated[
        Path, typer.Argument(help="A model.pt written by s2tf-train or s2tf-import.", metavar="MODEL", readable=False)
    ],
    target: Annotated[str, typer.Option(help="What to export for: onnx or openvino.")],
    precision: Annotated[
        str | None, typer.Option(help="fp32, fp16 or int8; by default fp32 for onnx, fp16 for openvino.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the artifact; by default <stem>_<target>_<precision> beside MODEL.")
    ] = None,
    calib: Annotated[
        str | None,
        typer.Option(help="A folder of class folders, a list file, or synthetic: for int8, and to verify on."),
    ] = None,
    calib_clips: Annotated[int, typer.Option(help="At most so many calibration clips.")] = 300,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Layers whose names match stay in floating point (int8); may be repeated.", metavar="REGEX"),
    ] = None,
    dynamic_batch: Annotated[bool, typer.Option("--dynamic-batch", help="Take any number of clips at once.")] = False,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Skip the comparison with MODEL.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, say what would be done, stop.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """Export a network to an [bold]artifact folder[/bold] that agrees with it, or to nothing at all."""
    del version
    setup_logging(quiet=quiet, verbose=verbose)
    from s2tf_edge.extras import require

    for module in ("torch", "onnx", "onnxscript"):
        require(module, extra="export", purpose=_NAME)
    from s2tf_edge.export import ExportOptions, plan_export, run_plan
    from s2tf_edge.runtime.recents import remember_artifact

    options = ExportOptions(
        target=target,
        precision=precision,
        out=out,
        calib=calib,
        calib_clips=calib_clips,
        exclude=tuple(exclude or ()),
        dynamic_batch=dynamic_batch,
        verify=not no_verify,
    )
    plan = plan_export(existing(model), options)
    if dry_run:
        typer.echo(_plan_lines(plan))
        return
    with progress_bar(f"exporting for {plan.target.name}, {plan.precision}") as progress:
        result = run_plan(plan, progress=progress)
    remember_artifact(result.folder)
    typer.echo(_result_lines(result, model))


def main() -> None:
    """Entry point of the console script."""
    run(export, name=_NAME, examples=_EXAMPLES)


def _plan_lines(plan: ExportPlan) -> str:
    spec = plan.network.spec
    clips = f"{len(plan.network.labels)} classes, clips of {spec.frames}×{spec.size}×{spec.size}"
    lines = [
        f"would export {plan.network.name} ({clips}) from {plan.source}",
        f"for {plan.target.name} in {plan.precision}, to {plan.folder}",
    ]
    if plan.calib is not None:
        count = min(plan.options.calib_clips, len(plan.calib))
        lines.append(f"with {count} clips of {plan.calib.name}")
    lines.append("and verify it against the network" if plan.options.verify else "without verifying it")
    return "\n".join(lines)


def _result_lines(result: ExportResult, model: Path) -> str:
    from s2tf_edge.export.artifact import folder_bytes

    folder = shlex.quote(str(result.folder))
    lines = [
        result.layers_line(),
        f"verified: {result.verification}" if result.verification else "not verified (--no-verify)",
        f"{result.folder}  {folder_bytes(result.folder) / 1e6:.1f} MB  {result.seconds:.1f} s",
        f"next: s2tf-stream {folder} --source VIDEO",
        f"      s2tf-report {shlex.quote(str(model))} {folder} --data TEST-DATA",
    ]
    return "\n".join(lines)

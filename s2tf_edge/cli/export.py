"""``s2tf-export``: from a ``model.pt`` to a checked artifact for one target and precision."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s2tf_edge.cli.app import Quiet, Verbose, existing, progress_bar, run, setup_logging, version_option

if TYPE_CHECKING:
    from s2tf_edge.export import ExportResult

__all__ = ["export", "main"]

_NAME = "s2tf-export"
_EXAMPLES = (
    "s2tf-export model.pt --target openvino",
    "s2tf-export model.pt --target openvino --precision int8 --calib clips/train",
    "s2tf-export model.pt --target trt-rtx --input u8",
    "s2tf-export model.pt --target trt --defer-build     # then, on the device: sh model_trt_fp16/build.sh",
    "s2tf-export i3d.onnx --meta i3d.json --target openvino --eval clips/test",
)
_VIDEOS = "a folder of class folders, a list file, or synthetic"


def export(
    model: Annotated[
        Path,
        typer.Argument(
            help="A model.pt written by s2tf-train or s2tf-import; an .onnx with --meta; or an artifact folder, to "
            "finish a deferred build, to build its engine anew, or (onnx fp32) for another target.",
            metavar="MODEL",
            readable=False,
        ),
    ],
    target: Annotated[str, typer.Option(help="What to export for: onnx, openvino, trt or trt-rtx.")],
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, fp16, int8, or auto, the fastest here; default: fp32 for onnx, else fp16."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the artifact; by default <stem>_<target>_<precision> beside MODEL.")
    ] = None,
    meta: Annotated[
        Path | None,
        typer.Option(
            help="JSON file that says what clips an .onnx takes: frames, stride, fps, resize_short_side, crop, mean, "
            "std, labels.",
            readable=False,
        ),
    ] = None,
    calib: Annotated[str | None, typer.Option(help=f"Videos to calibrate int8 with: {_VIDEOS}.")] = None,
    calib_clips: Annotated[int, typer.Option(help="At most so many calibration clips.")] = 300,
    calib_method: Annotated[
        str, typer.Option(help="How ranges of activations are chosen: minmax, entropy, percentile or mse.")
    ] = "minmax",
    evaluation: Annotated[
        str | None,
        typer.Option("--eval", help=f"Videos to verify and to measure on, else seeded clips are made: {_VIDEOS}."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Points of top-1 on --eval that int8 may lose; layers go back to float until it loses no more.",
            metavar="POINTS",
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="Layers whose names match stay in floating point (int8); may be repeated.", metavar="REGEX"),
    ] = None,
    custom_ops: Annotated[
        str,
        typer.Option(
            help="keep: nodes of domain ai.s2tf with their bodies; inline: standard operators only; auto: as the "
            "target does best.",
        ),
    ] = "auto",
    batch: Annotated[int, typer.Option(help="Clips that the artifact takes at once.")] = 1,
    dynamic_batch: Annotated[bool, typer.Option("--dynamic-batch", help="Take any number of clips at once.")] = False,
    input_type: Annotated[
        str,
        typer.Option(
            "--input", help="f32: normalized clips; u8: frames uint8 [N, T, H, W, 3], which the graph normalizes."
        ),
    ] = "f32",
    mask: Annotated[bool, typer.Option("--mask", help="Put out the saliency mask too (ssf_ and s2tf_).")] = False,
    opset: Annotated[int | None, typer.Option(help="Opset of the ONNX graph, 18 (the default) to 24.")] = None,
    defer_build: Annotated[
        bool, typer.Option("--defer-build", help="Write the graph and build.sh; the engine is built on the device.")
    ] = False,
    workspace: Annotated[
        float | None, typer.Option(help="Most memory in GiB that TensorRT may use for one layer.", metavar="GIB")
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(help="File in which TensorRT keeps its timings from build to build.", readable=False)
    ] = None,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="An engine that later versions of TensorRT run too.")
    ] = False,
    hardware_compatible: Annotated[
        bool, typer.Option("--hardware-compatible", help="An engine that every GPU from Ampere on runs.")
    ] = False,
    sensitivity: Annotated[
        Path | None,
        typer.Option(
            help="HTML page to write: what quantizing each layer alone does to the logits (int8).", readable=False
        ),
    ] = None,
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Skip the comparison with MODEL.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, say what would be done, stop.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """Export a network to an [bold]artifact folder[/bold] that agrees with it, or to nothing at all."""
    del version
    setup_logging(quiet=quiet, verbose=verbose)
    from s2tf_edge.export import ExportOptions, plan_export, run_plan
    from s2tf_edge.runtime.cache import remember_artifact

    options = ExportOptions(
        target=target,
        precision=precision,
        out=out,
        meta=meta,
        calib=calib,
        calib_clips=calib_clips,
        calib_method=calib_method,
        eval=evaluation,
        max_drop=max_drop,
        sensitivity=sensitivity,
        exclude=tuple(exclude or ()),
        custom_ops=custom_ops,
        batch=batch,
        dynamic_batch=dynamic_batch,
        input=input_type,
        mask=mask,
        opset=opset,
        defer_build=defer_build,
        workspace=workspace,
        timing_cache=timing_cache,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        verify=not no_verify,
    )
    plan = plan_export(existing(model), options)
    if dry_run:
        typer.echo("\n".join(plan.lines()))
        return
    with progress_bar(f"exporting for {target}, {plan.precision}") as progress:
        result = run_plan(plan, progress=progress)
    if not result.is_deferred:
        remember_artifact(result.folder)
    typer.echo(_result_lines(result, model))


def main() -> None:
    """Entry point of the console script."""
    run(export, name=_NAME, examples=_EXAMPLES)


def _result_lines(result: ExportResult, model: Path) -> str:
    from s2tf_edge.export.artifact_folder import folder_bytes

    lines = [
        *result.tried_lines(),
        result.layers_line(),
        *result.gate_lines(),
        *_proof_lines(result),
        f"{result.folder}  {folder_bytes(result.folder) / 1e6:.1f} MB  {result.seconds:.1f} s",
        *_next_lines(result, model),
    ]
    return "\n".join(lines)


def _proof_lines(result: ExportResult) -> list[str]:
    found = result.verification
    if found is None:
        return ["not verified"]
    if found.ran_engine or not result.is_engine:
        return [f"verified: {found}"]
    return [f"verified, the graph alone: {found}", "the engine has not run: there is no NVIDIA GPU for it here"]


def _next_lines(result: ExportResult, model: Path) -> list[str]:
    from s2tf_edge.runtime.artifact import BUILD_SCRIPT

    folder = shlex.quote(str(result.folder))
    if result.is_deferred:
        script = shlex.quote(str(result.folder / BUILD_SCRIPT))
        return [f"next: copy {folder} to the device, and there: sh {script}"]
    lines = [f"next: s2tf-stream {folder} --source VIDEO"]
    # A report runs what it compares: a model.pt or artifacts, but no plain .onnx and no engine that is not built yet.
    runs = model.suffix.lower() != ".onnx" and model != result.folder and not (model / BUILD_SCRIPT).is_file()
    compared = f"{shlex.quote(str(model))} {folder}" if runs else folder
    return [*lines, f"      s2tf-report {compared} --data TEST-DATA"]

"""``s2tf-export``: from a ``model.pt`` to a checked artifact for one target and precision."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s2tf_edge.cli.app import (
    Quiet,
    RequireSignature,
    Verbose,
    existing,
    progress_bar,
    run,
    say,
    translate,
    version_option,
)
from s2tf_edge.cli.dataclass_flags import with_flags
from s2tf_edge.errors import UsageError

if TYPE_CHECKING:
    from s2tf_edge.export import ExportOptions, ExportResult, Published

__all__ = ["command", "export", "main"]

_NAME = "s2tf-export"
_EXAMPLES = (
    "s2tf-export model.pt --target openvino",
    "s2tf-export model.pt --target openvino --precision int8 --calib clips/train",
    "s2tf-export model.pt --target trt-rtx --input u8",
    "s2tf-export model.pt --target trt --defer-build     # then, on the device: sh model_trt_fp16/build.sh",
    "s2tf-export model.pt --target openvino --sign ~/.ssh/id_ed25519",
    "s2tf-export model.pt --target onnx --dynamic-batch --triton models/",
    "s2tf-export i3d.onnx --describe > i3d.json           # a clip file to fill in; then:",
    "s2tf-export i3d.onnx --meta i3d.json --target openvino --eval clips/test",
)


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
    options: ExportOptions | None,
    asked: dict[str, Any],
    describe: Annotated[
        bool,
        typer.Option(
            "--describe", help="Print the clip file of MODEL, as --meta reads it, filled in by its shapes; stop."
        ),
    ] = False,
    sign: Annotated[
        Path | None,
        typer.Option(
            help="Sign the artifact with this SSH key, by ssh-keygen; without --target, MODEL as it is.",
            metavar="KEY",
            readable=False,
        ),
    ] = None,
    require_signature: RequireSignature = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, say what would be done, stop.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """Export a network to an [bold]artifact folder[/bold] that agrees with it, or to nothing at all."""
    del quiet, verbose, version  # taken by the app
    from s2tf_edge.cli.cache import remember_artifact
    from s2tf_edge.export import check_plan, describe_clips, plan_export, run_plan, write_description

    if describe:
        say(write_description(describe_clips(existing(model), signers=require_signature)))
        return
    if sign is not None:
        _check_signing_key(sign)
    if options is None:
        _finish_as_it_is(model, asked, sign, require_signature=require_signature, dry_run=dry_run)
        return
    plan = plan_export(existing(model), options, require_signature=require_signature)
    if dry_run:
        check_plan(plan)
        say("\n".join(plan.lines()))
        return
    with progress_bar(plan.title) as progress:
        result = run_plan(plan, progress=progress)
    if not result.is_deferred:
        remember_artifact(result.folder)
    if sign is not None:
        # Now that no bar is drawn, where a passphrase may be asked for; what took long to make stays if there is none.
        _sign(result.folder, sign)
    say(_result_lines(result, model))


def _finish_as_it_is(
    model: Path, asked: dict[str, Any], sign: Path | None, *, require_signature: Path | None, dry_run: bool
) -> None:
    """Signs or publishes an artifact, for which nothing needs to be said of a target; exports nothing."""
    from s2tf_edge.export import plan_publication, publish

    repository = asked.get("triton")
    if set(asked) - {"triton"} or (repository is None and sign is None):
        from s2tf_edge.export.targets.familiar_names import TARGET_NAMES

        msg = f"nothing says what to export for; give `target` one of: {TARGET_NAMES.explain()}"
        raise UsageError(msg)
    publication = None
    existing(model)
    if sign is not None:
        _check_signable(model, require_signature)
    if repository is not None:
        publication = plan_publication(model, repository, require_signature=require_signature)
    if dry_run:
        signs = [] if sign is None else [f"would sign {model}"]
        say("\n".join([*([] if publication is None else publication.lines()), *signs]))
        return
    if publication is not None:
        say("\n".join(_published_lines(publish(publication))))
    if sign is not None:
        _sign(model, sign, signers=require_signature)


def main() -> None:
    """Entry point of the console script."""
    run(command(), name=_NAME, examples=_EXAMPLES)


def command() -> Callable[..., None]:
    """``export`` for a parser, with a flag for each of ``ExportOptions``."""
    from s2tf_edge.export.options import ExportOptions

    return with_flags(export, ExportOptions, given_as="asked")


def _check_signing_key(key: Path) -> None:
    from s2tf_edge.signing import check_signing_key

    check_signing_key(key)


def _check_signable(artifact: Path, signers: Path | None) -> None:
    from s2tf_edge.file_kinds import RUNNABLE, check_kind
    from s2tf_edge.runtime.artifact import check_signable

    check_signable(check_kind(artifact, RUNNABLE).stands_for, signers=signers)


def _sign(artifact: Path, key: Path, *, signers: Path | None = None) -> None:
    from s2tf_edge.file_kinds import RUNNABLE, check_kind
    from s2tf_edge.runtime.artifact import sign_artifact

    say(f"signed: {sign_artifact(check_kind(artifact, RUNNABLE).stands_for, key, signers=signers)}", err=True)


def _result_lines(result: ExportResult, model: Path) -> str:
    from s2tf_edge.export.artifact_folder import folder_bytes

    lines = [
        *map(translate, result.tried_lines()),
        result.layers_line(),
        *result.gate_lines(),
        *_proof_lines(result),
        f"{result.folder}  {folder_bytes(result.folder) / 1e6:.1f} MB  {result.seconds:.1f} s",
        *([] if result.published is None else _published_lines(result.published)),
        *_next_lines(result, model),
    ]
    return "\n".join(lines)


def _published_lines(published: Published) -> list[str]:
    what = f"{published.folder}, version {published.version}, backend {published.backend}"
    lines = [f"for Triton: {what}" if published.is_new else f"for Triton, as it was: {what}"]
    if published.build_script is not None:
        lines.append(f"left to do on the server, with its GPU: sh {shlex.quote(str(published.build_script))}")
    return lines


def _proof_lines(result: ExportResult) -> list[str]:
    found = result.verification
    if found is None:
        return ["not verified"]
    if found.ran_engine or not result.is_engine:
        return [f"verified: {found}"]
    return [f"verified, the graph alone: {found}", "the engine has not run: there is no NVIDIA GPU for it here"]


def _next_lines(result: ExportResult, model: Path) -> list[str]:
    from s2tf_edge.runtime.artifact import BUILD_SCRIPT
    from s2tf_edge.runtime.session import STEP_INPUT

    folder = shlex.quote(str(result.folder))
    if result.is_deferred:
        script = shlex.quote(str(result.folder / BUILD_SCRIPT))
        return [f"next: copy {folder} to the device, and there: sh {script}"]
    # Sources come at times of their own, so a step of several side by side is for other hosts.
    streams = result.meta.step is None or result.meta.inputs[STEP_INPUT]["shape"][0] == result.meta.step.hop
    lines = [f"copy {folder} to the device, and there: s2tf-tune {folder}"] if result.meta.candidates else []
    lines += [f"s2tf-stream {folder} --source VIDEO"] if streams else []
    # A report runs what it compares: a model.pt or artifacts, but no plain .onnx and no engine that is not built yet.
    runs = model.suffix.lower() != ".onnx" and model != result.folder and not (model / BUILD_SCRIPT).is_file()
    compared = f"{shlex.quote(str(model))} {folder}" if runs else folder
    first, *rest = [*lines, f"s2tf-report {compared} --data TEST-DATA"]
    return [f"next: {first}", *(f"      {line}" for line in rest)]

"""``s2tf-tune``: on the device, the fastest form of a portable artifact that agrees with its network."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s2tf_edge.cli.app import (
    Quiet,
    RequireSignature,
    Verbose,
    existing,
    print_json,
    progress_bar,
    run,
    say,
    translate,
    version_option,
)
from s2tf_edge.errors import UsageError
from s2tf_edge.words import counted

if TYPE_CHECKING:
    from s2tf_edge.export.choice.tune import Bound, TuneResult
    from s2tf_edge.runtime.session import SessionOptions

__all__ = ["main", "tune"]

_NAME = "s2tf-tune"
_EXAMPLES = (
    "s2tf-export model.pt --target openvino --portable --calib clips/train     # on the workstation",
    "s2tf-tune model_openvino_portable                                         # on the device",
    "s2tf-tune model_openvino_portable --threads 2",
    "s2tf-tune model_openvino_portable --data clips/test --max-drop 1",
)


def tune(
    artifact: Annotated[
        Path,
        typer.Argument(help="A folder that `s2tf-export --portable` made.", metavar="ARTIFACT", readable=False),
    ],
    threads: Annotated[int, typer.Option(help="CPU threads that it will run with; 0 lets the runtime choose.")] = 0,
    device: Annotated[
        str, typer.Option(help="Device that it will run on, as its runtime names it, such as CPU or GPU.")
    ] = "auto",
    data: Annotated[
        str | None, typer.Option(help="Labeled videos to measure top-1 on, for --max-drop.", metavar="DATA")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Points of top-1 that the form may lose against the float one.", metavar="POINTS"),
    ] = None,
    require_signature: RequireSignature = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """Choose the [bold]fastest form[/bold] of an artifact on the machine that will run it.

    Each form is held against what its network said when it was exported, all that agree are timed side by side, and
    the fastest becomes the artifact. Needs the artifact's runtime alone.
    """
    del quiet, verbose, version  # taken by the app
    from s2tf_edge.cli.cache import remember_artifact
    from s2tf_edge.export.choice.tune import tune as choose
    from s2tf_edge.file_kinds import PORTABLE, check_kind
    from s2tf_edge.runtime.session import SessionOptions

    options = SessionOptions(threads=threads, device=device, require_signature=require_signature)
    artifact, bound = check_kind(existing(artifact), PORTABLE).stands_for, _bound(data, max_drop)
    with progress_bar(f"tuning {artifact}") as progress:
        result = choose(artifact, options, bound=bound, progress=progress)
    remember_artifact(result.folder)
    if json:
        print_json(result.to_dict())
    else:
        say(_lines(result, options))


def main() -> None:
    """Entry point of the console script."""
    run(tune, name=_NAME, examples=_EXAMPLES)


def _bound(data: str | None, max_drop: float | None) -> Bound | None:
    if (data is None) != (max_drop is None):
        given, lacks = ("max_drop", "data=DATA") if data is None else ("data", "max_drop=POINTS")
        msg = f"`{given}` is for a bound on the top-1 that is lost, which needs `{lacks}` too; give both or neither"
        raise UsageError(msg)
    if data is None or max_drop is None:
        return None
    from s2tf_edge.data.datasets import open_data
    from s2tf_edge.export.choice.tune import Bound

    return Bound(videos=open_data(data), max_drop=max_drop)


def _lines(result: TuneResult, options: SessionOptions) -> str:
    folder = shlex.quote(str(result.folder))
    lines = [*map(translate, result.lines())]
    if layers := result.layers.get(result.chosen):
        lines.append(f"{result.chosen}, {layers}")
    if result.drop is not None:
        drop = result.drop
        lines.append(
            f"top-1 lost: {drop.points:.1f} points ({drop.low:.1f} to {drop.high:.1f}) on {counted(drop.n, 'video')}"
        )
    run_on = "".join(
        [
            f" --device {shlex.quote(options.device)}" if options.device != "auto" else "",
            f" --threads {options.threads}" if options.threads else "",
        ]
    )
    return "\n".join([*lines, f"{folder} is {result.chosen} now", f"next: s2tf-stream {folder} --source VIDEO{run_on}"])

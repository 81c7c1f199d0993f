"""``s2tf-eval``: the accuracy of a network on a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
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
    setup_logging,
    version_option,
)
from s2tf_edge.errors import S2TFError, UsageError
from s2tf_edge.words import counted

if TYPE_CHECKING:
    from s2tf_edge.data.videos import Videos
    from s2tf_edge.process_group import ProcessGroup
    from s2tf_edge.runtime.evaluation.scoring import Scorer
    from s2tf_edge.runtime.session import Session, SessionOptions

__all__ = ["evaluate", "main"]

_NAME = "s2tf-eval"
_CLASSES = 20
"""Lines of a table, at most."""
_EXAMPLES = (
    "s2tf-eval model.pt --data clips/test",
    "s2tf-eval model_openvino_int8 --data clips/test --views 10x3 --out results --json",
    "torchrun --nproc-per-node 2 --no-python s2tf-eval model.pt --data clips/test",
    "s2tf-eval /shared/model_openvino_int8 --data kinetics:/shared/k400 --views 10x3 --ray 10.0.0.1:6379",
    "s2tf-eval model_openvino_int8 --data 'unknown/**/*.mp4' --out results",
)


def evaluate(
    model: Annotated[
        Path, typer.Argument(help="A model.pt or an artifact folder.", metavar="MODEL_OR_ARTIFACT", readable=False)
    ],
    data: Annotated[
        str,
        typer.Option(
            help="A folder of class folders, or of train, val and test with such; a list file; ucf101:ROOT?split=1 and "
            "alike; or synthetic; without labels a folder, glob or list of "
            "videos, or one video, which gives predictions and no accuracy."
        ),
    ],
    views: Annotated[
        str, typer.Option(help="Clips in time x crops of each video, such as 1x1 or 10x3; scores are averaged.")
    ] = "1x1",
    limit: Annotated[int | None, typer.Option(help="At most so many videos, spread over the data set.")] = None,
    threads: Annotated[
        int, typer.Option(help="CPU threads; 0 lets the runtime choose, or takes one for each worker of a cluster.")
    ] = 0,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Work on a cluster of Ray: auto for the one of this machine, which is started if there is none, or "
            "HOST:PORT of a head. Network and videos must be where all nodes see them.",
            metavar="auto|HOST:PORT",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for eval.json, eval.html, tables and pictures.")
    ] = None,
    require_signature: RequireSignature = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """Measure [bold]top-1 and top-5[/bold] of a network on labeled videos, with 95 % intervals.

    Of videos without labels, say what the network takes them for.
    """
    del version  # taken by the app
    from s2tf_edge.process_group import join_processes
    from s2tf_edge.processes import Processes
    from s2tf_edge.runtime.session import SessionOptions

    setup_logging(quiet=quiet or not Processes.from_environment().is_first, verbose=verbose)
    with join_processes() as group:
        try:
            run_on = SessionOptions(threads=threads, require_signature=require_signature)
            result = _evaluate(model, data, views=views, limit=limit, run_on=run_on, out=out, group=group, ray=ray)
        except S2TFError:
            if group.is_first:
                raise
            return  # All processes end with the same error; the first one says it.
    if result is None:
        return
    if json:
        print_json(result)
    else:
        say(_summary(result))


def _evaluate(
    model: Path,
    data: str,
    *,
    views: str,
    limit: int | None,
    run_on: SessionOptions,
    out: Path | None,
    group: ProcessGroup,
    ray: str | None,
) -> dict[str, Any] | None:
    """What is printed; None in all processes but the first, which alone writes files."""
    from s2tf_edge.data.datasets import open_videos
    from s2tf_edge.runtime.evaluation.multi_view import Views
    from s2tf_edge.runtime.evaluation.multi_view import evaluate as measure
    from s2tf_edge.runtime.evaluation.output_folder import output_folder
    from s2tf_edge.runtime.evaluation.result_files import write_evaluation
    from s2tf_edge.runtime.open import open_session

    if ray is not None:
        run_on = dataclasses.replace(run_on, threads=run_on.threads or 1)
    with ExitStack() as stack:

        def prepare() -> tuple[Views, Videos, Path | None, Session, Scorer | None]:
            how, videos = Views.parse(views), open_videos(data)
            folder = stack.enter_context(output_folder(out)) if out is not None and group.is_first else None
            session = open_session(model, run_on)
            if ray is None:
                return how, videos, folder, stack.enter_context(session), None
            from s2tf_edge.runtime.archives.ray_scoring import RayScorer

            cluster = _join_cluster(ray, stack, group)
            scorer = RayScorer(
                ray=cluster, model=model, run_on=run_on, address=data, data=videos, limit=limit, views=how
            )
            return how, videos, folder, session, scorer

        how, videos, folder, session, scorer = group.agree(prepare)
        with progress_bar("evaluating") as progress:
            evaluation = measure(session, videos, views=how, limit=limit, group=group, scorer=scorer, progress=progress)
        if not group.is_first:
            return None
        asked = {"model": str(model), "data": data, "views": str(how), "threads": run_on.threads}
        result = asked | evaluation.to_dict()
        if folder is not None:
            write_evaluation(evaluation, result, folder, data=videos)
    return result


def _join_cluster(address: str, stack: ExitStack, group: ProcessGroup) -> ModuleType:
    from s2tf_edge.runtime.archives.cluster.connection import connect

    if group.size > 1:
        msg = "`ray` shares the work out by itself; run it without torchrun"
        raise UsageError(msg)
    return stack.enter_context(connect(address))


def main() -> None:
    """Entry point of the console script."""
    run(evaluate, name=_NAME, examples=_EXAMPLES)


def _summary(result: dict[str, Any]) -> str:
    skipped = f", {result['skipped']} skipped" if result["skipped"] else ""
    sizes = f"{counted(result['n'], 'video')}{skipped}, {result['views']} views"
    if result["top1"] is None:
        return "\n".join([f"{sizes}; without labels there is no top-1", *_predicted_lines(result)])
    lines = [
        f"{name} {result[key]:.1f} %  (95 % interval {result[f'{key}_low']:.1f} to {result[f'{key}_high']:.1f})"
        for name, key in (("top-1", "top1"), ("top-5", "top5"))
    ]
    lines.append(sizes)
    lines += [f"most often confused: {true} taken for {said}, {n}×" for true, said, n in result["confusion"][:3]]
    return "\n".join([*lines, "", *_class_lines(result["per_class"])])


def _class_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The table of classes, the worst first, and no more than fit."""
    worst = sorted(rows, key=lambda row: (row["top1"], -row["n"], row["label"]))
    shown, left = worst[:_CLASSES], len(worst) - _CLASSES
    width = max(5, *(len(row["label"]) for row in shown))
    lines = [f"{'class':{width}}  top-1 %    right  most often taken for"]
    for row in shown:
        mistaken = f"{row['taken_for']}, {row['taken_for_n']}×" if row["taken_for_n"] else "–"
        right = f"{row['correct']}/{row['n']}"
        lines.append(f"{row['label']:{width}}  {row['top1']:7.1f}  {right:>7}  {mistaken}")
    return [*lines, f"and {left} classes that are recognized as well or better"] if left > 0 else lines


def _predicted_lines(result: dict[str, Any]) -> list[str]:
    """How many videos were taken for each of the most frequent classes."""
    first, rest = result["predicted"][:_CLASSES], result["predicted"][_CLASSES:]
    width = max(len(str(each["n"])) for each in first)
    lines = [f"{each['n']:{width}}×  {each['label']}" for each in first]
    return lines + ([f"{sum(each['n'] for each in rest):{width}}×  {len(rest)} other classes"] if rest else [])


if __name__ == "__main__":
    main()

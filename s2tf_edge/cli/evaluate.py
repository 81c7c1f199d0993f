"""``s2tf-eval``: the accuracy of a network on a data set."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer

from s2tf_edge.cli.app import Quiet, Verbose, print_json, progress_bar, run, version_option

__all__ = ["evaluate", "main"]

_NAME = "s2tf-eval"
_CLASSES = 20
"""Lines of the summary of videos without labels, at most."""
_EXAMPLES = (
    "s2tf-eval model.pt --data clips/test",
    "s2tf-eval model_openvino_int8 --data clips/test --views 10x3 --out results --json",
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
    threads: Annotated[int, typer.Option(help="CPU threads; 0 lets the runtime choose.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for eval.json and predictions.csv.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """Measure [bold]top-1 and top-5[/bold] of a network on labeled videos, with 95 % intervals.

    Of videos without labels, say what the network takes them for.
    """
    del quiet, verbose, version  # taken by the app
    from s2tf_edge.data.datasets import open_videos
    from s2tf_edge.runtime.evaluation.multi_view import Views
    from s2tf_edge.runtime.evaluation.multi_view import evaluate as measure
    from s2tf_edge.runtime.evaluation.output_folder import output_folder
    from s2tf_edge.runtime.evaluation.result_files import write_evaluation
    from s2tf_edge.runtime.open import open_session
    from s2tf_edge.runtime.session import SessionOptions

    how, videos = Views.parse(views), open_videos(data)
    with ExitStack() as stack:
        folder = None if out is None else stack.enter_context(output_folder(out))
        with open_session(model, SessionOptions(threads=threads)) as session, progress_bar("evaluating") as progress:
            evaluation = measure(session, videos, views=how, limit=limit, progress=progress)
        result = {"model": str(model), "data": data, "views": str(how), "threads": threads} | evaluation.to_dict()
        if folder is not None:
            write_evaluation(evaluation, result, folder)
    if json:
        print_json(result)
    else:
        typer.echo(_summary(result))


def main() -> None:
    """Entry point of the console script."""
    run(evaluate, name=_NAME, examples=_EXAMPLES)


def _summary(result: dict[str, Any]) -> str:
    skipped = f", {result['skipped']} skipped" if result["skipped"] else ""
    videos = "1 video" if result["n"] == 1 else f"{result['n']} videos"
    counted = f"{videos}{skipped}, {result['views']} views"
    if result["top1"] is None:
        return "\n".join([f"{counted}; without labels there is no top-1", *_predicted_lines(result)])
    lines = [
        f"{name} {result[key]:.1f} %  (95 % interval {result[f'{key}_low']:.1f} to {result[f'{key}_high']:.1f})"
        for name, key in (("top-1", "top1"), ("top-5", "top5"))
    ]
    lines.append(counted)
    lines += [f"most often confused: {true} taken for {said}, {n}×" for true, said, n in result["confusion"][:3]]
    return "\n".join(lines)


def _predicted_lines(result: dict[str, Any]) -> list[str]:
    """How many videos were taken for each of the most frequent classes."""
    first, rest = result["predicted"][:_CLASSES], result["predicted"][_CLASSES:]
    width = max(len(str(each["n"])) for each in first)
    lines = [f"{each['n']:{width}}×  {each['label']}" for each in first]
    return lines + ([f"{sum(each['n'] for each in rest):{width}}×  {len(rest)} other classes"] if rest else [])

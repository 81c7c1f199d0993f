"""The files of ``s2tf-eval --out``.

eval.json         all numbers
predictions.csv   a row a video
classes.csv       a row a class            ┐
eval.md           the numbers to be read   │ where the videos
confused/*.jpg    a frame of some mistakes │ have labels
confusion.png     needs matplotlib         │
eval.html         needs jinja2             ┘
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import MissingExtraError
from s2tf_edge.runtime.evaluation.accuracy import Evaluation
from s2tf_edge.runtime.evaluation.confused_pictures import MistakenVideo, picture_mistakes
from s2tf_edge.runtime.evaluation.confusion_plot import draw_confusion
from s2tf_edge.runtime.evaluation.confusions import ConfusedPair, find_confused_pairs, readable_matrix
from s2tf_edge.runtime.evaluation.evaluation_page import render_page
from s2tf_edge.runtime.evaluation.markdown import render_markdown
from s2tf_edge.runtime.evaluation.predictions import Predictions
from s2tf_edge.text_file import create_text, write_json, write_text

__all__ = ["write_evaluation"]

logger = logging.getLogger(__name__)

_TOP: Final = 5
_PAIRS: Final = 10
_VIDEOS_OF_A_PAIR: Final = 3

Pairs = Sequence[tuple[ConfusedPair, Sequence[MistakenVideo]]]


def write_evaluation(
    found: Predictions, result: Mapping[str, Any], folder: Path, *, data: Videos | None = None
) -> None:
    """Writes the files into an existing folder; what a missing package would draw is left out, and said.

    Args:
        found: gives the predictions; ``predictions.csv`` has a row a video with its five best classes. Where the videos
            have no labels, ``true`` and ``correct`` are empty.
        result: what ``eval.json`` holds.
        folder: such as ``output_folder`` gives.
        data: the videos, for pictures of those that were mistaken; None for none.
    """
    write_json(folder / "eval.json", result)
    with create_text(folder / "predictions.csv") as file:
        _write_predictions(found, csv.writer(file))
    if isinstance(found, Evaluation) and data is not None:
        _write_labeled(found, result, folder, data)


def _write_labeled(found: Evaluation, result: Mapping[str, Any], folder: Path, data: Videos) -> None:
    with create_text(folder / "classes.csv") as file:
        rows = csv.DictWriter(file, list(result["per_class"][0]))
        rows.writeheader()
        rows.writerows(result["per_class"])
    pairs = [
        (pair, picture_mistakes(found, data, pair, most=_VIDEOS_OF_A_PAIR))
        for pair in find_confused_pairs(found, most=_PAIRS)
    ]
    write_text(folder / "eval.md", render_markdown(result, pairs))
    _write_pictures(pairs, folder / "confused")
    png = None
    with _said_if_missing(folder / "confusion.png") as path:
        png = _draw(found, result)
        path.write_bytes(png)
    with _said_if_missing(folder / "eval.html") as path:
        write_text(path, render_page(result, pairs, png=png))


@contextmanager
def _said_if_missing(path: Path) -> Iterator[Path]:
    try:
        yield path
    except MissingExtraError as error:
        logger.warning("%s is left out: %s", path.name, error)


def _draw(found: Evaluation, result: Mapping[str, Any]) -> bytes:
    matrix = readable_matrix(found)
    title = f"{result['top1']:.1f} % of {found.n} videos are right; cells: videos, colors: share of the true class"
    if matrix.left_out:
        shown = len(matrix.labels) - 1
        title += f"\nthe {shown} classes with most mistakes; {matrix.left_out} others share the last row and column"
    return draw_confusion(matrix, title=title)


def _write_pictures(pairs: Pairs, folder: Path) -> None:
    folder.mkdir()
    for number, (_, videos) in enumerate(pairs, start=1):
        for which, video in enumerate(videos, start=1):
            if video.jpeg:
                (folder / f"{number:02}-{which}.jpg").write_bytes(video.jpeg)


def _write_predictions(found: Predictions, rows: Any) -> None:
    count = min(_TOP, found.scores.shape[1])
    best = [name for rank in range(1, count + 1) for name in (f"label{rank}", f"score{rank}")]
    rows.writerow(["video", "true", "correct", *best])
    order = (-found.scores).argsort(axis=1, kind="stable")[:, :count]
    for name, true, scores, top in zip(found.names, found.true_labels, found.scores, order, strict=True):
        cells = [cell for index in top for cell in (found.labels[index], f"{scores[index]:.6f}")]
        correct = None if true is None else int(found.labels[top[0]] == true)
        rows.writerow([name, true, correct, *cells])

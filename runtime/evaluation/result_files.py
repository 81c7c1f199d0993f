"""The files of ``s2tf-eval --out``: ``eval.json`` and ``predictions.csv``."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s2tf_edge.runtime.evaluation.predictions import Predictions

__all__ = ["write_evaluation"]

_TOP = 5


def write_evaluation(found: Predictions, result: Mapping[str, Any], folder: Path) -> None:
    """Writes both files into an existing folder.

    Args:
        found: gives the predictions; ``predictions.csv`` has a row a video with its five best classes. Where the videos
            have no labels, ``true`` and ``correct`` are empty.
        result: what ``eval.json`` holds.
        folder: such as ``output_folder`` gives.
    """
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (folder / "eval.json").write_text(text + "\n", encoding="utf-8")
    with (folder / "predictions.csv").open("w", encoding="utf-8", newline="") as file:
        _write_predictions(found, csv.writer(file))


def _write_predictions(found: Predictions, rows: Any) -> None:
    count = min(_TOP, found.scores.shape[1])
    best = [name for rank in range(1, count + 1) for name in (f"label{rank}", f"score{rank}")]
    rows.writerow(["video", "true", "correct", *best])
    order = (-found.scores).argsort(axis=1, kind="stable")[:, :count]
    for name, true, scores, top in zip(found.names, found.true_labels, found.scores, order, strict=True):
        cells = [cell for index in top for cell in (found.labels[index], f"{scores[index]:.6f}")]
        correct = None if true is None else int(found.labels[top[0]] == true)
        rows.writerow([name, true, correct, *cells])

"""The files of ``s2tf-eval --out``: ``eval.json`` and ``predictions.csv``."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s2tf_edge.runtime.evaluation.accuracy import Evaluation

__all__ = ["write_evaluation"]

_TOP = 5


def write_evaluation(evaluation: Evaluation, result: Mapping[str, Any], folder: Path) -> None:
    """Writes both files into an existing folder.

    Args:
        evaluation: gives the predictions; ``predictions.csv`` has a row a video with its five best classes.
        result: what ``eval.json`` holds.
        folder: such as ``output_folder`` gives.
    """
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (folder / "eval.json").write_text(text + "\n", encoding="utf-8")
    with (folder / "predictions.csv").open("w", encoding="utf-8", newline="") as file:
        _write_predictions(evaluation, csv.writer(file))


def _write_predictions(evaluation: Evaluation, rows: Any) -> None:
    count = min(_TOP, evaluation.scores.shape[1])
    best = [name for rank in range(1, count + 1) for name in (f"label{rank}", f"score{rank}")]
    rows.writerow(["video", "true", "correct", *best])
    order = (-evaluation.scores).argsort(axis=1, kind="stable")[:, :count]
    for name, target, scores, top in zip(evaluation.names, evaluation.targets, evaluation.scores, order, strict=True):
        found = [cell for index in top for cell in (evaluation.labels[index], f"{scores[index]:.6f}")]
        rows.writerow([name, evaluation.labels[target], int(top[0] == target), *found])

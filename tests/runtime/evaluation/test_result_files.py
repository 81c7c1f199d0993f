from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from s2tf_edge.runtime.evaluation.accuracy import Evaluation
from s2tf_edge.runtime.evaluation.predictions import Predictions
from s2tf_edge.runtime.evaluation.result_files import write_evaluation


def test_files(tmp_path: Path) -> None:
    found = Evaluation(
        labels=("dark", "middle", "bright"),
        names=("a", "b"),
        targets=np.array([0, 2]),
        scores=np.eye(3, dtype=np.float32)[:2],
    )
    write_evaluation(found, {"top1": 50.0}, tmp_path)
    assert json.loads((tmp_path / "eval.json").read_text("utf-8")) == {"top1": 50.0}
    lines = (tmp_path / "predictions.csv").read_text("utf-8").splitlines()
    assert lines[0] == "video,true,correct,label1,score1,label2,score2,label3,score3"
    assert lines[1].startswith("a,dark,1,dark,1.000000")
    assert lines[2].startswith("b,bright,0,middle,1.000000")


def test_videos_without_labels_leave_true_and_correct_empty(tmp_path: Path) -> None:
    found = Predictions(labels=("dark", "bright"), names=("a", "b"), scores=np.eye(2, dtype=np.float32))
    write_evaluation(found, found.to_dict(), tmp_path)
    assert json.loads((tmp_path / "eval.json").read_text("utf-8"))["top1"] is None
    lines = (tmp_path / "predictions.csv").read_text("utf-8").splitlines()
    assert lines[0] == "video,true,correct,label1,score1,label2,score2"
    assert lines[1:] == ["a,,,dark,1.000000,bright,0.000000", "b,,,bright,1.000000,dark,0.000000"]

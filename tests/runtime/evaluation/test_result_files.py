from __future__ import annotations

import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.evaluation.accuracy import Evaluation
from s2tf_edge.runtime.evaluation.predictions import Predictions
from s2tf_edge.runtime.evaluation.result_files import write_evaluation
from s2tf_edge.spec import ClipSpec

HOSTILE = "<script>alert(1)</script>|`*"


@dataclass(frozen=True)
class Picture:
    """A video of one color."""

    name: str
    level: int | None

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> NDArray[np.uint8]:
        del at
        if self.level is None:
            msg = f"{self.name} is gone"
            raise InputFileError(msg)
        return np.full((spec.frames, spec.resize_short_side, 200, 3), self.level, np.uint8)

    def room(self, spec: ClipSpec) -> float:
        del spec
        return 0.0


@pytest.fixture
def mistaken() -> tuple[Evaluation, Videos]:
    """Two of three videos are mistaken, and one of those cannot be read any more."""
    found = Evaluation(
        labels=("dark", HOSTILE),
        names=("clips/a.mp4", "clips/b.mp4", "clips/c.mp4"),
        targets=np.array([0, 0, 1]),
        scores=np.array([[0.1, 0.9], [0.3, 0.7], [0.2, 0.8]], np.float32),
    )
    videos = [Picture("clips/a.mp4", 40), Picture("clips/b.mp4", None), Picture("clips/c.mp4", 90)]
    return found, Videos(name="clips", videos=videos)


def _result(found: Evaluation) -> dict[str, object]:
    return {"model": "m.pt", "data": HOSTILE, "views": "1x1"} | found.to_dict()


def test_mistakes_are_shown_in_tables_pictures_and_a_page(mistaken: tuple[Evaluation, Videos], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found, data = mistaken
    write_evaluation(found, _result(found), tmp_path, data=data)
    with (tmp_path / "classes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], row["correct"], row["n"], row["taken_for"]) for row in rows] == [
        ("dark", "0", "2", HOSTILE),
        (HOSTILE, "1", "1", ""),
    ]
    # The one that cannot be read again has no picture, and is named all the same.
    assert [path.name for path in (tmp_path / "confused").iterdir()] == ["01-1.jpg"]
    assert (tmp_path / "confused/01-1.jpg").read_bytes().startswith(b"\xff\xd8")
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    page, text = ((tmp_path / name).read_text("utf-8") for name in ("eval.html", "eval.md"))
    for name in ("a.mp4", "b.mp4"):
        assert name in page
    assert page.count("data:image/jpeg;base64,") == 1
    assert page.count("data:image/png;base64,") == 1
    assert "33.3 % top-1" in page
    assert "33.3 % top-1" in text
    assert "<script" not in page
    assert "<script" not in text.replace("\\<script", "")
    assert "http" not in page


@pytest.mark.parametrize("missing", ["matplotlib.figure", "jinja2"])
def test_what_needs_a_missing_package_is_left_out_and_said(
    mistaken: tuple[Evaluation, Videos],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    missing: str,
) -> None:
    pytest.importorskip(missing)
    monkeypatch.setitem(sys.modules, missing, None)
    found, data = mistaken
    write_evaluation(found, _result(found), tmp_path, data=data)
    assert "pip install 's2tf-edge[report]'" in caplog.text
    names = {path.name for path in tmp_path.iterdir()}
    assert {"eval.json", "predictions.csv", "classes.csv", "eval.md", "confused"} <= names
    left = {"matplotlib.figure": "confusion.png", "jinja2": "eval.html"}[missing]
    assert left not in names
    assert len(names & {"confusion.png", "eval.html"}) == 1


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

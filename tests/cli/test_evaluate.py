"""``s2tf-eval`` as a user calls it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from s2tf_edge.cli.evaluate import _summary
from s2tf_edge.data.scenes import LABELS
from s2tf_edge.data.synthetic import write_video

DATA = "synthetic?clips=10"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    code = "from s2tf_edge.cli.evaluate import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_json_alone_on_stdout_and_files(small_artifact: Path, tmp_path: Path) -> None:
    done = run(small_artifact, "--data", DATA, "--views", "2x1", "--limit", "5", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["n"] == 5
    assert values["skipped"] == 0
    assert 0 <= values["top1_low"] <= values["top1"] <= values["top1_high"] <= 100
    assert values["top1"] <= values["top5"]
    assert json.loads((tmp_path / "out" / "eval.json").read_text("utf-8")) == values
    assert len((tmp_path / "out" / "predictions.csv").read_text("utf-8").splitlines()) == 6


def test_text(small_artifact: Path) -> None:
    done = run(small_artifact, "--data", DATA, "--limit", "2", "-q")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("top-1 ")
    assert "2 videos, 1x1 views" in done.stdout
    assert done.stderr == ""


@pytest.fixture
def unlabeled(tmp_path: Path) -> Path:
    """A folder of two videos and one broken one, with a list of all."""
    folder = tmp_path / "clips é"
    folder.mkdir()
    for index, label in enumerate(LABELS[:2]):
        write_video(folder / f"{index}.mp4", clips=[(label, 1.0)], size=(48, 64), seed=index)
    (folder / "2.mp4").write_text("this is no video")
    (folder / "all.txt").write_text("0.mp4\n1.mp4\n2.mp4\n")
    return folder


def test_names_that_are_no_text_cost_no_evaluation(small_artifact: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos" / LABELS[0]
    folder.mkdir(parents=True)
    write_video(folder / os.fsdecode(b"caf\xe9.mp4"), clips=[(LABELS[0], 0.5)], size=(32, 48), seed=0)
    done = run(small_artifact, "--data", tmp_path / "videos", "--out", tmp_path / "out", "-q")
    assert done.returncode == 0, done.stderr
    assert "caf\\udce9.mp4" in (tmp_path / "out" / "predictions.csv").read_text("utf-8")


@pytest.mark.parametrize("name", ["", "*.MP4", "all.txt"])
def test_videos_without_labels_are_predicted(small_artifact: Path, unlabeled: Path, tmp_path: Path, name: str) -> None:
    data = str(unlabeled / name)
    done = run(small_artifact, "--data", data, "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert (values["top1"], values["n"], values["skipped"], values["data"]) == (None, 2, 1, data)
    assert sum(each["n"] for each in values["predicted"]) == 2
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["video"]).name for row in rows] == ["0.mp4", "1.mp4"]
    assert {(row["true"], row["correct"]) for row in rows} == {("", "")}
    counted = Counter(row["label1"] for row in rows)
    assert counted == {each["label"]: each["n"] for each in values["predicted"]}


def test_the_summary_says_that_there_are_no_labels(small_artifact: Path, unlabeled: Path) -> None:
    done = run(small_artifact, "--data", unlabeled)
    assert done.returncode == 0, done.stderr
    first, *classes = done.stdout.splitlines()
    assert first == "2 videos, 1 skipped, 1x1 views; without labels there is no top-1"
    assert sum(int(line.split("×")[0]) for line in classes) == 2
    assert "1 of 3 videos could not be read and are left out" in " ".join(done.stderr.split())


def test_the_summary_names_no_more_classes_than_fit() -> None:
    predicted = [{"label": f"class {index}", "n": 30 - index} for index in range(30)]
    result = {"top1": None, "n": 465, "skipped": 0, "views": "1x1", "predicted": predicted}
    lines = _summary(result).splitlines()
    assert lines[1] == "30×  class 0"
    assert lines[-2:] == ["11×  class 19", "55×  10 other classes"]
    assert len(lines) == 22


@pytest.mark.parametrize(
    ("model_name", "options", "code", "message"),
    [
        ("none.pt", [], 9, "does not exist"),
        ("none.pt", ["--views", "3"], 2, "views must be TEMPORALxSPATIAL"),
        ("none.pt", ["--threads", "-1"], 2, "--threads must be zero or more, got -1"),
        ("none.pt", ["--out", "/dev/null"], 2, "is a file; choose another folder"),
    ],
)
def test_mistakes(tmp_path: Path, model_name: str, options: list[str], code: int, message: str) -> None:
    done = run(tmp_path / model_name, "--data", DATA, *options)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""

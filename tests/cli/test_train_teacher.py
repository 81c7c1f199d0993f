"""s2tf-train with a teacher, as a user types it."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge import load_model
from s2tf_edge.cli import train as command
from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.scenes import LABELS
from s2tf_edge.data.synthetic import write_video

SHORT = ["--model", "s2tf_r3d_10?width=0.0625", "--frames", "8", "--size", "32", "--workers", "0", "--epochs", "1"]
SHORT += ["--clips-per-video", "1"]


Run = Callable[..., tuple[str, str]]


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process, in an empty folder; an error would end it."""

    def run(*arguments: object) -> tuple[str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["s2tf-train", *map(str, arguments)])
        with pytest.raises(SystemExit, match=r"^0$"):
            command.main()
        printed, log = capsys.readouterr()
        return printed, log

    return run


@pytest.fixture
def plain_onnx(small_artifact: Path, tmp_path: Path) -> Path:
    """The artifact's graph as somebody else's file, with a clip file beside it and classes of its own."""
    shutil.copy(small_artifact / "model.onnx", tmp_path / "theirs.onnx")
    labels = [f"thing {index}" for index in range(len(LABELS))]
    clip = {"frames": 4, "crop": 16, "mean": [0.45] * 3, "std": [0.225] * 3, "labels": labels}
    (tmp_path / "theirs.json").write_text(json.dumps(clip), encoding="utf-8")
    return tmp_path / "theirs.onnx"


def test_an_artifact_teaches_the_classes_that_it_has_by_name(small_artifact: Path, train: Run) -> None:
    printed, log = train("synthetic?clips=20", "--teacher", small_artifact, *SHORT, "--out", "a")
    assert re.search(r"teaches the 10 classes of the data set, by their names, on \d+ clips of \d+ videos", log)
    assert re.search(r"a/model\.pt: [\d.]+ % top-1 on \d+ validation videos", printed)


def test_an_onnx_from_elsewhere_teaches_without_labels(plain_onnx: Path, train: Run, tmp_path: Path) -> None:
    videos = tmp_path / "some videos"
    videos.mkdir()
    for index in range(6):
        write_video(videos / f"{index}.mp4", clips=[(LABELS[index], 1.0)], size=(32, 48), seed=index)
    printed, _ = train("--unlabelled", videos, "--teacher", plain_onnx, *SHORT, "--out", "d")
    assert re.search(r"% agreement with the teacher on \d validation videos", printed)
    assert load_model(tmp_path / "d/model.pt").labels[0] == "thing 0"

    # Further on, as any model.pt: a new head on top of it.
    train("synthetic?clips=20", "--pretrained", "d/model.pt", *SHORT, "--out", "e")
    assert load_model(tmp_path / "e/model.pt").labels == open_data("synthetic").labels


def test_labels_and_videos_without_them_side_by_side(plain_onnx: Path, train: Run, tmp_path: Path) -> None:
    words = ["synthetic?clips=20", "--unlabelled", "synthetic?clips=6&seed=3", "--teacher", plain_onnx, *SHORT]
    _, log = train(*words, "--out", "f")
    assert "by a layer of their own that is left out of model.pt" in log
    with (tmp_path / "f/metrics.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["train_distillation"]) > 0
    assert float(row["train_cross_entropy"]) > 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--unlabelled", "synthetic?clips=4"], 2, "nobody says what .* show; give --teacher MODEL_OR_ARTIFACT"),
        ([], 2, "there is nothing to learn from; give DATA, or --unlabelled VIDEOS and --teacher"),
        (["--teacher", "{artifact}"], 2, "the teacher has no videos to teach by; give DATA, --unlabelled VIDEOS"),
        (["synthetic?clips=20", "--teacher", "none.pt"], 9, "none.pt does not exist"),
        (
            ["none", "--teacher", "alone.onnx"],  # before data are looked at, which are not there either
            2,
            "no alone.json beside it; give --teacher-meta ",
        ),
        (
            ["synthetic?clips=20", "--teacher", "{artifact}", "--teacher-meta", "x.json"],
            2,
            "--teacher-meta describes",
        ),
        (["--unlabelled", "none", "--teacher", "{artifact}"], 9, "none does not exist"),
        (
            ["synthetic?clips=20", "--teacher", "{artifact}", "--temperature", "0"],
            2,
            "--temperature must lie",
        ),
        (["synthetic?clips=20", "--teacher", "{artifact}", "--teacher-weight", "2"], 2, "--teacher-weight must lie in"),
    ],
)
def test_bad_input_is_one_clear_line(
    small_artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    shutil.copy(small_artifact / "model.onnx", tmp_path / "alone.onnx")
    monkeypatch.chdir(tmp_path)
    words = [word.format(artifact=small_artifact) for word in arguments]
    monkeypatch.setattr(sys, "argv", ["s2tf-train", *words, *SHORT, "--out", "run", "--quiet"])
    with pytest.raises(SystemExit, match=rf"^{code}$"):
        command.main()
    printed, errors = capsys.readouterr()
    assert printed == ""
    assert re.search(message, errors)
    assert len(errors.strip().splitlines()) == 1


@pytest.mark.slow
def test_two_processes_share_the_teacher_and_then_train(small_artifact: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words += ["-m", "s2tf_edge.training", "synthetic?clips=20", "--teacher", str(small_artifact), *SHORT]
    done = subprocess.run([*words, "--out", str(tmp_path / "run")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("teaches the 10 classes") == 1
    assert len(list((tmp_path / "run").glob("teacher-*.sqlite"))) == 2
    assert (tmp_path / "run/model.pt").is_file()

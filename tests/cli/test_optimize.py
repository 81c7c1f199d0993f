"""``s2tf-optimize`` as a user calls it: every form, one report, one winner; and again, without exporting again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from s2tf_edge.cli import optimize as command
from s2tf_edge.data.datasets import open_data
from s2tf_edge.models import create_model, save_model

DATA = "synthetic?clips=10"
COMMAND = [sys.executable, "-c", "from s2tf_edge.cli.optimize import main; main()"]
SHORT = ["--data", DATA, "--calib", "synthetic?clips=10&split=train", "--duration", "0.2", "--threads", "1"]


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("optimized") / "model.pt"
    labels = open_data("synthetic?clips=1").labels
    save_model(path, create_model("r3d_10?width=0.0625", num_classes=10, frames=4, size=32, labels=labels))
    return path


@pytest.mark.slow
def test_every_form_is_measured_and_the_winner_kept_under_one_name(model: Path, tmp_path: Path) -> None:
    done = run(model, *SHORT, "--targets", "onnx", "--out", "all", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = {each["name"]: each for each in json.loads((tmp_path / "all" / "optimize.json").read_text("utf-8"))}
    assert set(made) == {"onnx_fp32", "onnx_int8"}
    assert made["onnx_fp32"]["error"] is None
    values = json.loads((tmp_path / "all" / "report" / "report.json").read_text("utf-8"))
    names = [each["name"] for each in values["artifacts"]]
    # Whether int8 agrees with a network that has learnt nothing is up to its weights: it is measured, or said why not.
    assert names == [name for name in made if made[name]["error"] is None]
    assert (tmp_path / "all" / "best" / "meta.json").is_file()
    assert "best: all/best is onnx_" in done.stdout

    again = run(model, *SHORT, "--targets", "onnx", "--out", "all", "--slo", "top1>=100", cwd=tmp_path)
    assert "onnx_fp32 is there from before" in again.stderr
    assert again.returncode == 6
    assert "no form is shown to meet top1 >= 100 %" in again.stderr
    assert not (tmp_path / "all" / "best").exists()


@pytest.mark.slow
def test_steps_and_clips_of_a_causal_network(tmp_path: Path) -> None:
    labels = open_data("synthetic?clips=1").labels
    network = create_model("x3d_xs?causal=true&width=0.25", num_classes=10, frames=4, size=32, labels=labels)
    save_model(tmp_path / "model.pt", network)
    done = run("model.pt", *SHORT, "--targets", "openvino", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    forms = {each["name"]: each["form"] for each in values["artifacts"]}
    assert forms["openvino_fp32"] == "step"
    assert forms["openvino_fp32_clip"] == "clip"


def test_a_form_that_fails_is_skipped_and_said_why(model: Path, tmp_path: Path) -> None:
    done = run(model, *SHORT, "--calib", "gone", "--targets", "onnx", "--out", "all", cwd=tmp_path)
    assert done.returncode == 4
    assert "no form could be exported; onnx_fp32: gone does not exist" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["gone.pt", *SHORT], 9, "gone.pt does not exist"),
        (["gone.pt", *SHORT, "--slo", "fast"], 9, "gone.pt does not exist"),
        (["MODEL", *SHORT, "--meta", "gone.json"], 9, "gone.json does not exist"),
        (["MODEL", *SHORT, "--slo", "fast"], 2, "--slo must look like"),
        (["MODEL", *SHORT, "--targets", "abacus"], 2, "--targets may be onnx, openvino, trt, trt-rtx, got 'abacus'"),
        (["MODEL", *SHORT, "--data", "gone"], 9, "gone does not exist"),
    ],
)
def test_mistakes_are_found_before_anything_is_made(
    model: Path,
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [str(model) if each == "MODEL" else each for each in arguments]
    monkeypatch.setattr(sys, "argv", ["s2tf-optimize", *words])
    with pytest.raises(SystemExit, match=rf"^{code}$"):
        command.main()
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

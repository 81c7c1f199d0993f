"""``s2tf-optimize`` as a user calls it: every form, one report, one winner; and again, without exporting again."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from s2tf_edge.cli import forms, probing
from s2tf_edge.cli import optimize as command
from s2tf_edge.cli.forms import MadeForm, PlannedForm, make_forms, plan_forms
from s2tf_edge.cli.probing import RuntimeState
from s2tf_edge.data.datasets import open_data
from s2tf_edge.errors import MissingExtraError
from s2tf_edge.models import create_model, save_model
from s2tf_edge.runtime.reporting.facts import ArtifactFacts
from s2tf_edge.runtime.reporting.measuring.measure import Skipped
from s2tf_edge.runtime.reporting.rows import Row

DATA = "synthetic?clips=10"
COMMAND = [sys.executable, "-c", "from s2tf_edge.cli.optimize import main; main()"]
SHORT = ["--data", DATA, "--calib", "synthetic?clips=10&split=train", "--duration", "0.2", "--threads", "1"]

ON_CPU = RuntimeState(is_installed=True, version="1.2", devices=("CPU",))
THERE = RuntimeState(is_installed=True, version="10.3")
GPU = RuntimeState(is_installed=True, devices=("NVIDIA H200, compute capability 9.0",))


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
        (
            ["MODEL", *SHORT, "--out", "OWN"],
            2,
            "best exists and is not an artifact folder and nothing else; give another --out",
        ),
    ],
)
def test_mistakes_are_found_before_anything_is_made(
    model: Path,
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path_factory.mktemp("own")
    (own / "best").mkdir()
    (own / "best" / "notes.txt").write_text("mine")
    words = [{"MODEL": str(model), "OWN": str(own)}.get(each, each) for each in arguments]
    monkeypatch.setattr(sys, "argv", ["s2tf-optimize", *words])
    with pytest.raises(SystemExit, match=rf"^{code}$"):
        command.main()
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("states", "targets"),
    [
        ({"onnxruntime": ON_CPU, "tensorrt": THERE, "tensorrt-rtx": THERE, "cuda": THERE}, ["onnx"]),
        ({"openvino": ON_CPU, "tensorrt-rtx": THERE, "cuda": GPU}, ["openvino", "trt-rtx"]),
        ({"onnxruntime": ON_CPU, "openvino": RuntimeState(is_installed=True, broken="it crashed")}, ["onnx"]),
    ],
)
def test_without_targets_what_runs_here_is_tried(
    states: dict[str, RuntimeState], targets: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = RuntimeState(is_installed=False)
    monkeypatch.setattr(probing, "probe_runtimes", lambda names: {name: states.get(name, absent) for name in names})
    planned = plan_forms(None, calib="videos", meta=None)
    assert list(dict.fromkeys(form.target for form in planned)) == targets


def test_where_nothing_runs_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "probe_runtimes", lambda names: dict.fromkeys(names, RuntimeState(is_installed=False)))
    with pytest.raises(MissingExtraError, match=r"no runtime works here, .*; s2tf-doctor says what is missing"):
        plan_forms(None, calib="videos", meta=None)


def test_other_weights_in_a_second_file_are_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx")
    weights = onnx.numpy_helper.from_array(np.ones(4, np.float32), "w")
    output = onnx.helper.make_tensor_value_info("y", 1, [4])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["w"], ["y"])], "net", [], [output], [weights])
    path = tmp_path / "net.onnx"
    onnx.save(onnx.helper.make_model(graph), path, save_as_external_data=True, location="net.bin", size_threshold=0)
    made: list[str] = []

    def make(model: Path, form: PlannedForm, folder: Path, *, key: str, quiet: bool) -> MadeForm:
        made.append(form.name)
        folder.mkdir(exist_ok=True)
        (folder / "meta.json").write_text("{}")
        return MadeForm(name=form.name, key=key)

    monkeypatch.setattr(forms, "_make", make)
    monkeypatch.setattr(forms, "_steps", lambda folder: False)
    planned = plan_forms("onnx", calib="videos", meta=None)[:1]
    for _ in range(2):
        make_forms(path, planned, tmp_path / "out", meta=None, quiet=True)
    assert made == ["onnx_fp32"]
    (tmp_path / "net.bin").write_bytes(np.zeros(4, np.float32).tobytes())
    make_forms(path, planned, tmp_path / "out", meta=None, quiet=True)
    assert made == ["onnx_fp32"] * 2


def test_an_export_does_not_outlive_the_command() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], text=True)
    with pytest.raises(KeyboardInterrupt), forms._child(process):
        raise KeyboardInterrupt
    assert process.returncode == -signal.SIGTERM


def test_an_earlier_winner_stays_until_there_is_another(
    small_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Row(name="a", path=small_artifact, facts=ArtifactFacts(), outcome=Skipped(error=MissingExtraError("")))
    command._keep(row, tmp_path / "best")
    before = {path.name: path.read_bytes() for path in (tmp_path / "best").iterdir()}
    assert "meta.json" in before

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copytree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command._keep(row, tmp_path / "best")
    assert {path.name: path.read_bytes() for path in (tmp_path / "best").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
    command._keep(None, tmp_path / "best")
    assert [*tmp_path.iterdir()] == []

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from s2tf_edge.cli import export as command
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import save_model
from s2tf_edge.runtime.recents import last_artifact


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "a model.pt"
    save_model(path, create_model("r3d_10?width=0.125", num_classes=10, frames=4, size=24))
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


Printed = tuple[int, str, str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Printed]:
    """Runs the console script; gives its exit code, stdout and stderr."""

    def run(*arguments: str | Path) -> Printed:
        monkeypatch.setattr(sys, "argv", ["s2tf-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command.main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_the_last_lines_say_what_was_made_and_what_to_do_next(
    run: Callable[..., Printed], model_file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "an artifact"
    code, out, err = run(model_file, "--target", "openvino", "--precision", "fp32", "--out", folder)
    lines = out.splitlines()
    assert code == 0, err
    assert lines[0].startswith("layers: ")
    assert lines[1].startswith("verified: largest error ")
    assert re.fullmatch(rf"{folder}  \d+\.\d MB  \d+\.\d s", lines[2])
    assert [shlex.split(line.removeprefix("next:")) for line in lines[3:]] == [
        ["s2tf-stream", str(folder), "--source", "VIDEO"],
        ["s2tf-report", str(model_file), str(folder), "--data", "TEST-DATA"],
    ]
    assert last_artifact() == folder


def test_int8_prints_its_integer_layers(run: Callable[..., Printed], model_file: Path, tmp_path: Path) -> None:
    target = ("--target", "openvino", "--precision", "int8", "--out", tmp_path / "a")
    code, out, err = run(model_file, *target, "--calib", "synthetic?clips=10", "--calib-clips", "4")
    assert code == 0, err
    assert re.match(r"integer: \d+ of \d+ convolutions, 1 of 1 matrix products\n", out)
    assert "4 calibration clips; give 100 or more" in " ".join(err.split())
    assert "s2tf-report" in out
    assert "--data TEST-DATA" in out


def test_a_dry_run_writes_nothing(run: Callable[..., Printed], model_file: Path, tmp_path: Path) -> None:
    code, out, _ = run(model_file, "--target", "onnx", "--out", tmp_path / "a", "--dry-run")
    assert code == 0
    assert "would export r3d_10?width=0.125 (10 classes, clips of 4×24×24)" in out
    assert f"for onnx in fp32, to {tmp_path / 'a'}" in out
    assert not list(tmp_path.iterdir())


def test_verification_can_be_left_out(run: Callable[..., Printed], model_file: Path, tmp_path: Path) -> None:
    code, out, _ = run(model_file, "--target", "onnx", "--out", tmp_path / "a", "--no-verify", "-q")
    assert code == 0
    assert "not verified (--no-verify)" in out
    assert not (tmp_path / "a" / "verify.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--target", "trt"], 2, "there is no target 'trt'; there are: onnx with fp32; openvino with fp16, fp32, int8"),
        (["--target", "onnx", "--precision", "fp16"], 2, "no target 'onnx' with precision 'fp16'"),
        (["--target", "openvino", "--precision", "int8"], 2, "int8 needs clips to calibrate with; give --calib DATA"),
        (["--target", "onnx", "--calib", "synthetic", "--calib-clips", "0"], 2, "--calib-clips must be one or more"),
        (["--target", "onnx", "--calib", "nowhere"], 9, "nowhere"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_its_code(
    run: Callable[..., Printed], model_file: Path, arguments: list[str], code: int, message: str
) -> None:
    got, out, err = run(model_file, *arguments)
    assert (got, out) == (code, "")
    assert err.startswith("s2tf-export: error: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "truncated", "folder"])
def test_what_is_no_model_is_code_9(run: Callable[..., Printed], model_file: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.pt"
    content = {"text": b"hello", "empty": b"", "truncated": model_file.read_bytes()[:5000]}
    if kind == "folder":
        path.mkdir()
    elif kind in content:
        path.write_bytes(content[kind])
    code, out, err = run(path, "--target", "onnx")
    assert (code, out, err.count("\n")) == (9, "", 1)
    assert "x.pt" in err


def test_an_output_that_cannot_be_written_is_told(
    run: Callable[..., Printed], model_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("mine")
    code, _, err = run(model_file, "--target", "onnx", "--out", tmp_path / "mine")
    assert (code, err.count("\n")) == (2, 1)
    assert "exists and is not an artifact folder" in err
    code, _, err = run(model_file, "--target", "onnx", "--out", tmp_path / "mine" / "a")
    assert (code, err.count("\n")) == (9, 1)
    assert "cannot make the output folder" in err

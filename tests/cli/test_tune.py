from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from s2tf_edge.cli import tune as command
from s2tf_edge.cli.export import _next_lines
from s2tf_edge.export import ExportOptions, ExportResult, export

_BLOCKED = ("torch", "onnx", "onnx_ir", "onnxscript", "nncf", "openvino")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    """A portable artifact of a small network, for ONNX Runtime."""
    place = tmp_path_factory.mktemp("portable")
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        net (float[n,3,4,16,16] x) => (float[n,5] y) {
          c = Conv <pads = [0, 1, 1, 0, 1, 1], strides = [1, 2, 2]> (x, w)
          r = Relu (c) p = GlobalAveragePool (r) f = Flatten (p) y = Gemm (f, fc)
        }""")
    random = np.random.default_rng(0)
    for name, shape in (("w", (8, 3, 1, 3, 3)), ("fc", (8, 5))):
        model.graph.initializer.append(numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name))
    onnx.save(model, place / "net.onnx")
    (place / "net.json").write_text(
        json.dumps({"frames": 4, "crop": 16, "mean": [0.5] * 3, "std": [0.2] * 3, "labels": list("abcde")})
    )
    options = ExportOptions(
        target="onnx", portable=True, calib="synthetic?clips=10", meta=place / "net.json", out=place / "it's portable"
    )
    return export(place / "net.onnx", options)


@pytest.fixture
def exported(made: ExportResult) -> Path:
    return made.folder


def _tune(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command where nothing is installed but the runtime: in its child processes too."""
    (tmp_path / "site").mkdir(exist_ok=True)
    (tmp_path / "site" / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({_BLOCKED}))\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), *sys.path[1:]])}
    command = [sys.executable, "-c", "from s2tf_edge.cli.tune import main; main()", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)


def test_it_takes_nothing_but_the_runtime(exported: Path, tmp_path: Path) -> None:
    done = _tune(tmp_path, str(exported), "--threads", "1")
    assert done.returncode == 0, done.stderr
    table = [line.split()[0] for line in done.stdout.splitlines()[:3]]
    assert set(table) == {"fp32", "fp16", "int8"}
    assert "fastest" in done.stdout.splitlines()[0]
    assert f"'{exported.parent}/it'\"'\"'s portable' is {table[0]} now" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("--source VIDEO --threads 1")
    again = _tune(tmp_path, str(exported), "--json", "--quiet")
    assert again.returncode == 0, again.stderr
    result = json.loads(again.stdout)
    assert result["chosen"] in {"fp32", "fp16", "int8"}
    assert result["layers"]["int8"].startswith("integer: ")


def test_an_export_says_that_it_is_to_be_tuned(made: ExportResult) -> None:
    first, *_ = _next_lines(made, Path("net.onnx"))
    where, command = first.split(", and there: ")
    assert shlex.split(where) == ["next:", "copy", str(made.folder), "to", "the", "device"]
    assert shlex.split(command) == ["s2tf-tune", str(made.folder)]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["nowhere"], 9, "nowhere does not exist"),
        (
            ["{artifact}/candidates/fp32"],
            2,
            "fp32 is one form of it's portable; tune that: s2tf-tune '",
        ),
        (
            ["{artifact}", "--max-drop", "1"],
            2,
            "--max-drop is for a bound on the top-1 that is lost, which needs --data",
        ),
        (["{artifact}", "--data", "synthetic"], 2, "which needs --max-drop POINTS too; give both or neither"),
        (["{artifact}", "--data", "synthetic", "--max-drop", "101"], 2, "--max-drop must be between 0 and 100 points"),
        (
            ["{artifact}", "--data", "synthetic?clips=10", "--max-drop", "1"],
            2,
            "the network lacks the label 'moving left'",
        ),
        (["{artifact}", "--threads", "-1"], 2, "--threads must be zero or more, got -1"),
        (["{artifact}", "--device", "TOASTER"], 2, "TOASTER"),
    ],
)
def test_a_mistake_is_one_clear_line(
    exported: Path,
    words: list[str],
    code: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [word.replace("{artifact}", str(exported)) for word in words]
    monkeypatch.setattr(sys, "argv", ["s2tf-tune", *words, "--quiet"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == code
    assert told in " ".join(capsys.readouterr().err.split())

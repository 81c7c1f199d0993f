"""The wheel in an environment of its own, as on a device: the ``openvino`` extra alone, no torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from s2tf_edge.models import create_model, save_model

ROOT = Path(__file__).parents[1]


def _call(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    # Packages that another environment is told of would take the wheel's place.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def _run(*command: object) -> str:
    done = _call(*command)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from s2tf_edge.export import ExportOptions, export
    from s2tf_edge.models import create_model, save_model

    folder = tmp_path_factory.mktemp("artifact")
    save_model(folder / "model.pt", create_model("s2tf_r3d_10?width=0.0625", num_classes=10, frames=8, size=32))
    return export(folder / "model.pt", ExportOptions(target="openvino")).folder


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that holds the wheel and what its extra asks for."""
    folder = tmp_path_factory.mktemp("device")
    tree = folder / "tree"
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "s2tf-demo", "runs")
    shutil.copytree(ROOT, tree, symlinks=True, ignore=unwanted)
    _run(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, tree)
    wheel = next(folder.glob("*.whl"))
    _run(sys.executable, ROOT / "tools/add_sbom.py", wheel)
    _run(sys.executable, "-m", "venv", folder / "venv")
    binaries = folder / "venv" / "bin"
    pip = (binaries / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _run(*pip, "-c", ROOT / "constraints.txt", f"{wheel}[openvino]")
    return binaries


@pytest.mark.slow
def test_a_device_streams_without_torch(device: Path, artifact: Path) -> None:
    source = "lavfi:testsrc=size=160x120:rate=25"
    out = _run(device / "s2tf-stream", artifact, "--source", source, "--duration", 2, "--jsonl", "-")
    records = [json.loads(line) for line in out.splitlines()]
    assert records[0]["type"] == "start"
    assert records[-1]["type"] == "summary"
    assert any(record["type"] == "prediction" for record in records)
    installed = _run(device / "python", "-m", "pip", "list", "--format", "freeze").lower()
    assert "openvino==" in installed
    assert "torch" not in installed


@pytest.mark.slow
def test_what_an_installation_brings_is_in_its_bill_of_materials(device: Path) -> None:
    find = "print(next(file.locate() for file in files('s2tf-edge') if 'sboms' in file.parts))"
    code = f"from importlib.metadata import files; {find}"
    bom = json.loads(Path(_run(device / "python", "-c", code).strip()).read_text("utf-8"))
    named = {part["name"]: part.get("version") for part in bom["components"]}
    listed = json.loads(_run(device / "python", "-m", "pip", "list", "--format", "json"))
    installed = {item["name"].lower().replace("_", "-"): item["version"] for item in listed}
    for name in set(installed) - {"pip", "setuptools", "s2tf-edge"}:
        assert named[name] == installed[name]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "extra"),
    [
        ("s2tf-stream model.pt --source lavfi:testsrc", "train"),
        ("s2tf-eval model.pt --data synthetic", "train"),
        ("s2tf-train synthetic --model r3d_10 --out run", "train"),
        ("s2tf-import model.pt --model r3d_10", "train"),
        ("s2tf-export model.pt --target onnx", "export"),
        ("s2tf-report model.pt --data synthetic", "report"),
        ("s2tf-demo", "all"),
    ],
)
def test_a_device_says_what_it_lacks(device: Path, tmp_path: Path, command: str, extra: str) -> None:
    save_model(tmp_path / "model.pt", create_model("r3d_10?width=0.0625", num_classes=2, frames=4, size=32))
    name, *arguments = command.split()
    done = _call(device / name, *arguments, cwd=tmp_path)
    assert done.returncode == 7, done.stderr
    assert done.stderr.strip().endswith(f"pip install 's2tf-edge[{extra}]'")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_a_device_is_told_what_it_has(device: Path) -> None:
    found = json.loads(_run(device / "s2tf", "doctor", "--json"))
    assert (found["runs"], found["exports"]) == (["openvino"], [])
    assert "jinja2" in found["lacking"]["report"]
    assert "x3d_xs " in _run(device / "s2tf", "models", "x3d_*")

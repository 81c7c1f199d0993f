"""The shape of the code: arrows between the layers, what runs without torch, what the wheel holds."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The entry point for torchrun is a command, whatever folder it has to live in.
LAYERS = {
    "s2tf_edge": 0,
    "s2tf_edge.runtime": 1,
    "s2tf_edge.calibration": 2,
    "s2tf_edge.export": 3,
    "s2tf_edge.cli": 4,
    "s2tf_edge.training.__main__": 4,
}
FOLDERS = {
    "s2tf_edge": "s2tf_edge",
    "runtime": "s2tf_edge.runtime",
    "calibration": "s2tf_edge.calibration",
    "export": "s2tf_edge.export",
}


def _modules() -> dict[str, Path]:
    """Every module of the package by the name it is imported under."""
    found = {}
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            inside_link = folder == "s2tf_edge" and parts[0] in FOLDERS
            if not inside_link:
                found[".".join((package, *(part for part in parts if part != "__init__")))] = path
    return found


MODULES = _modules()


def _imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _layer(module: str) -> int | None:
    fitting = [layer for layer in LAYERS if module == layer or module.startswith(f"{layer}.")]
    return LAYERS[max(fitting, key=len)] if fitting else None


def test_the_tree_has_all_four_layers() -> None:
    assert {_layer(module) for module in MODULES} == set(LAYERS.values())


@pytest.mark.parametrize("module", sorted(MODULES))
def test_arrows_point_one_way(module: str) -> None:
    own = _layer(module)
    assert own is not None
    wrong = sorted(name for name in _imports(MODULES[module]) if (_layer(name) or 0) > own)
    assert not wrong, f"{module} imports {wrong}, from a layer above its own"


@pytest.mark.parametrize("module", sorted(name for name in MODULES if _layer(name) == LAYERS["s2tf_edge.cli"]))
def test_commands_import_lazily(module: str) -> None:
    allowed = {"s2tf_edge.cli", "s2tf_edge.errors", "s2tf_edge.option_fields", "s2tf_edge.progress"}
    own = {name for name in _imports(MODULES[module], top_level_only=True) if name.startswith("s2tf_edge")}
    assert not [name for name in own if not any(name == ok or name.startswith(f"{ok}.") for ok in allowed)]


def test_help_waits_for_no_package_that_exports() -> None:
    heavy = ["torch", "onnx", "openvino", "onnxruntime", "numpy", "av", "s2tf_edge.runtime"]
    lines = [
        "import sys",
        "from s2tf_edge.cli.export import main",
        "sys.argv = ['s2tf-export', '--help']",
        "try: main()",
        f"finally: print('loaded:', [name for name in {heavy} if name in sys.modules])",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_no_layer_is_imported_by_its_folder_name() -> None:
    for path in [*MODULES.values(), *(ROOT / "tests").rglob("*.py")]:
        wrong = [name for name in _imports(path) if name.split(".")[0] in {"export", "runtime", "calibration"}]
        assert not wrong, f"{path} imports {wrong}; write s2tf_edge.{wrong[0]}"


def test_the_runtime_needs_no_optional_package() -> None:
    optional = ["torch", "onnx", "onnxruntime", "openvino", "nncf", "lightning", "jinja2", "matplotlib"]
    optional += ["starlette", "uvicorn", "prometheus_client"]
    heavy = ("s2tf_edge.models", "s2tf_edge.training", "s2tf_edge.export", "s2tf_edge.calibration")
    with_extra = {f"s2tf_edge.runtime.web.{name}" for name in ("connection", "guard", "metrics", "routes")}
    light = [
        name
        for name in MODULES
        if not name.startswith(heavy) and name not in {"s2tf_edge.runtime.backends.torch_session", *with_extra}
    ]
    lines = [
        "import importlib, sys",
        f"for name in {light}: importlib.import_module(name)",
        f"print([name for name in {optional} if name in sys.modules])",
    ]
    script = "\n".join(lines)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"

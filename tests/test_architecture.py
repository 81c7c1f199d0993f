"""The shape of the code: arrows between the layers, what runs without torch, what the wheel holds."""

from __future__ import annotations

import ast
import graphlib
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


ROOMS: dict[str, tuple[str, ...]] = {
    "s2tf_edge": (
        "errors words",
        "extras network_table option_fields processes progress text_file whole_file",
        "pages process_group signing",
        "file_kinds",
        "spec toml_file",
        "clips preprocess label_file input_form clip_keys step_spec",
        "clip_file",
        "data",
        "models",
        "training",
    ),
    "s2tf_edge.runtime": (
        "artifact hardware statistics",
        "session",
        "backends",
        "open",
        "sources evaluation",
        "streaming reporting",
        "archives sinks",
        "web",
    ),
    "s2tf_edge.calibration": (
        "budget candidates clip_choice onnx_files",
        "audit",
        "base calibration_clips",
        "ranges",
        "qdq",
        "nncf_openvino",
        "search sensitivity",
        "gate",
    ),
    "s2tf_edge.export": (
        "artifact_folder",
        "passes",
        "graph",
        "sources targets",
        "verify",
        "options sensitivity_page",
        "triton",
        "rebuild",
        "plan",
        "choice",
        "pipeline",
    ),
}
"""The rooms of each layer, a row a floor: a module may import its own room and the floors below, and nothing else."""
MAX_ROOMS = 14
"""Modules and packages directly in a layer: more is a floor where nobody finds anything."""


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


def _module_of(name: str) -> str | None:
    """The module that a dotted name lies in: ``a.b.c`` is a module, or something in ``a.b``."""
    parts = name.split(".")
    return next((up for n in range(len(parts), 0, -1) if (up := ".".join(parts[:n])) in MODULES), None)


def _module_imports(module: str) -> set[str]:
    """The modules of the project that one imports, wherever in its text, those for types alone included.

    A package that is named on the way to one of its modules is left out: what its ``__init__`` imports is its own.
    """
    found = {_module_of(name) for name in _imports(MODULES[module])}
    packages = {name for name in found if name and any(each and each.startswith(f"{name}.") for each in found)}
    return {name for name in found - packages if name and name != module}


def _floor(module: str) -> tuple[str, int, str] | None:
    """Layer, floor and room of a module; None for a layer's own ``__init__`` and for the commands."""
    layer = max((each for each in ROOMS if module.startswith(f"{each}.")), key=len, default=None)
    if layer is None or module in ROOMS or _layer(module) == LAYERS["s2tf_edge.cli"]:
        return None
    room = module.removeprefix(f"{layer}.").partition(".")[0]
    floors = [number for number, rooms in enumerate(ROOMS[layer]) if room in rooms.split()]
    assert floors, f"{module} lies in no room; give {room} a floor in ROOMS"
    return layer, floors[0], room


def _circle(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring, the first of them again at the end; empty if there are none."""
    try:
        tuple(graphlib.TopologicalSorter(imports).static_order())
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


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


@pytest.mark.parametrize("module", sorted(MODULES))
def test_arrows_point_one_way_inside_a_layer(module: str) -> None:
    own = _floor(module)
    if own is None:
        return
    layer, floor, room = own
    for name in _module_imports(module):
        other = _floor(name)
        if other is None or other[0] != layer or other[2] == room:
            continue
        assert other[1] < floor, f"{module} imports {name}, which is not on a floor below"


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert not _circle({module: _module_imports(module) for module in MODULES})


def test_a_circle_would_be_found() -> None:
    imports = {module: _module_imports(module) for module in MODULES}
    (low, *_), high = sorted(imports["s2tf_edge.runtime.open"]), "s2tf_edge.runtime.open"
    imports[low] = imports[low] | {high}
    assert {low, high} <= set(_circle(imports))


def test_a_circle_for_types_or_inside_a_function_counts(tmp_path: Path) -> None:
    lines = ["if TYPE_CHECKING:", "    from s2tf_edge.spec import ClipSpec", "def f():", "    import s2tf_edge.errors"]
    (tmp_path / "a.py").write_text("\n".join(lines))
    assert _imports(tmp_path / "a.py") == {"s2tf_edge.spec", "s2tf_edge.spec.ClipSpec", "s2tf_edge.errors"}


def test_every_room_is_there() -> None:
    for layer, floors in ROOMS.items():
        there = {rest.partition(".")[0] for name in MODULES if (rest := name.removeprefix(f"{layer}.")) != name}
        there -= {"cli", *FOLDERS} if layer == "s2tf_edge" else set()
        assert {room for rooms in floors for room in rooms.split()} == there


@pytest.mark.parametrize("folder", ["runtime", "calibration", "export"])
def test_a_layer_is_taken_in_at_a_glance(folder: str) -> None:
    rooms = [path for path in (ROOT / folder).iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    assert len(rooms) <= MAX_ROOMS, sorted(path.name for path in rooms)


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name.lstrip("_"), []).append(module)
    assert not {name: modules for name, modules in places.items() if len(modules) > 1}


@pytest.mark.parametrize("module", sorted(name for name in MODULES if _layer(name) == LAYERS["s2tf_edge.cli"]))
def test_commands_import_lazily(module: str) -> None:
    allowed = {"s2tf_edge.cli", "s2tf_edge.errors", "s2tf_edge.option_fields", "s2tf_edge.progress", "s2tf_edge.words"}
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
    optional += ["adjustText", "starlette", "uvicorn", "prometheus_client", "pyarrow", "fsspec", "ray"]
    heavy = ("s2tf_edge.models", "s2tf_edge.training", "s2tf_edge.export", "s2tf_edge.calibration")
    with_extra = {f"s2tf_edge.runtime.web.{name}" for name in ("connection", "crowd", "guard", "metrics", "routes")}
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

"""What ships: the wheel holds every module and data file, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "s2tf_edge": "s2tf_edge",
    "runtime": "s2tf_edge/runtime",
    "calibration": "s2tf_edge/calibration",
    "export": "s2tf_edge/export",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    out = tmp_path_factory.mktemp("wheel")
    tree = out / "tree"  # a copy, so that the build leaves nothing in the checkout and finds nothing there
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "s2tf-demo", "runs")
    shutil.copytree(ROOT, tree, symlinks=True, ignore=unwanted)
    flags = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(out)]
    command = [sys.executable, "-m", "pip", "wheel", *flags, str(tree)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


def _expected() -> set[str]:
    """All that lies in the layers' folders, of whatever kind: what is no data file does not belong there."""
    files = set()
    for folder, target in FOLDERS.items():
        for path in (ROOT / folder).rglob("*"):
            inside = path.relative_to(ROOT / folder)
            linked = folder == "s2tf_edge" and inside.parts[0] in FOLDERS
            if path.is_file() and not linked and "__pycache__" not in inside.parts:
                files.add(f"{target}/{inside.as_posix()}")
    return files


def test_the_wheel_holds_the_tree_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert shipped == _expected()


def test_the_wheel_declares_the_commands_and_the_license(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    scripts = wheel.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    for command in ("train", "import", "models", "eval", "export", "stream", "report", "demo"):
        assert f"s2tf-{command} = " in scripts
    assert any(name.endswith("LICENSE") for name in names)


@pytest.fixture(scope="module")
def with_sbom(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    path = Path(shutil.copy(str(wheel.filename), tmp_path_factory.mktemp("sbom")))
    subprocess.run([sys.executable, ROOT / "tools/add_sbom.py", path], check=True)
    return zipfile.ZipFile(path)


def test_a_bill_of_materials_is_all_that_is_added_to_the_wheel(
    wheel: zipfile.ZipFile, with_sbom: zipfile.ZipFile
) -> None:
    (added,) = set(with_sbom.namelist()) - set(wheel.namelist())
    assert added.endswith(".dist-info/sboms/sbom.cdx.json")
    record = next(name for name in wheel.namelist() if name.endswith("/RECORD"))
    assert all(with_sbom.read(name) == wheel.read(name) for name in wheel.namelist() if name != record)
    assert f"{added},sha256=" in with_sbom.read(record).decode()


def test_the_bill_of_materials_names_what_the_wheel_depends_on(with_sbom: zipfile.ZipFile) -> None:
    text = with_sbom.read(next(name for name in with_sbom.namelist() if "/sboms/" in name)).decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bom = json.loads(text)
    parts = {part["name"]: part for part in bom["components"]}
    (info,) = {name.partition("/")[0] for name in with_sbom.namelist() if ".dist-info/" in name}
    distribution = metadata.PathDistribution(zipfile.Path(with_sbom, f"{info}/"))
    needs = [Requirement(need) for need in distribution.requires or ()]
    base = {need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})}
    assert base >= {"numpy", "av", "typer", "rich", "platformdirs"}
    for name in base:
        assert parts[name]["scope"] == "required"
        assert parts[name]["version"] == metadata.version(name)
    assert parts["torch"]["scope"] == "optional"
    assert {"pygments", "markdown-it-py"} <= {name for name, part in parts.items() if part["scope"] == "required"}
    root, below = bom["metadata"]["component"], {item["ref"]: item.get("dependsOn", []) for item in bom["dependencies"]}
    assert (root["name"], root["version"]) == ("s2tf-edge", distribution.version)
    assert {parts[name]["bom-ref"] for name in base} <= set(below[root["bom-ref"]])
    assert parts["pygments"]["bom-ref"] in below[parts["rich"]["bom-ref"]]


def test_every_command_of_the_wheel_exists(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    scripts = wheel.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    modules = [line.split("= ")[1].split(":")[0] for line in scripts.splitlines() if " = " in line]
    assert modules
    for module in modules:
        assert f"{module.replace('.', '/')}.py" in names

"""Extras: what they bring, and what of them is not there."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from pathlib import Path

import pytest

from s2tf_edge.extras import lacking_packages, pip_line, require

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


def _parts(extra: str) -> set[str]:
    """The extras that an extra puts together."""
    (together,) = EXTRAS[extra]
    return set(together.removeprefix("s2tf-edge[").removesuffix("]").split(","))


def test_a_device_gets_what_runs_shows_and_measures() -> None:
    assert _parts("device") == {"openvino", "onnxruntime", "report", "web"}
    assert _parts("device") < _parts("all")


def test_every_extra_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Install")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert {name.strip("` ") for row in rows for name in row.split("|")[1].split(",")} == set(EXTRAS)


def test_packages_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = [
        "numpy>=1.26",
        "pytest>=1; extra == 'report'",
        "no-such-package<2,>=1; extra == 'report'",
        'no.such.package; extra == "web"',
        "no-such-package; python_version < '3.0' and extra == 'train'",
        "pytest; extra == 'export'",
        "s2tf-edge[report,web]; extra == 'all'",
    ]
    monkeypatch.setattr(metadata, "requires", lambda name: requires)
    assert lacking_packages() == {"report": ["no-such-package"], "web": ["no.such.package"], "export": []}


def test_the_pip_line() -> None:
    assert pip_line("device") == "pip install 's2tf-edge[device]'"


def test_onnx_runtime_tells_its_makers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    # Read once, when it is imported.
    require("onnxruntime", extra="onnxruntime", purpose="a test")
    assert os.environ.pop("ORT_DISABLE_TELEMETRY") == "1"
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    require("onnxruntime", extra="onnxruntime", purpose="a test")
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "0"

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from s2tf_edge.export import ExportOptions, export

CALIB = "synthetic?clips=10"


@pytest.fixture(scope="module")
def exported(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A portable artifact of ``plain`` for ONNX Runtime; to be read only."""
    folder = tmp_path_factory.mktemp("portable") / "a"
    options = ExportOptions(target="onnx", portable=True, calib=CALIB, meta=plain.with_suffix(".json"), out=folder)
    export(plain, options)
    return folder


@pytest.fixture
def portable(exported: Path, tmp_path: Path) -> Path:
    """A copy of ``exported`` to change."""
    shutil.copytree(exported, tmp_path / "b")
    return tmp_path / "b"

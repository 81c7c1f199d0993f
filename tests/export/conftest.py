from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper, parser

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.export import ExportOptions, ExportResult, export
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import load_model, save_model
from s2tf_edge.models.s2tf import VideoNetwork


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small S2TF network of ten classes with random weights, 8×32×32."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "small é.pt"
    save_model(path, create_model("s2tf_r3d_10?width=0.125", num_classes=10, frames=8, size=32))
    return path


@pytest.fixture
def network(model_file: Path) -> VideoNetwork:
    return load_model(model_file)


@pytest.fixture(scope="session")
def videos() -> LabeledVideos:
    return open_data("synthetic?clips=20")


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ``.onnx`` of five classes from elsewhere, 4×16×16, whose description lies beside it as ``.json``.

    Tracing a network takes seconds, exporting this takes tenths of one.
    """
    path = tmp_path_factory.mktemp("plain") / "plain net.onnx"
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        net (float[n,3,4,16,16] x) => (float[n,5] y) {
          [conv] c = Conv <pads = [0, 1, 1, 0, 1, 1], strides = [1, 2, 2]> (x, w)
          r = Relu (c) p = GlobalAveragePool (r) f = Flatten (p) y = Gemm (f, fc)
        }""")
    random = np.random.default_rng(0)
    for name, shape in (("w", (8, 3, 1, 3, 3)), ("fc", (8, 5))):
        model.graph.initializer.append(numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name))
    onnx.save(model, path)
    clips = {"frames": 4, "crop": 16, "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "labels": list("abcde")}
    path.with_suffix(".json").write_text(json.dumps(clips))
    return path


@pytest.fixture
def export_plain(plain: Path, tmp_path: Path) -> Callable[..., ExportResult]:
    """Exports ``plain`` to ``tmp_path / "a"``; takes fields of ``ExportOptions``."""

    def run(target: str, **options: object) -> ExportResult:
        fields = {"target": target, "out": tmp_path / "a", "meta": plain.with_suffix(".json"), **options}
        return export(plain, ExportOptions(**fields))  # type: ignore[arg-type]

    return run

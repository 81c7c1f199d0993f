"""The graph as an artifact, as ONNX Runtime takes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.graph.onnx_file import write_graph
from s2tf_edge.export.targets.base import BuildRequest
from s2tf_edge.export.targets.onnx_target import build_onnx
from s2tf_edge.export.targets.registry import TARGETS
from s2tf_edge.spec import ClipSpec

HEAD = '<ir_version: 10, opset_import: ["": 20, "com.example": 1]> net (float[1,3,4,16,16] clip) => (float[1,5] logits)'
TAIL = "p = GlobalAveragePool (h) f = Flatten (p) logits = Gemm (f, fc)"
TWICE = """<domain: "com.example", opset_import: ["": 20]> Twice (a, w) => (c) {
    b = Conv (a, w) r = Relu (b) c = Conv (r, w) }"""


def _model(nodes: str, *, functions: str = "") -> onnx.ModelProto:
    model = parser.parse_model(f"{HEAD} {{ {nodes} {TAIL} }} {functions}")
    weights = {"w": np.ones((3, 3, 1, 1, 1), np.float32), "fc": np.ones((3, 5), np.float32)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    return model


def _file(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "graph é.onnx"
    write_graph(ir.from_proto(model), path)
    return path


def _request(folder: Path, graph: Path, *, precision: str = "fp32") -> BuildRequest:
    out = folder / "artifact"
    out.mkdir()
    return BuildRequest(
        graph=graph,
        network="net",
        labels=tuple("abcde"),
        spec=ClipSpec(frames=4, size=16),
        target=TARGETS["onnx"],
        precision=precision,
        folder=out,
    )


@pytest.mark.parametrize(("precision", "inference"), [("fp32", "f32"), ("fp16", "f16")])
def test_the_graph_is_shipped_as_it_is(precision: str, inference: str, tmp_path: Path) -> None:
    graph = _file(tmp_path, _model("h = com.example.Twice (clip, w)", functions=TWICE))
    request = _request(tmp_path, graph, precision=precision)
    build = build_onnx(request)
    assert build.files == ("model.onnx",)
    assert (request.folder / "model.onnx").read_bytes() == graph.read_bytes()
    assert build.inference == inference
    assert build.obtained == {"Convolution": {"f32": 2}, "MatMul": {"f32": 1}}


def test_nothing_is_shipped_that_onnx_runtime_does_not_run(tmp_path: Path) -> None:
    graph = _file(tmp_path, _model('["odd/Strange"] h = com.example.Strange (clip)'))
    request = _request(tmp_path, graph)
    with pytest.raises(
        UnsupportedError, match=r"com\.example::Strange 'odd/Strange' of module odd, which takes float32"
    ):
        build_onnx(request)
    assert not list(request.folder.iterdir())

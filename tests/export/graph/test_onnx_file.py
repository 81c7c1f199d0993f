from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from s2tf_edge.export.graph.onnx_file import count_operators, layer_types, write_graph

HEAD = '<ir_version: 10, opset_import: ["": 20, "com.example": 1]> net (float[1,3,4,16,16] clip) => (float[1,5] logits)'
TAIL = "p = GlobalAveragePool (h) f = Flatten (p) logits = Gemm (f, fc)"
TWICE = """<domain: "com.example", opset_import: ["": 20]> Twice (a, w) => (c) {
    b = Conv (a, w) r = Relu (b) c = Conv (r, w) }"""


def _model(nodes: str, *, functions: str = "", **weights: np.ndarray) -> onnx.ModelProto:
    model = parser.parse_model(f"{HEAD} {{ {nodes} {TAIL} }} {functions}")
    weights = {"w": np.ones((3, 3, 1, 1, 1), np.float32), "fc": np.ones((3, 5), np.float32)} | weights
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    return model


def _file(folder: Path, model: onnx.ModelProto) -> Path:
    path = folder / "graph é.onnx"
    write_graph(ir.from_proto(model), path)
    return path


def test_one_file_holds_all(tmp_path: Path) -> None:
    path = _file(tmp_path, _model("h = Conv (clip, w)", w=np.zeros((512, 3, 1, 1, 1), np.float32), fc=_ones(512, 5)))
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_size > 4 * 512 * (3 + 5)
    assert not any(tensor.external_data for tensor in onnx.load(path, load_external_data=False).graph.initializer)


def _ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("h = Conv (clip, nothing)", "Nodes in a graph must be topologically sorted"),
        ("h = NoSuchOperator (clip)", "No Op registered for NoSuchOperator"),
        ("i = Cast <to = 7> (clip) h = Conv (i, w)", "ShapeInferenceError"),
        ("h = Conv (clip, fc)", "ShapeInferenceError"),
    ],
)
def test_a_graph_that_is_none_is_not_left_unnoticed(nodes: str, message: str, tmp_path: Path) -> None:
    with pytest.raises((onnx.checker.ValidationError, onnx.shape_inference.InferenceError), match=message):
        _file(tmp_path, _model(nodes))


def test_bodies_count_once_a_node() -> None:
    model = _model("a = com.example.Twice (clip, w) b = Conv (a, w) h = com.example.Twice (b, w)", functions=TWICE)
    counts = count_operators(ir.from_proto(model))
    assert counts == {"Conv": 5, "Relu": 2, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}
    assert count_operators(ir.from_proto(onnx.inliner.inline_local_functions(model))) == counts


def test_an_operator_without_a_body_counts_as_itself() -> None:
    counts = count_operators(ir.from_proto(_model("h = com.example.Strange (clip)")))
    assert counts["Strange"] == 1


def test_a_layer_has_the_type_of_its_weights(tmp_path: Path) -> None:
    model = _model(
        """a = com.example.Twice (clip, w) h16 = Cast <to = 10> (a) b = com.example.Twice (h16, w16)
        c = Conv (b, w16) d = Cast <to = 11> (c) e = Conv (d, w64) h = Cast <to = 1> (e)""",
        functions=TWICE,
        w16=_ones(3, 3, 1, 1, 1).astype(np.float16),
        w64=_ones(3, 3, 1, 1, 1).astype(np.float64),
    )
    assert layer_types(_file(tmp_path, model)) == {
        "Convolution": {"f32": 2, "f16": 3, "other": 1},
        "MatMul": {"f32": 1},
    }


def test_products_of_two_activations_have_their_type(tmp_path: Path) -> None:
    model = _model(
        """a = Cast <to = 10> (clip) t = Transpose <perm = [0, 1, 2, 4, 3]> (a) b = MatMul (a, t)
        c = Einsum <equation = "ncthw,ncthv->nctwv"> (b, b) h = Cast <to = 1> (c)"""
    )
    assert layer_types(_file(tmp_path, model)) == {"MatMul": {"f16": 2, "f32": 1}}


def test_what_follows_an_unknown_operator_is_of_no_known_type(tmp_path: Path) -> None:
    model = _model("s = com.example.Strange (clip) m = MatMul (clip, s) h = Cast <to = 1> (m)")
    path = tmp_path / "graph.onnx"
    onnx.save(model, path)
    assert layer_types(path) == {"MatMul": {"other": 1, "f32": 1}}

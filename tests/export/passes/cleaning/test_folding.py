"""Constant parts of a graph; their values are those that ONNX Runtime computes from the graph as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from s2tf_edge.export.passes.cleaning.folding import FoldLimits, fold_constants

X = np.random.default_rng(0).normal(size=(1, 4, 3, 6, 6)).astype(np.float32)


def _parse(nodes: str, *, first: Any = "1", output: Any = "float y", **constants: Any) -> ir.Model:
    text = f'<ir_version: 10, opset_import: ["": 18]> g (float[{first}, 4, 3, 6, 6] x) => ({output}) {{ {nodes} }}'
    proto = onnx.parser.parse_model(text)
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
    )
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, data_prop=True))


def _run(model: ir.Model) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": X})[0])


def _folded(model: ir.Model, limits: FoldLimits | None = None) -> ir.Model:
    expected = _run(model)
    folded = fold_constants(model, limits)
    np.testing.assert_allclose(_run(folded), expected, rtol=1e-5, atol=1e-5 * float(np.abs(expected).max()))
    return folded


def _operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


_WEIGHT = np.random.default_rng(1).normal(size=(8, 4, 3, 3, 3)).astype(np.float32)
_STANDARDIZED = """axes = Constant <value_ints = [1, 2, 3, 4]> () m = ReduceMean (w, axes) c = Sub (w, m) s = Mul (c, c)
    v = ReduceMean (s, axes) e = Constant <value_float = 0.00001> () p = Add (v, e) d = Sqrt (p) n = Div (c, d)
    ["stem/conv"] y = Conv (x, n)"""


def test_standardized_weights_are_weights() -> None:
    model = _folded(_parse(_STANDARDIZED, w=_WEIGHT))
    assert [(node.name, node.op_type) for node in model.graph] == [("stem/conv", "Conv")]
    assert list(model.graph.initializers) == ["n"]


def test_weights_of_any_size_are_standardized() -> None:
    """Larger than what onnxscript folds by itself."""
    weight = np.random.default_rng(1).normal(size=(1024, 4, 3, 6, 6)).astype(np.float32)
    assert _operators(_folded(_parse(_STANDARDIZED, w=weight))) == ["Conv"]


@pytest.mark.parametrize(
    "nodes",
    [
        "t = Transpose <perm = [4, 3, 0, 1, 2]> (w) y = Conv (x, t)",
        "i = Identity (w) t = Transpose <perm = [4, 3, 0, 1, 2]> (i) y = Conv (x, t)",
        "a, b = Split <axis = 4, num_outputs = 2> (w) t = Transpose <perm = [4, 3, 0, 1, 2]> (b) y = Conv (x, t)",
        "s = Shape (x) r = Reshape (x, s) t = Transpose <perm = [4, 3, 0, 1, 2]> (w) y = Conv (r, t)",
    ],
)
def test_weights_are_brought_into_place(nodes: str) -> None:
    weight = np.random.default_rng(1).normal(size=(3, 3, 3, 4, 8)).astype(np.float32)
    model = _folded(_parse(nodes, w=weight))
    assert "Conv" in _operators(model)
    assert not {"Transpose", "Split", "Shape", "Identity"} & set(_operators(model))


def test_a_free_batch_stays_free() -> None:
    nodes = """s = Shape (x) zero = Constant <value_ints = [0]> () b = Gather (s, zero)
        m = Constant <value_ints = [-1]> () t = Concat <axis = 0> (b, m) y = Reshape (x, t)"""
    model = fold_constants(_parse(nodes, first="N"))
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.repeat(X, 5, axis=0)})[0].shape == (5, 432)
    assert _operators(_folded(_parse(nodes)))[-1] == "Reshape"
    assert "Shape" not in _operators(_folded(_parse(nodes)))


@pytest.mark.parametrize(
    "make",
    [
        "s = Constant <value_ints = [1, 64, 128, 6, 6]> () k = ConstantOfShape <value = float[1] {2.0}> (s)",
        "s = Constant <value_ints = [1, 64, 128, 6, 6]> () k = Expand (f, s)",
        "s = Constant <value_ints = [1, 64, 128, 1, 1]> () g = Neg (six) k = Tile (g, s)",
    ],
)
def test_what_would_make_the_file_much_larger_stays(make: str) -> None:
    nodes = f"{make} m = ReduceMax <keepdims = 0> (k) y = Add (x, m)"
    constants = {"f": np.array(2, np.float32), "six": np.ones((1, 1, 1, 6, 6), np.float32)}
    model = _folded(_parse(nodes, **constants))
    assert any(operator in _operators(model) for operator in ("ConstantOfShape", "Expand", "Tile"))
    small = _folded(_parse(nodes.replace("64, 128", "4, 3"), **constants))
    assert _operators(small) == ["Add"]


def test_no_more_is_read_and_computed_than_is_allowed() -> None:
    for limits in (FoldLimits(read_bytes=1000), FoldLimits(work_bytes=1000)):
        model = _folded(_parse(_STANDARDIZED, w=_WEIGHT), limits)
        assert "ReduceMean" in _operators(model)


def test_quantization_is_left_alone() -> None:
    nodes = "q = QuantizeLinear (w, s, z) d = DequantizeLinear (q, s, z) y = Conv (x, d)"
    constants = {"w": _WEIGHT, "s": np.array(0.02, np.float32), "z": np.array(0, np.int8)}
    assert _operators(_folded(_parse(nodes, **constants))) == ["QuantizeLinear", "DequantizeLinear", "Conv"]


def test_nodes_of_a_branch_that_is_always_taken_keep_their_names() -> None:
    nodes = """yes = Constant <value = bool {1}> ()
        ["either"] z = If (yes) <then_branch = a () => (float[1,4,3,6,6] p) { ["then/neg"] p = Neg (x) },
                                 else_branch = b () => (float[1,4,3,6,6] q) { ["else/abs"] q = Abs (x) }>
        y = Relu (z)"""
    model = _folded(_parse(nodes))
    assert [node.name for node in model.graph if node.op_type == "Neg"] == ["then/neg"]


def test_an_empty_part_is_no_part() -> None:
    model = _folded(_parse("y = Concat <axis = 1> (x, e)", e=np.zeros((1, 0, 3, 6, 6), np.float32)))
    assert _operators(model) in ([], ["Identity"], ["Concat"])
    assert not model.graph.initializers

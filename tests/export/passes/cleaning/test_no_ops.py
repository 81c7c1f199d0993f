from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import numpy_helper

from s2tf_edge.export.passes.rewrites import DropIdentities

X = np.random.default_rng(0).normal(size=(2, 4, 6)).astype(np.float32)
CONSTANTS = {
    "shape": np.array([2, 4, 6]), "part": np.array([2, 4, -1]), "ones": np.ones(3, np.int64), "none": np.zeros(6, int),
    "moved": np.array([0, 0, -1, 0, 0, 1]), "zero": np.zeros(3, np.int64), "one": np.array([1]), "back": np.array([-1]),
    "ends": np.array([9, 9, 9]), "axes": np.arange(3), "first": np.array([1, 9, 9]), "last": np.array([-1]),
    "start": np.array([-1]), "far": np.array([-99]), "axis": np.array([2]),
    "nothing": np.zeros((0, 4, 6), np.float32), "nowhere": np.zeros((0, 1), np.int64),
    "row": np.ones((1, 4, 6), np.float32), "there": np.array([[1]]),
    "f0": np.zeros((), np.float32), "f1": np.ones((1, 1, 6), np.float32), "wide": np.zeros((5, 2, 4, 6), np.float32),
    "f2": np.full((), 2, np.float32),
}  # fmt: skip


def _parse(nodes: str) -> ir.Model:
    text = f'<ir_version: 10, opset_import: ["": 18]> g (float[2, 4, 6] x) => (float y) {{ r = Neg (x) {nodes} }}'
    proto = onnx.parser.parse_model(text)
    used = {name for node in proto.graph.node for name in node.input}
    proto.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in CONSTANTS.items() if name in used
    )
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, data_prop=True))


def _run(model: ir.Model) -> np.ndarray:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": X})[0])


@pytest.mark.parametrize(
    "node",
    [
        "Identity (r)", "Cast <to = 1> (r)", "Dropout (r)", "Reshape (r, shape)", "Reshape (r, part)",
        "Flatten <axis = 1> (q)", "Expand (r, ones)", "Expand (r, shape)", "Tile (r, ones)",
        "Transpose <perm = [0, 1, 2]> (r)", "Pad (r, none)", "Slice (r, zero, ends)",
        "Slice (r, zero, ends, axes, ones)",
        "MaxPool <kernel_shape = [1]> (r)", "AveragePool <kernel_shape = [1], strides = [1]> (r)",
        "Concat <axis = 1> (r)", "Sum (r)", "Max (r)", "ScatterND (r, nowhere, nothing)", "Add (r, f0)", "Add (f0, r)",
        "Sub (r, f0)", "Mul (r, f1)", "Mul (f1, r)", "Div (r, f1)",
    ],
)  # fmt: skip
def test_what_changes_nothing_goes(node: str) -> None:
    before = "q = Flatten <axis = 1> (r)" if "(q)" in node else ""
    model = _parse(f"{before} z = {node} y = Abs (z)")
    expected, count = _run(model), len(model.graph)
    assert DropIdentities()(model).modified
    assert len(model.graph) == count - 1
    np.testing.assert_array_equal(_run(model), expected)


@pytest.mark.parametrize(
    "node",
    [
        "Cast <to = 11> (r)", "Reshape (r, last)", "Expand (r, row_shape)", "Transpose (r)",
        "Transpose <perm = [0, 2, 1]> (r)",
        "Pad (r, moved)", "Slice (r, zero, first)", "Slice (r, start, far, axis, back)",
        "MaxPool <kernel_shape = [3], pads = [1, 1]> (r)", "AveragePool <kernel_shape = [1], strides = [2]> (r)",
        "Concat <axis = 1> (r, r)", "Sum (r, r)", "ScatterND (r, there, row)", "Add (r, wide)", "Sub (f0, r)",
        "Div (f1, r)", "Mul (r, f2)", "Add (r, f1)",
    ],
)  # fmt: skip
def test_what_changes_something_stays(node: str) -> None:
    model = _parse(f"row_shape = Constant <value_ints = [3, 2, 4, 6]> () z = {node} y = Abs (z)")
    assert not DropIdentities()(model).modified


def test_sides_without_a_name_may_be_any() -> None:
    text = """<ir_version: 10, opset_import: ["": 18]> g (float[n, 4] x, int64[2] s) => (float[a, b] y)
        { r = Neg (x) z = Reshape (r, s) y = Abs (z) }"""
    model = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))
    assert not DropIdentities()(model).modified

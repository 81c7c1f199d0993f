from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.passes.floats.float16 import Float16

LOWEST = float(np.finfo(np.float32).min)
SCORES = "float[1, 4, 6] x"
MASK = np.where(np.arange(6) < 4, 0, LOWEST).astype(np.float32)


def _parse(nodes: str, output: str, **constants: NDArray[np.float32] | float) -> ir.Model:
    text = f'<ir_version: 10, opset_import: ["": 18]> g ({SCORES}) => ({output} y) {{ {nodes} }}'
    proto = onnx.parser.parse_model(text)
    tensors = {name: np.asarray(value, np.float32) for name, value in constants.items()}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in tensors.items())
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0, 0, 1, 0, 0, 1]), "sides"))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([[True] * 4 + [False] * 2] * 4), "keep"))
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto, check_type=True))


def _run(model: ir.Model, x: NDArray[np.float32]) -> NDArray[np.float32]:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize(
    ("nodes", "output"),
    [
        pytest.param("p = Pad (x, sides, low) y = MaxPool <kernel_shape = [3]> (p)", "float[1, 4, 6]", id="pool"),
        pytest.param("p = Pad (x, sides, low) t = Transpose <perm = [0, 2, 1]> (p) y = ReduceMax <keepdims = 0> (t)",
                     "float", id="reduce"),
        pytest.param("y = Max (x, low)", "float[1, 4, 6]", id="max"),
        pytest.param("y = Min (x, high)", "float[1, 4, 6]", id="min"),
        pytest.param("y = Clip (x, low, high)", "float[1, 4, 6]", id="clip"),
        pytest.param("y = Clip (x, low)", "float[1, 4, 6]", id="clip-low"),
        pytest.param("w = Where (keep, x, low) y = GlobalMaxPool (w)", "float[1, 4, 1]", id="where-max"),
        pytest.param("w = Where (keep, x, low) y = Softmax (w)", "float[1, 4, 6]", id="where-softmax"),
        pytest.param("w = Add (x, mask) y = Softmax (w)", "float[1, 4, 6]", id="mask"),
        pytest.param("w = Add (x, mask) r = Reshape (w, shape) y = Softmax (r)", "float[4, 6]", id="mask-reshape"),
        pytest.param("m = Mul (mask01, low) w = Add (x, m) y = Softmax (w)", "float[1, 4, 6]", id="mask-product"),
        pytest.param("m = Mul (mask01, high) w = Sub (x, m) y = Softmax (w)", "float[1, 4, 6]", id="mask-difference"),
        pytest.param("w = Add (x, mask) m = ReduceMax (w, last) d = Sub (w, m) y = Exp (d)", "float[1, 4, 6]",
                     id="softmax-by-hand"),
        pytest.param("w = Where (keep, x, low) s = Sigmoid (w) y = Mul (s, x)", "float[1, 4, 6]", id="sigmoid"),
        pytest.param("c = Greater (x, low) f = Cast <to = 1> (c) y = Mul (f, x)", "float[1, 4, 6]", id="compare"),
        pytest.param("k = ConstantOfShape <value = float[1] {-3.0e38}> (sizes) w = Where (keep, x, k) y = Softmax (w)",
                     "float[1, 4, 6]", id="constant-of-shape"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("low", [LOWEST, -1e30, -1e9, -65504.0])
def test_what_stands_for_infinity_stays_harmless(nodes: str, output: str, low: float) -> None:
    mask01 = (np.arange(6) >= 4).astype(np.float32)
    model = _parse(nodes, output, low=low, high=-low, mask=np.maximum(MASK, low), mask01=mask01)
    model.graph.register_initializer(_ints("shape", [4, 6]))
    model.graph.register_initializer(_ints("last", [2]))
    model.graph.register_initializer(_ints("sizes", [1, 4, 6]))
    x = np.random.default_rng(0).normal(scale=40, size=(1, 4, 6)).astype(np.float32)
    expected = _run(model, x)
    Float16()(model)
    got = _run(model, x)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-3 * float(np.abs(expected).max()))


def test_a_row_without_anything_else_is_no_nan() -> None:
    """Of -inf alone a softmax would make NaN; of the smallest float it makes equal parts, in float16 too."""
    model = _parse("w = Add (x, mask) y = Softmax (w)", "float[1, 4, 6]", mask=np.full(6, LOWEST, np.float32))
    Float16()(model)
    np.testing.assert_allclose(_run(model, np.full((1, 4, 6), -100, np.float32)), np.full((1, 4, 6), 1 / 6), atol=1e-3)


@pytest.mark.parametrize(
    ("nodes", "name"),
    [
        ('["stage/Add"] y = Add (x, low)', "stage"),
        ('["stage/Mul"] a = Mul (x, low) b = Sin (a) y = Cos (b)', "stage"),
        ('["stage/Max"] a = Max (x, high) y = Sin (a)', "stage"),
        ('["stage/Add"] a = Add (x, high) b = Relu (a) y = Sin (b)', "stage"),
        ('["pool/Pad"] p = Pad (x, sides, low) a = AveragePool <kernel_shape = [3]> (p) y = Sin (a)', "pool"),
        ('["stage/Gemm"] a = MatMul (x, weight) y = Sin (a)', "stage"),
    ],
)
def test_what_would_overflow_is_refused_by_its_layer(nodes: str, name: str) -> None:
    weight = np.full((6, 6), 1e6, np.float32)
    model = _parse(nodes, "float[1, 4, 6]", low=-1e30, high=1e30, weight=weight)
    match = rf"layer {name} has a weight of 1e\+\d+, but float16 ends at 65504, and no maximum, .*`precision='fp32'`"
    with pytest.raises(UnsupportedError, match=match):
        Float16()(model)


def _ints(name: str, values: list[int]) -> ir.Value:
    tensor = ir.tensor(np.array(values, np.int64))
    return ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape([len(values)]))

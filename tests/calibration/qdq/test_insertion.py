from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from s2tf_edge.calibration.qdq.insertion import InsertQdq, scale_of
from s2tf_edge.calibration.qdq.placement import place
from s2tf_edge.calibration.qdq.styles import STYLES
from s2tf_edge.calibration.ranges.ranges import Range

CLIP = np.random.default_rng(1).uniform(-1, 1, (2, 3, 2, 4, 4)).astype(np.float32)
RANDOM = np.random.default_rng(0)


def _model(body: str, **weights: NDArray[Any]) -> ir.Model:
    proto = onnx.parser.parse_model(f"""
      <ir_version: 10, opset_import: ["": 18]>
      graph (float[2, 3, 2, 4, 4] clip) => (float[n, k, t, h, w] logits) {{ {body} }}""")
    for node in proto.graph.node:
        node.name = node.output[0]
    proto.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in weights.items())
    return ir.from_proto(onnx.shape_inference.infer_shapes(proto))


def _insert(model: ir.Model, style: str, *, weight_bits: int = 8, **ranges: Range) -> onnx.ModelProto:
    chosen = STYLES[style]
    covered = {name: ranges.get(name, Range(low=-20, high=20)) for name in _names(model)}
    covered["clip"] = Range(low=-1, high=1)
    InsertQdq(place(model.graph, chosen), covered, chosen, weight_bits=weight_bits)(model)
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _names(model: ir.Model) -> list[str]:
    return [str(value.name) for node in model.graph for value in node.outputs]


def _run(model: ir.Model | onnx.ModelProto) -> NDArray[np.float32]:
    proto = ir.to_proto(model) if isinstance(model, ir.Model) else model
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return np.asarray(onnxruntime.InferenceSession(proto.SerializeToString(), options).run(None, {"clip": CLIP})[0])


def _constants(proto: onnx.ModelProto) -> Mapping[str, NDArray[Any]]:
    return {each.name: numpy_helper.to_array(each) for each in proto.graph.initializer}


def _kernel(outputs: int = 5, inputs: int = 3) -> NDArray[np.float32]:
    return RANDOM.standard_normal((outputs, inputs, 1, 3, 3)).astype(np.float32)


def test_a_symmetric_scale_has_no_zero_point() -> None:
    scale = scale_of(Range(low=-2, high=1), signed=True)
    assert scale.step == pytest.approx(2 / 127)
    assert scale.zero_point == np.int8(0)
    assert scale.zero_point.dtype.name == "int8"


@pytest.mark.parametrize(("covered", "zero"), [(Range(low=-1, high=3), 64), (Range(high=3), 0), (Range(low=-3), 255)])
def test_an_unsigned_scale_represents_zero_exactly(covered: Range, zero: int) -> None:
    scale = scale_of(covered, signed=False)
    assert scale.step == pytest.approx((covered.high - covered.low) / 255)
    assert scale.zero_point == zero
    assert scale.zero_point.dtype.name == "uint8"


def test_a_tensor_without_values_gets_a_scale_all_the_same() -> None:
    for signed in (False, True):
        assert scale_of(Range(), signed=signed).step == 1


@pytest.mark.parametrize(("weight_bits", "largest"), [(8, 127), (7, 63)])
@pytest.mark.parametrize("style", STYLES)
def test_weights_are_integers_with_a_scale_for_each_output_channel(style: str, weight_bits: int, largest: int) -> None:
    kernel = _kernel() * np.array([1, 100, 0.01, 1, 0], np.float32).reshape(5, 1, 1, 1, 1)
    model = _model("first = Conv (clip, w) logits = Conv (first, v)", w=kernel, v=_kernel(2, 5))
    constants = _constants(_insert(model, style, weight_bits=weight_bits))
    integers, step = constants["first/weight/integers"], constants["first/weight/scale"]
    assert (integers.dtype.name, step.shape) == ("int8", (5,))
    assert (np.abs(integers).reshape(5, -1).max(1) == [largest] * 4 + [0]).all()
    error = np.abs(integers * step.reshape(5, 1, 1, 1, 1) - kernel).reshape(5, -1).max(1)
    assert (error <= 0.5001 * step).all()
    assert "w" not in constants


@pytest.mark.parametrize("style", STYLES)
def test_the_result_is_near_the_float_one(style: str) -> None:
    body = "first = Conv <pads = [0, 1, 1, 0, 1, 1]> (clip, w, b) relu = Relu (first) logits = Conv (relu, v)"
    weights = {"w": _kernel(), "v": _kernel(4, 5), "b": RANDOM.standard_normal(5).astype(np.float32)}
    expected = _run(_model(body, **weights))
    got = _run(_insert(_model(body, **weights), style, relu=Range(high=15)))
    assert 0 < np.abs(got - expected).max() < 0.03 * np.ptp(expected)


def test_one_pair_serves_all_readers_of_a_value() -> None:
    model = _model(
        "first = Conv (clip, w) second = Conv (clip, v) logits = Mul (first, second)", w=_kernel(), v=_kernel()
    )
    proto = _insert(model, "tensorrt")
    assert [node.name for node in proto.graph.node if node.op_type == "QuantizeLinear"] == ["clip/QuantizeLinear"]
    readers = [node.name for node in proto.graph.node if "clip/DequantizeLinear" in node.input]
    assert readers == ["first", "second"]


def test_float_readers_keep_the_float_value() -> None:
    model = _model("first = Conv (clip, w) gate = Sigmoid (clip) logits = MatMul (gate, gate)", w=_kernel())
    gate = next(node for node in _insert(model, "tensorrt").graph.node if node.name == "gate")
    assert list(gate.input) == ["clip"]


BIASED = "first = Conv (clip, w, b) second = Conv (clip, v, b) both = Add (first, second) logits = Conv (both, u)"


def test_integer_kernels_have_integer_biases_of_their_own() -> None:
    bias = np.linspace(-1, 1, 5, dtype=np.float32)
    weights = {"w": _kernel(), "v": _kernel(), "u": _kernel(2, 5), "b": bias}
    proto = _insert(_model(BIASED, **weights), "onnxruntime")
    constants = _constants(proto)
    for layer in ("first", "second"):
        integers, step = (constants[f"{layer}/bias/{kind}"] for kind in ("integers", "scale"))
        assert integers.dtype == np.int32
        np.testing.assert_allclose(step, constants[f"{layer}/weight/scale"] * constants["clip/scale"], rtol=1e-6)
        np.testing.assert_allclose(integers * step, bias, atol=step.max())
    assert "b" not in constants
    floats = _insert(_model(BIASED, **weights), "tensorrt")
    assert next(node for node in floats.graph.node if node.name == "first").input[2] == "b"


def test_a_bias_far_above_its_weights_does_not_overflow() -> None:
    kernel = _kernel(2)
    kernel[0] *= 1e-9
    bias = np.array([50, 0.5], np.float32)
    body = "first = Conv (clip, w, b) logits = Conv (first, v)"
    constants = _constants(_insert(_model(body, w=kernel, b=bias, v=_kernel(2, 2)), "onnxruntime"))
    got = constants["first/bias/integers"] * constants["first/bias/scale"].astype(np.float64)
    np.testing.assert_allclose(got, bias, rtol=1e-5, atol=constants["first/bias/scale"][1])


def test_an_output_that_is_quantized_keeps_its_name() -> None:
    body = "logits = Conv (clip, w) gate = Sigmoid (logits) last = Conv (gate, v)"
    model = _model(body, w=_kernel(), v=np.ones((2, 5, 1, 1, 1), np.float32))
    expected = _run(model)
    proto = _insert(model, "onnxruntime")
    assert [output.name for output in proto.graph.output] == ["logits"]
    assert next(node for node in proto.graph.node if "logits" in node.output).op_type == "DequantizeLinear"
    assert np.abs(_run(proto) - expected).max() < 0.05 * np.ptp(expected)


def test_matrices_are_scaled_by_output() -> None:
    matrix = RANDOM.standard_normal((4, 6)).astype(np.float32) * np.arange(1, 7, dtype=np.float32)
    for op, weight in (("MatMul (clip, w)", matrix), ("Gemm <transB = 1> (flat, w)", matrix.T.copy())):
        body = f"flat = Reshape (clip, shape) product = {op} logits = Reshape (product, back)"
        shapes = {"shape": np.array([48, 4]), "back": np.array([2, 3, 2, 4, 6])}
        proto = _insert(_model(body, w=weight, **shapes), "tensorrt", flat=Range(low=-1, high=1))
        np.testing.assert_allclose(_constants(proto)["product/weight/scale"], np.abs(matrix).max(0) / 127, rtol=1e-6)
        assert np.abs(_run(proto) - _run(_model(body, w=weight, **shapes))).max() < 0.5

"""Operators on integers, each against ONNX Runtime's own kernel of it."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import parser

from s2tf_edge.export.passes.quantized.qoperators import ExpandQOperators

_X = np.random.default_rng(0).normal(size=(1, 2, 4, 4)).astype(np.float32)
_STEP = 0.02


def _model(body: str) -> onnx.ModelProto:
    """``body`` makes ``r`` of the integers ``q``."""
    model: onnx.ModelProto = parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 18, "com.microsoft": 1]>
        net (float[1, 2, 4, 4] x) => (float[1, 2, N, M] y)
        <float s = {{0.03}}, uint8 z = {{120}}, float t = {{{_STEP}}}, uint8 u = {{100}},
         int8[4, 4] m = {{1, -2, 3, 4, 5, -6, 7, 8, 9, 10, -11, 12, 13, 14, 15, -16}},
         float[4] ms = {{0.1, 0.05, 0.2, 0.1}},
         int8[4] mz = {{0, 0, 0, 0}}, int8[2, 2, 1, 1] k = {{5, -7, 9, 3}}, float[2] ks = {{0.1, 0.05}},
         int8[2] kz = {{0, 0}}, int32[2] b = {{100, -50}}> {{
          q = QuantizeLinear (x, s, z) {body} y = DequantizeLinear (r, t, u)
        }}""")
    return model


def _run(model: onnx.ModelProto) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": _X})[0])


@pytest.mark.parametrize(
    ("body", "operator"),
    [
        ("r = QLinearConv (q, s, z, k, ks, kz, t, u)", "Conv"),
        ("r = QLinearConv <pads = [1, 1, 1, 1], strides = [2, 2]> (q, s, z, k, ks, kz, t, u, b)", "Conv"),
        ("r = QLinearMatMul (q, s, z, m, ms, mz, t, u)", "MatMul"),
        ("r = com.microsoft.QLinearAdd (q, s, z, q, s, z, t, u)", "Add"),
        ("r = com.microsoft.QLinearMul (q, s, z, q, s, z, t, u)", "Mul"),
        ("r = com.microsoft.QLinearSigmoid (q, s, z, t, u)", "Sigmoid"),
        ("r = com.microsoft.QLinearLeakyRelu <alpha = 0.2> (q, s, z, t, u)", "LeakyRelu"),
        ("r = com.microsoft.QLinearSoftmax <axis = -1, opset = 18> (q, s, z, t, u)", "Softmax"),
        (
            "r = com.microsoft.QLinearAveragePool <kernel_shape = [2, 2], strides = [2, 2]> (q, s, z, t, u)",
            "AveragePool",
        ),
        ("r = com.microsoft.QLinearGlobalAveragePool (q, s, z, t, u)", "GlobalAveragePool"),
    ],
)
def test_both_forms_say_the_same(body: str, operator: str) -> None:
    """But for the last rounding, which may go the other way where it lies between two steps."""
    model = _model(body)
    graph = ir.from_proto(model)
    assert ExpandQOperators()(graph).modified
    expanded = ir.to_proto(graph)
    onnx.checker.check_model(expanded, full_check=True)
    assert {node.op_type for node in expanded.graph.node} == {"QuantizeLinear", "DequantizeLinear", operator}
    got, expected = _run(expanded), _run(model)
    assert np.abs(got - expected).max() <= 1.01 * _STEP
    assert np.abs(got - expected).mean() < 0.1 * _STEP


def test_what_has_no_other_form_stays() -> None:
    body = "a = ConvInteger (q, k, z) f = Cast <to = 1> (a) r = QuantizeLinear (f, t, u)"
    graph = ir.from_proto(_model(body))
    assert not ExpandQOperators()(graph).modified
    assert "ConvInteger" in {node.op_type for node in graph.graph}


def test_channels_that_come_last_stay() -> None:
    body = "r = com.microsoft.QLinearGlobalAveragePool <channels_last = 1> (q, s, z, t, u)"
    assert not ExpandQOperators()(ir.from_proto(_model(body))).modified

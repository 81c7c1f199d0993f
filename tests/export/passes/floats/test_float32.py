from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray

from s2tf_edge.export.passes.floats.float32 import Float32

X = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)


def _parse(nodes: str, *, inputs: str = "float16[2, 4] x", output: str = "float16[2, 4] y", rest: str = "") -> ir.Model:
    text = f'<ir_version: 10, opset_import: ["" : 18, "d": 1]> g ({inputs}) => ({output}) {{ {nodes} }} {rest}'
    return ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))


def _run(model: ir.Model, x: NDArray[Any]) -> NDArray[Any]:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


_BRANCHES = """yes = Constant <value = bool {1}> ()
    y = If (yes) <
      then_branch = a () => (float16[2, 4] p) { p = Neg (x) },
      else_branch = b () => (float16[2, 4] q) { k = Constant <value = float16 {16384}> () q = Mul (x, k) }>"""
_BODY = """<domain: "d", opset_import: ["": 18]> Half (a) => (b)
    { k = Constant <value = float16 {16384}> () f = Cast <to = 10> (a) b = Div (f, k) }"""


# float16 is written as its bits: 16384 is 2.
@pytest.mark.parametrize(
    ("nodes", "rest"),
    [
        ("k = Constant <value = float16[4] {15360, 16384, 16896, 17408}> () y = Add (x, k)", ""),
        ("f = Cast <to = 1> (x) s = Softmax (f) y = Cast <to = 10> (s)", ""),
        ("s = Shape (x) k = ConstantOfShape <value = float16[1] {16384}> (s) y = Mul (x, k)", ""),
        ("e = EyeLike <dtype = 10> (x) y = Add (x, e)", ""),
        ("f = Cast <to = 1> (x) c = CastLike (f, x) y = Neg (c)", ""),
        (_BRANCHES, ""),
        ("y = d.Half (x)", _BODY),
    ],
)
def test_no_half_is_left(nodes: str, rest: str) -> None:
    model = _parse(nodes, rest=rest)
    expected = _run(model, X.astype(np.float16))
    assert Float32()(model).modified
    assert "FLOAT16" not in str(ir.to_proto(model)).upper()
    got = _run(model, X.astype(np.float16).astype(np.float32))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected.astype(np.float32), rtol=2e-3, atol=2e-3)
    assert not Float32()(model).modified


@pytest.mark.parametrize("ends", ["float", "float16"])
def test_weights_keep_their_values(ends: str) -> None:
    cast = "h = Cast <to = 10> (x)" if ends == "float" else "h = Identity (x)"
    back = "y = Cast <to = 1> (z)" if ends == "float" else "y = Identity (z)"
    model = _parse(f"{cast} z = Mul (h, w) {back}", inputs=f"{ends}[2, 4] x, float16[4] w", output=f"{ends}[2, 4] y")
    weight = np.array([0.1, -65504, 6e-8, -np.inf], np.float16)
    (value,) = (each for each in model.graph.inputs if each.name == "w")
    model.graph.inputs.remove(value)
    value.const_value = ir.tensor(weight, name="w")
    model.graph.register_initializer(value)
    Float32()(model)
    assert {each.dtype for each in (*model.graph.inputs, *model.graph.outputs, value)} == {ir.DataType.FLOAT}
    assert value.const_value.dtype == ir.DataType.FLOAT
    np.testing.assert_array_equal(value.const_value.numpy(), weight.astype(np.float32))
    np.testing.assert_array_equal(_run(model, X), X * weight.astype(np.float32))


def test_bfloat16_becomes_float32_too() -> None:
    model = _parse("b = Cast <to = 16> (x) s = Add (b, b) y = Cast <to = 1> (s)", inputs="float[2, 4] x",
                   output="float[2, 4] y")  # fmt: skip
    assert Float32()(model).modified
    np.testing.assert_array_equal(_run(model, X), X + X)


def test_a_graph_in_float32_stays_as_it_is() -> None:
    model = _parse("c = Cast <to = 6> (x) f = Cast <to = 11> (c) y = Cast <to = 1> (f)", inputs="float[2, 4] x",
                   output="float[2, 4] y")  # fmt: skip
    before = ir.to_proto(model)
    assert not Float32()(model).modified
    assert ir.to_proto(model) == before

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import parser

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.passes.quantized.qdq_values import dequantize_constant
from s2tf_edge.export.passes.quantized.strip_qdq import FloatBiases, StripQdq

_X = np.random.default_rng(0).normal(size=(1, 2, 4)).astype(np.float32)


def _parse(body: str, *, inputs: str = "float[1, 2, 4] x", output: str = "float[1, 2, 4] y", opset: int = 21) -> Any:
    return parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> net ({inputs}) => ({output}) {body}')


def _run(model: onnx.ModelProto) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": _X})[0])


def _strip(model: onnx.ModelProto) -> onnx.ModelProto:
    graph = ir.from_proto(model)
    StripQdq()(graph)
    stripped = ir.to_proto(graph)
    onnx.checker.check_model(stripped, full_check=True)
    assert not [node.op_type for node in stripped.graph.node if node.op_type.endswith("zeLinear")]
    return stripped


@pytest.mark.parametrize(
    "moving",
    [
        "",
        "b = Transpose <perm = [0, 2, 1]> (a) c = Transpose <perm = [0, 2, 1]> (b)",
        "b = Reshape (a, flat) c = Reshape (b, full)",
        "b1, b2 = Split <axis = 1, num_outputs = 2> (a) c = Concat <axis = 1> (b1, b2)",
    ],
)
def test_activations_pass_as_they_are(moving: str) -> None:
    """Whatever moves them about between the two."""
    last = "c" if moving else "a"
    model = _parse(f"""
        <float s = {{0.01}}, int8 z = {{3}}, int64[2] flat = {{2, 4}}, int64[3] full = {{1, 2, 4}}> {{
          a = QuantizeLinear (x, s, z) {moving} d = DequantizeLinear ({last}, s, z) y = Relu (d)
        }}""")
    np.testing.assert_array_equal(_run(_strip(model)), np.maximum(_X, 0))


@pytest.mark.parametrize(
    ("before", "zero", "wanted"),
    [
        ("", "uint8 z = {0}", ["Relu", "Abs"]),
        ("", "int8 z = {-128}", ["Relu", "Abs"]),
        ("", "uint8 z = {1}", ["Abs"]),
        ("", "int8 z = {0}", ["Abs"]),
        ("r = Relu (x)", "uint8 z = {0}", ["Relu", "Abs"]),
        ("q = Sigmoid (x) r = Identity (q)", "uint8 z = {0}", ["Sigmoid", "Identity", "Abs"]),
    ],
)
def test_integers_that_begin_at_zero_stand_for_a_relu(before: str, zero: str, wanted: list[str]) -> None:
    """One that ONNX Runtime's quantizer leaves out; what cannot be negative needs none."""
    model = _parse(f"""<float s = {{0.01}}, {zero}> {{
          {before} a = QuantizeLinear ({"r" if before else "x"}, s, z) d = DequantizeLinear (a, s, z) y = Abs (d)
        }}""")
    stripped = _strip(model)
    assert [node.op_type for node in stripped.graph.node] == wanted
    clipped = np.abs(_X) if wanted == ["Abs"] else _run(stripped)
    np.testing.assert_array_equal(_run(stripped), clipped)
    if wanted[0] == "Relu":
        np.testing.assert_array_equal(clipped, np.maximum(_X, 0))


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [("", ["Relu", "Abs"]), ("<output_dtype = 2>", ["Relu", "Abs"]), ("<output_dtype = 3>", ["Abs"])],
)
@pytest.mark.parametrize("is_inferred", [True, False])
def test_integers_without_a_zero_point_have_the_type_that_is_asked_for(
    asked: str, wanted: list[str], is_inferred: bool
) -> None:
    """From opset 21 on: int8 (3) begins below zero, and stands for no Relu."""
    model = _parse(f"""<float s = {{0.1}}> {{
          a = QuantizeLinear {asked} (x, s) d = DequantizeLinear (a, s) y = Abs (d)
        }}""")
    stripped = _strip(onnx.shape_inference.infer_shapes(model) if is_inferred else model)
    assert [node.op_type for node in stripped.graph.node] == wanted
    np.testing.assert_allclose(_run(stripped), _run(model), atol=0.051)


def test_an_output_keeps_its_name() -> None:
    model = _parse("<float s = {0.5}, uint8 z = {128}> { r = Relu (x) q = QuantizeLinear (r, s, z) "
                   "y = DequantizeLinear (q, s, z) }")  # fmt: skip
    stripped = _strip(model)
    assert [each.name for each in stripped.graph.output] == ["y"]
    np.testing.assert_array_equal(_run(stripped), np.maximum(_X, 0))


@pytest.mark.parametrize(
    ("constants", "attributes"),
    [
        ("int8[2, 4] w = {1, -2, 3, 4, 5, -6, 7, 8}, float s = {0.5}, int8 z = {1}", ""),
        ("uint8[2, 4] w = {1, 2, 3, 4, 5, 6, 7, 8}, float[4] s = {0.5, 1, 2, 4}, uint8[4] z = {1, 2, 3, 4}", ""),
        ("int8[2, 4] w = {1, -2, 3, 4, 5, -6, 7, 8}, float[2] s = {0.5, 1}, int8[2] z = {1, 2}", "<axis = 0>"),
        ("int8[2, 4] w = {1, -2, 3, 4, 5, -6, 7, 8}, float[2] s = {0.5, 1}, int8[2] z = {1, 2}", "<axis = -2>"),
        ("int16[2, 4] w = {1, -2, 300, 4, 5, -600, 7, 8}, float s = {0.5}, int16 z = {0}", ""),
        (
            "int8[2, 4] w = {1, -2, 3, 4, 5, -6, 7, 8}, float[2, 2] s = {0.5, 1, 2, 4}, int8[2, 2] z = {0, 1, 2, 3}",
            "<axis = 1, block_size = 2>",
        ),
    ],
)
def test_constants_become_what_they_stand_for(constants: str, attributes: str) -> None:
    model = _parse(f"<{constants}> {{ d = DequantizeLinear {attributes} (w, s, z) y = Add (x, d) }}")
    stripped = _strip(model)
    np.testing.assert_allclose(_run(stripped), _run(model), rtol=1e-6)
    assert {each.data_type for each in stripped.graph.initializer} == {onnx.TensorProto.FLOAT}


def test_weights_that_are_rounded_in_the_graph_are_not_any_more() -> None:
    model = _parse("""<float[2, 4] w = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8}, float s = {0.25}, int8 z = {0}> {
          q = QuantizeLinear (w, s, z) d = DequantizeLinear (q, s, z) y = Add (x, d)
        }""")
    np.testing.assert_allclose(_run(_strip(model)), _X + np.arange(1, 9).reshape(2, 4) / 10, rtol=1e-6)


def test_integers_that_nothing_quantized_stay() -> None:
    body = "<float s = {0.5}> { i = Cast <to = 3> (x) y = DequantizeLinear (i, s) }"
    with pytest.raises(UnsupportedError, match=r"DequantizeLinear .* takes the integers of Cast .*, which no Quantize"):
        StripQdq()(ir.from_proto(_parse(body)))


def test_wide_constants_alone_are_written_out() -> None:
    model = _parse("""<float s = {0.5}, int8 z = {0}, int32[4] b = {1, 2, 3, 4}, float t = {0.25}> {
          q = QuantizeLinear (x, s, z) d = DequantizeLinear (q, s, z) e = DequantizeLinear (b, t) y = Add (d, e)
        }""")
    graph = ir.from_proto(model)
    FloatBiases()(graph)
    changed = ir.to_proto(graph)
    assert [node.op_type for node in changed.graph.node] == ["QuantizeLinear", "DequantizeLinear", "Add"]
    np.testing.assert_allclose(_run(changed), _run(model), rtol=1e-6)


def test_what_is_computed_is_no_constant() -> None:
    model = ir.from_proto(_parse("<float s = {0.5}> { i = Cast <to = 3> (x) y = DequantizeLinear (i, s) }"))
    assert dequantize_constant(model.graph[1]) is None

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from s2tf_edge.calibration.qdq.placement import Placement, before_layers, place
from s2tf_edge.calibration.qdq.styles import STYLES, find_style
from s2tf_edge.errors import UsageError

COMPILED = ("tensorrt", "openvino")
WEIGHTS = {"w": (4, 4, 1, 1, 1), "m": (4, 4), "b": (4,), "p": (10,), "r": (2,), "half": (4, 4, 1, 1, 1)}


def _graph(body: str) -> ir.Graph:
    """A graph whose nodes are named like their results; ``w`` is a kernel, ``m`` a matrix."""
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["": 18]> graph (float[1,4,4,8,8] clip) => (float[n,k] logits) {{ {body} }}'
    )
    for node in proto.graph.node:
        node.name = node.output[0]
    for name, shape in WEIGHTS.items():
        kind = {"p": np.int64, "r": np.int64, "half": np.float16}.get(name, np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, kind), name))
    return ir.from_proto(proto).graph


def _edges(placement: Placement) -> set[str]:
    """Quantized inputs as ``<value>→<reader>``."""
    return {f"{node.inputs[index].name}→{node.name}" for node, index in placement.edges}  # type: ignore[union-attr]


def _results(placement: Placement) -> set[str]:
    return {str(value.name) for value in placement.results}


def _groups(placement: Placement) -> set[frozenset[str]]:
    return {frozenset(str(value.name) for value in group) for group in placement.groups if len(group) > 1}


def _reasons(placement: Placement) -> dict[str, str]:
    return {each.name: each.reason for each in placement.excluded}


RESIDUAL = """
  first = Conv (clip, w)   a = Relu (first)
  second = Conv (a, w)     b1 = Relu (second)
  third = Conv (b1, w)     sum = Add (third, a)
  c = Relu (sum)           logits = Conv (c, w)
"""


@pytest.mark.parametrize("style", COMPILED)
def test_a_residual_sum_is_fused_with_its_convolution_and_reads_an_integer_shortcut(style: str) -> None:
    placement = place(_graph(RESIDUAL), STYLES[style])
    assert _edges(placement) == {"clip→first", "a→second", "b1→third", "a→sum", "c→logits"}
    assert not placement.results
    assert [layer.name for layer in placement.layers] == ["first", "second", "third", "logits"]


def test_integer_kernels_have_integer_results_behind_their_relu() -> None:
    placement = place(_graph(RESIDUAL), STYLES["onnxruntime"])
    assert _edges(placement) == {"clip→first", "a→second", "b1→third", "third→sum", "a→sum"}
    assert _results(placement) == {"a", "b1", "third", "c"}


def test_the_networks_own_result_is_not_cut_off() -> None:
    placement = place(_graph(RESIDUAL), STYLES["onnxruntime"])
    assert "logits" in _reasons(placement)
    assert "logits" not in _results(placement)
    gemm = place(_graph("flat = Reshape (clip, r)  logits = Gemm (flat, m, b)"), STYLES["onnxruntime"])
    assert _edges(gemm) == {"flat→logits"}
    assert not gemm.results
    assert not gemm.excluded


@pytest.mark.parametrize(("order", "shortcut"), [("first second", "first"), ("second first", "second")])
def test_of_two_convolutions_the_later_one_takes_the_sum(order: str, shortcut: str) -> None:
    convolutions = " ".join(f"{name} = Conv (clip, w)" for name in order.split())
    graph = _graph(f"{convolutions} sum = Add (first, second) logits = Conv (sum, w)")
    assert f"{shortcut}→sum" in _edges(place(graph, STYLES["tensorrt"]))
    assert len(place(graph, STYLES["tensorrt"]).edges) == 4


def test_a_sum_that_no_convolution_can_take_stays_in_float() -> None:
    body = "first = Conv (clip, w) gate = Sigmoid (first) sum = Add (first, gate) logits = Conv (sum, w)"
    assert _edges(place(_graph(body), STYLES["tensorrt"])) == {"clip→first", "sum→logits"}
    shifted = "first = Conv (clip, w) sum = Add (first, b) logits = Conv (sum, w)"
    for style in STYLES.values():
        assert "first→sum" not in _edges(place(_graph(shifted), style))


@pytest.mark.parametrize("style", STYLES)
def test_pools_between_layers_pass_integers_on_with_one_scale(style: str) -> None:
    body = """
      first = Conv (clip, w)  a = Relu (first)
      pool = MaxPool <kernel_shape = [1, 2, 2]> (a)
      mean = AveragePool <kernel_shape = [1, 2, 2]> (pool)
      second = Conv (mean, w) logits = Conv (second, w)
    """
    placement = place(_graph(body), STYLES[style])
    assert {"a→pool", "pool→mean", "mean→second"} <= _edges(placement)
    assert _groups(placement) == {frozenset({"a", "pool"})}


@pytest.mark.parametrize("style", STYLES)
def test_a_pool_with_a_float_reader_stays_in_float(style: str) -> None:
    body = """
      pool = MaxPool <kernel_shape = [1, 2, 2]> (clip)
      first = Conv (pool, w) gate = Sigmoid (pool) product = Mul (first, gate)
      logits = Conv (product, w)
    """
    assert "clip→pool" not in _edges(place(_graph(body), STYLES[style]))


@pytest.mark.parametrize("style", STYLES)
def test_branches_of_a_concatenation_share_a_scale(style: str) -> None:
    body = """
      left = Conv (clip, w)  a = Relu (left)
      right = Conv (clip, w) c = Relu (right)
      both = Concat <axis = 1> (a, c)
      pool = MaxPool <kernel_shape = [1, 2, 2]> (both)
      logits = Conv (pool, w)
      other = Conv (both, w)
    """
    graph = _graph(body + "last = Conv (logits, w) end = Conv (other, w)")
    placement = place(graph, STYLES[style])
    assert {"a→both", "c→both", "both→pool", "both→other", "pool→logits"} <= _edges(placement)
    assert _groups(placement) == {frozenset({"a", "c", "both", "pool"})}


@pytest.mark.parametrize(("value", "passes"), [("", True), (", zero", True), (", one", False)])
def test_padding_with_zeros_passes_integers_on(value: str, *, passes: bool) -> None:
    body = f"""
      zero = Constant <value_float = 0.0> ()  one = Constant <value_float = 1.0> ()
      first = Conv (clip, w)  wide = Pad (first, p{value})
      pool = MaxPool <kernel_shape = [1, 2, 2]> (wide)  logits = Conv (pool, w)
    """
    placement = place(_graph(body), STYLES["tensorrt"])
    assert ({"first→wide", "wide→pool"} <= _edges(placement)) is passes
    assert "pool→logits" in _edges(placement)
    assert (frozenset({"first", "wide", "pool"}) in _groups(placement)) is passes


def test_products_of_activations_and_odd_layers_stay_in_float_and_say_why() -> None:
    body = """
      computed = Mul (w, w)          first = Conv (clip, computed)
      second = Conv (first, half)    flat = Reshape (second, r)
      attention = MatMul (flat, flat)
      third = Gemm <alpha = 0.5> (attention, m)
      fourth = Gemm <transA = 1> (third, m)
      logits = MatMul (fourth, m)
    """
    placement = place(_graph(body), STYLES["tensorrt"])
    assert _reasons(placement) == {
        "first": "its weights are computed in the graph",
        "second": "its weights are not a float32 kernel or matrix",
        "attention": "its operands are activations",
        "third": "its operands are transposed or scaled",
        "fourth": "its operands are transposed or scaled",
    }
    assert [layer.name for layer in placement.layers] == ["logits"]


@pytest.mark.parametrize("style", STYLES)
def test_what_is_excluded_stays_in_float(style: str) -> None:
    placement = place(_graph(RESIDUAL), STYLES[style], excluded=["third"])
    assert _reasons(placement)["third"] == "excluded"
    edges = _edges(placement)
    assert "b1→third" not in edges
    # The sum goes where its convolution goes; integer kernels still have the shortcut's integers.
    assert ("a→sum" in edges) is (style == "onnxruntime")


def test_sums_are_excluded_like_layers() -> None:
    placement = place(_graph(RESIDUAL), STYLES["tensorrt"], excluded=["third", "sum"])
    assert _edges(placement) == {"clip→first", "a→second", "c→logits"}


def test_a_name_that_the_graph_lacks_is_an_error() -> None:
    message = "the graph has no node 'neck' to exclude; it has 8, such as first, a, second, b1"
    with pytest.raises(UsageError, match=message):
        place(_graph(RESIDUAL), STYLES["tensorrt"], excluded=["first", "neck"])


def test_styles_are_named() -> None:
    assert find_style("tensorrt") is STYLES["tensorrt"]
    with pytest.raises(UsageError, match="no style of integer graph is called 'tflite'; there are tensorrt, openvino"):
        find_style("tflite")


def test_values_before_the_first_layer() -> None:
    body = "scaled = Mul (clip, b) turned = Transpose (scaled) first = Conv (turned, w) logits = Add (first, turned)"
    assert {value.name for value in before_layers(_graph(body))} == {"clip", "scaled", "turned"}

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.graph.custom_ops import InlineCustomOps
from s2tf_edge.export.passes.floats.float16 import Float16
from s2tf_edge.export.sources.torch_to_onnx import to_onnx
from s2tf_edge.models import create_model

FLOAT, HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
NETWORKS = {
    "s2tf_nl_i3d_r50?width=0.0625": (4, 33, None),
    "s2tf_x3d_xs?width=0.25": (4, 64, 1),
}


@pytest.fixture(scope="module", params=NETWORKS)
def graph(request: pytest.FixtureRequest) -> onnx.ModelProto:
    """A network of ten classes in float32, its own operators kept."""
    torch.manual_seed(0)
    frames, size, batch = NETWORKS[request.param]
    network = create_model(request.param, num_classes=10, frames=frames, size=size).eval()
    return ir.to_proto(to_onnx(network, batch=batch, mask=True))


def _half(proto: onnx.ModelProto, *, inline: bool = False) -> ir.Model:
    model = ir.from_proto(proto)
    if inline:
        InlineCustomOps()(model)
    assert Float16()(model).modified
    return model


def _run(model: ir.Model | onnx.ModelProto, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    proto = ir.to_proto(model) if isinstance(model, ir.Model) else model
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def _clip(proto: onnx.ModelProto) -> np.ndarray:
    shape = [side.dim_value or 2 for side in proto.graph.input[0].type.tensor_type.shape.dim]
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("inline", [False, True])
def test_computes_what_the_float32_graph_does(graph: onnx.ModelProto, inline: bool) -> None:
    clip = _clip(graph)
    expected, got = _run(graph, clip=clip), _run(_half(graph, inline=inline), clip=clip)
    for name in ("logits", "mask"):
        assert got[name].dtype == np.float32
        error = np.abs(got[name] - expected[name]).max() / np.ptp(expected[name])
        assert 0 < error < 0.01


def test_is_half_the_size_and_has_nothing_left_to_convert(graph: onnx.ModelProto) -> None:
    model = _half(graph)
    proto = ir.to_proto(model)
    weights = sum(len(each.raw_data) for each in graph.graph.initializer)
    assert sum(len(each.raw_data) for each in proto.graph.initializer) < 0.51 * weights
    assert {each.name for each in proto.graph.initializer} == {each.name for each in graph.graph.initializer}
    assert not Float16()(model).modified
    assert ir.to_proto(model) == proto
    assert model.metadata_props == {each.key: each.value for each in graph.metadata_props}


def test_what_loses_accuracy_stays_in_float32(graph: onnx.ModelProto) -> None:
    for node in [node for node in _half(graph, inline=True).graph if node.op_type != "Cast"]:
        name, dtype = str(node.name), node.outputs[0].dtype
        if name.startswith("saliency.fusion") or node.op_type in {"Softmax", "AveragePool"}:
            assert dtype == FLOAT, name
        elif node.op_type in {"Conv", "MatMul", "Gemm"}:
            assert dtype == HALF, name
        elif name.startswith("saliency") and node.op_type in {"Sigmoid", "Mul", "Div"}:
            assert dtype == FLOAT, name
        elif name.startswith("saliency.miners") and node.op_type == "Add":
            assert dtype == (HALF if ".blocks." in name else FLOAT), name
        elif ".squeeze/" in name and node.op_type == "Sigmoid":
            assert dtype == HALF, name


def test_casts_stand_where_types_meet_only(graph: onnx.ModelProto) -> None:
    model = _half(graph, inline=True)
    casts = [node for node in model.graph if node.op_type == "Cast"]
    assert max(Counter(node.inputs[0] for node in casts).values()) == 1
    for node in casts:
        source = node.inputs[0]
        assert source is not None
        assert source.dtype != node.outputs[0].dtype
        assert source.producer() is None or source.producer() not in casts
        assert str(node.name).rpartition("/")[2].startswith("Cast")


def test_bodies_take_the_types_that_they_are_called_with(graph: onnx.ModelProto) -> None:
    model = _half(graph)
    calls = [node for node in model.graph if node.op_identifier() in model.functions]
    types = {node.op_type: [None if each is None else each.dtype for each in node.inputs] for node in calls}
    outputs = {node.op_type: node.outputs[0].dtype for node in calls}
    assert types["SaliencyMining"] == [HALF] * 10 + [FLOAT, FLOAT]
    assert types["FeaturePreserving"][0] == FLOAT
    assert set(types["FeaturePreserving"][2:]) == {HALF}
    assert set(types["TemporalFusion"]) == {FLOAT}
    saliency = [outputs[name] for name in ("SaliencyMining", "FeaturePreserving", "TemporalFusion")]
    assert saliency == [FLOAT] * 3
    if "NonLocal" in types:
        assert {*types["NonLocal"], outputs["NonLocal"]} == {HALF}


def _parse(nodes: str, *, inputs: str = "float[N, 4] x", output: str = "float[N, 4] y", rest: str = "") -> ir.Model:
    text = f'<ir_version: 10, opset_import: ["" : 18, "d" : 1]> g ({inputs}) => ({output}) {rest} {{ {nodes} }}'
    return ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text)))


def _operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def test_keep_decides_by_node_and_one_cast_serves_all_readers() -> None:
    nodes = "a = Relu (x) b = Abs (a) c = Neg (a) d = Add (b, c) y = Sin (d)"
    model = _parse(nodes)
    Float16(lambda node, _: node.op_type in {"Abs", "Neg", "Sin"})(model)
    assert _operators(model) == ["Cast", "Relu", "Cast", "Abs", "Neg", "Cast", "Cast", "Add", "Cast", "Sin"]
    x = np.array([[-1, 0.5, 2, 3]], np.float32)
    np.testing.assert_allclose(_run(model, x=x)["y"], _run(_parse(nodes), x=x)["y"], atol=1e-3)


def test_a_graph_that_keeps_everything_stays_as_it_is() -> None:
    model = _parse("y = Relu (x)")
    assert not Float16(lambda _node, _function: True)(model).modified
    assert _operators(model) == ["Relu"]


def test_a_weight_that_both_types_read_is_there_in_both() -> None:
    model = _parse("a = Add (x, w) y = Sin (a) z = Mul (y, w)", output="float[N, 4] z", rest="<float[4] w = {1,2,3,4}>")
    Float16(lambda node, _: node.op_type == "Mul")(model)
    types = {name: value.dtype for name, value in model.graph.initializers.items()}
    assert types == {"w": FLOAT, "w/float16": HALF}
    _run(model, x=np.zeros((1, 4), np.float32))


def test_a_constant_that_both_types_read_is_there_in_both() -> None:
    model = _parse("w = Constant <value_floats = [1.0, 2.0, 3.0, 4.0]> () a = Add (x, w) b = Sin (a) y = Mul (b, w)")
    Float16(lambda node, _: node.op_type == "Mul")(model)
    assert {name: value.dtype for name, value in model.graph.initializers.items()} == {"w/float16": HALF}
    assert _operators(model)[0] == "Constant"
    np.testing.assert_allclose(
        _run(model, x=np.zeros((1, 4), np.float32))["y"], [np.sin([1, 2, 3, 4]) * [1, 2, 3, 4]], atol=4e-3
    )


def test_shapes_and_integers_are_not_cast() -> None:
    nodes = "s = Shape (x) f = Cast <to = 1> (i) a = Mul (x, f) y = Reshape (a, s)"
    model = _parse(nodes, inputs="float[N, 4] x, int64[4] i")
    Float16()(model)
    casts = {(node.inputs[0], node.outputs[0].dtype) for node in model.graph if node.op_type == "Cast"}
    assert casts == {(model.graph.inputs[0], HALF), (model.graph.inputs[1], HALF), (model.graph[-2].outputs[0], FLOAT)}
    assert _operators(model) == ["Shape", "Cast", "Cast", "Mul", "Reshape", "Cast"]
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(_run(model, x=x, i=np.arange(4))["y"], x * np.arange(4))


def test_unknown_operators_get_float32() -> None:
    model = _parse("a = Relu (x) b = d.Unknown (a) y = Relu (b)")
    Float16()(model)
    node = next(node for node in model.graph if node.op_type == "Unknown")
    assert node.inputs[0] is not None
    assert node.inputs[0].dtype == FLOAT


def test_control_flow_reads_float32() -> None:
    branches = (
        "then_branch = t () => (float[N, 4] p) { p = Sin (a) }, else_branch = e () => (float[N, 4] q) { q = Cos (a) }"
    )
    nodes = f"a = Relu (x) b = If (c) <{branches}> y = Relu (b)"
    model = _parse(nodes, inputs="float[N, 4] x, bool c")
    Float16()(model)
    x = np.array([[-1, 0.5, 2, 3]], np.float32)
    for flag in (True, False):
        expected = (np.sin if flag else np.cos)(np.maximum(x, 0)).clip(0)
        np.testing.assert_allclose(_run(model, x=x, c=np.array(flag))["y"], expected, atol=1e-3)


@pytest.mark.parametrize(("side", "dtype"), [(8, HALF), (9, FLOAT)])
def test_sums_over_many_values_are_taken_in_float32(side: int, dtype: ir.DataType) -> None:
    model = _parse(
        "axes = Constant <value_ints = [2, 3]> () a = Relu (x) m = ReduceMean (a, axes) y = Relu (m)",
        inputs=f"float[N, 4, {side}, 8] x",
        output="float[N, 4, 1, 1] y",
    )
    Float16()(model)
    assert next(node for node in model.graph if node.op_type == "ReduceMean").outputs[0].dtype == dtype


def test_a_weight_that_does_not_fit_names_its_layer() -> None:
    model = _parse("y = Add (x, w)", rest="<float[4] w = {1, 70000, 1, 1}>")
    model.graph[0].name = "head.fc/Add"
    with pytest.raises(UnsupportedError, match=r"layer head\.fc has a weight of 70000, but float16 ends at 65504"):
        Float16()(model)

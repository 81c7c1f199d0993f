from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from s2tf_edge.export.passes.expand import ExpandOperators
from s2tf_edge.export.passes.rewrites import DropIdentities, FoldNorms, SwishToSigmoid


def parse(
    nodes: str, *, inputs: str = "float[N, 4, 6] x", output: str = "float[N, 4, 6] y", rest: str = "", opset: int = 18
) -> onnx.ModelProto:
    """A graph whose nodes are named ``layer<index>/<operator>``."""
    text = f'<ir_version: 10, opset_import: ["" : {opset}]> g ({inputs}) => ({output}) {rest} {{ {nodes} }}'
    proto = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
    for index, node in enumerate(proto.graph.node):
        node.name = f"layer{index}/{node.op_type}"
    return proto


def run(proto: onnx.ModelProto, *, batch: int = 2) -> Sequence[np.ndarray]:
    """Outputs for seeded inputs, after a check of the graph."""
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    inputs = {
        each.name: random.standard_normal([side if isinstance(side, int) else batch for side in each.shape], np.float32)
        for each in session.get_inputs()
    }
    outputs: Sequence[np.ndarray] = session.run(None, inputs)
    return outputs


def rewritten(rewrite: ir.passes.InPlacePass, proto: onnx.ModelProto) -> ir.Model:
    """The graph after the pass, which must compute the same and find nothing more to do."""
    model = ir.from_proto(proto)
    assert rewrite(model).modified
    for expected, got in zip(run(proto), run(ir.to_proto(model)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=2e-6 * np.ptp(expected))
    assert [value.name for value in model.graph.outputs] == [value.name for value in proto.graph.output]
    assert not rewrite(model).modified
    return model


def names(model: ir.Model) -> list[str]:
    return [str(node.name) for node in model.graph]


def test_swish_is_a_gated_product() -> None:
    model = rewritten(SwishToSigmoid(), parse("a = Swish (x) y = Swish <alpha = 1.7> (a)", opset=24))
    assert names(model) == ["layer0/Sigmoid", "layer0/Mul", "layer1/Mul", "layer1/Sigmoid", "layer1/Mul_2"]


def test_what_changes_nothing_is_dropped() -> None:
    nodes = "a = Relu (x) b = Dropout (a) c = Identity (b) d = Cast <to = 1> (c) e, m = Dropout (d) y = Sin (e)"
    assert names(rewritten(DropIdentities(), parse(nodes))) == ["layer0/Relu", "layer5/Sin"]


def test_an_output_keeps_its_name_where_its_node_is_dropped() -> None:
    model = rewritten(DropIdentities(), parse("a = Relu (x) y = Dropout (a)"))
    assert names(model) == ["layer0/Relu"]


def test_a_value_that_two_outputs_are_keeps_both_names() -> None:
    nodes = "a = Relu (x) y = Identity (a) z = Identity (a)"
    model = rewritten(DropIdentities(), parse(nodes, output="float[N, 4, 6] y, float[N, 4, 6] z"))
    assert names(model) == ["layer0/Relu", "layer2/Identity"]


def test_a_branch_that_gives_a_value_of_the_graph_around_it_stays() -> None:
    branches = "then_branch = g1 () => (float[N, 4, 6] p) { p = Identity (a) }, "
    branches += "else_branch = g2 () => (float[N, 4, 6] q) { q = Neg (a) }"
    nodes = f"k = Constant <value = bool {{1}}> () b = Identity (x) a = Relu (b) y = If (k) <{branches}>"
    model = rewritten(DropIdentities(), parse(nodes))
    assert names(model) == ["layer0/Constant", "layer2/Relu", "layer3/If"]


@pytest.mark.parametrize(
    "nodes",
    [
        "y = Cast <to = 1> (x)",
        "y = Identity (x)",
        "r = Constant <value = float {0.5}> () t = Constant <value = bool {1}> () y = Dropout (x, r, t)",
        "a, m = Dropout (x) b = Cast <to = 1> (m) y = Add (a, b)",
        "a = Cast <to = 10> (x) y = Cast <to = 1> (a)",
    ],
    ids=["joins input and output", "joins them too", "training", "mask is read", "changes the type"],
)
def test_what_does_something_stays(nodes: str) -> None:
    model = ir.from_proto(parse(nodes))
    assert not DropIdentities()(model).modified


def _normalized(reader: str) -> onnx.ModelProto:
    random = np.random.default_rng(1)
    weights = {"w": (5, 4, 3), "bias": (5,), "scale": (5,), "shift": (5,), "mean": (5,), "variance": (5,)}
    nodes = f"a = Conv (x, w, bias) b = BatchNormalization (a, scale, shift, mean, variance) y = Relu (b) {reader}"
    outputs = "float[N, 5, 4] y" + (", float[N, 5, 4] z" if reader else "")
    inputs = ", ".join(f"float[{', '.join(map(str, shape))}] {name}" for name, shape in weights.items())
    proto = parse(nodes, inputs=f"float[N, 4, 6] x, {inputs}", output=outputs)
    del proto.graph.input[1:]
    for name, shape in weights.items():
        values = random.uniform(0.5, 2, shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return proto


def test_a_norm_folds_into_its_convolution_which_keeps_its_name() -> None:
    model = rewritten(FoldNorms(), _normalized(""))
    assert names(model) == ["layer0/Conv", "layer2/Relu"]
    assert model.graph[0].outputs[0].name == "layer0/Conv"


def test_a_norm_stays_where_the_convolution_is_read_elsewhere() -> None:
    assert not FoldNorms()(ir.from_proto(_normalized("z = Sin (a)"))).modified


@pytest.mark.parametrize("batch", ["2", "N"])
@pytest.mark.parametrize("attributes", ["", "<is_causal = 1>", "<scale = 0.3>"])
def test_attention_by_its_definition(batch: str, attributes: str) -> None:
    shape = f"float[{batch}, 2, 5, 6]"
    proto = parse(
        f"a = Relu (x) b = Attention {attributes} (a, x, a) y = Relu (b)",
        inputs=f"{shape} x",
        output=f"{shape} y",
        opset=23,
    )
    model = rewritten(ExpandOperators("Attention"), proto)
    operators = [node.op_type for node in model.graph]
    assert "Attention" not in operators
    assert operators.count("Softmax") == 1
    assert {name.partition("/")[0] for name in names(model)[1:-1]} == {"layer1"}
    assert len(set(names(model))) == len(operators)
    assert not model.functions


def test_operators_without_a_definition_stay() -> None:
    assert not ExpandOperators("Sin", "Attention")(ir.from_proto(parse("y = Sin (x)"))).modified

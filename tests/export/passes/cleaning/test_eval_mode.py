"""Training mode as each opset writes it; switched, a graph computes what one that was written for inference does."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from s2tf_edge.export.passes.cleaning.eval_mode import EvalMode, find_random, find_training, untouched_norms

X = np.random.default_rng(0).normal(size=(2, 3, 2, 4, 4)).astype(np.float32)
node = helper.make_node
TRUE, HALF = np.array(True), np.array(0.5, np.float32)


def _statistics(mean: float = 0.3, variance: float = 2.0) -> dict[str, NDArray[np.float32]]:
    values = {"a": 1.5, "b": -0.5, "m": mean, "v": variance}
    return {name: np.full(3, value, np.float32) for name, value in values.items()}


def _model(nodes: list[onnx.NodeProto], opset: int, **weights: NDArray[np.generic]) -> ir.Model:
    inputs = [helper.make_tensor_value_info("x", 1, X.shape)]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    outputs = [helper.make_tensor_value_info("y", 1, None)]
    graph = helper.make_graph(nodes, "net", inputs, outputs, tensors)
    return ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))


def _run(model: ir.Model) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {"x": X})[0])


def _norm(outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return node("BatchNormalization", ["x", *"abmv"], outputs, name="stem/bn", **attributes)


NORMS = {
    "6": (_norm(["y"]), 6),
    "6 with statistics": (_norm(["y", "rm", "rv", "sm", "sv"], is_test=0), 6),
    "9": (_norm(["y", "rm", "rv", "sm", "sv"]), 9),
    "13, some": (_norm(["y", "rm", "rv"]), 13),
    "14": (_norm(["y", "rm", "rv"], training_mode=1), 14),
    "15": (_norm(["y", "rm", "rv"], training_mode=1), 15),
    "15, alone": (_norm(["y"], training_mode=1), 15),
}
INFERENCE = {
    "6": (_norm(["y"], is_test=1), 6),
    "7": (_norm(["y"]), 7),
    "9": (_norm(["y"]), 9),
    "14": (_norm(["y"], training_mode=0), 14),
    "15": (_norm(["y"]), 15),
    "dropout 6": (node("Dropout", ["x"], ["y"], is_test=1), 6),
    "dropout 7": (node("Dropout", ["x"], ["y"], ratio=0.5), 7),
    "dropout 12": (node("Dropout", ["x", "r"], ["y"]), 12),
    "dropout 12, false": (node("Dropout", ["x", "r", "no"], ["y"]), 12),
    "dropout 12 of nothing": (node("Dropout", ["x", "zero", "yes"], ["y"]), 12),
}
DROPOUTS = {
    "6": (node("Dropout", ["x"], ["y"], name="drop"), 6),
    "12": (node("Dropout", ["x", "r", "yes"], ["y"], name="drop"), 12),
    "12 of its own ratio": (node("Dropout", ["x", "", "yes"], ["y", "mask"], name="drop"), 13),
    "12, who knows": (node("Dropout", ["x", "r", "told"], ["y"], name="drop"), 13),
}
_EXTRA = {"r": HALF, "zero": np.zeros((), np.float32), "yes": TRUE, "no": np.array(False)}


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_takes_the_statistics_that_it_holds(name: str) -> None:
    found, opset = NORMS[name]
    model = _model([found], opset, **_statistics())
    assert str(find_training(model)) == "BatchNormalization stem/bn"
    assert EvalMode()(model).modified
    assert not find_training(model)
    assert not EvalMode()(model).modified
    assert len(model.graph[0].outputs) == 1
    if opset < 7:
        assert model.graph[0].attributes.get_int("is_test", 0) == 1
        return
    got = _run(model)
    np.testing.assert_allclose(got, (X - 0.3) / np.sqrt(2 + 1e-5) * 1.5 - 0.5, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", INFERENCE)
def test_inference_is_no_training(name: str) -> None:
    found, opset = INFERENCE[name]
    model = _model([found], opset, **(_statistics() | _EXTRA))
    assert not find_training(model)
    assert not EvalMode()(model).modified


@pytest.mark.parametrize("name", DROPOUTS)
def test_a_dropout_drops_no_more(name: str) -> None:
    found, opset = DROPOUTS[name]
    model = _model([node("Not", ["no"], ["told"]), found], opset, **_EXTRA)
    assert str(find_training(model)) == "Dropout drop"
    assert EvalMode()(model).modified
    assert not find_training(model)
    if opset > 6:
        np.testing.assert_array_equal(_run(model), X)


def test_statistics_that_are_read_are_those_that_are_held() -> None:
    nodes = [
        _norm(["z", "rm", "rv"], training_mode=1),
        node("Reshape", ["rm", "s"], ["r"]),
        node("Add", ["z", "r"], ["y"]),
    ]
    model = _model(nodes, 15, s=np.array([1, 3, 1, 1, 1]), **_statistics())
    EvalMode()(model)
    got = _run(model)
    np.testing.assert_allclose(got, (X - 0.3) / np.sqrt(2 + 1e-5) * 1.5 - 0.5 + 0.3, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bad", ["missing", "negative", "nan"])
def test_a_norm_without_statistics_cannot_be_switched(bad: str) -> None:
    statistics = _statistics(variance=-1.0 if bad == "negative" else 1.0, mean=np.nan if bad == "nan" else 0.3)
    nodes = [_norm(["y"], training_mode=1)]
    if bad == "missing":
        nodes.insert(0, node("ReduceMean", ["x", "axes"], ["m"], keepdims=0))
        statistics = {name: value for name, value in statistics.items() if name != "m"}
    model = _model(nodes, 18, axes=np.array([0, 2, 3, 4]), **statistics)
    with pytest.raises(ValueError, match=r"BatchNormalization stem/bn has (no mean and variance|a mean or variance)"):
        EvalMode()(model)


def test_norms_that_no_clip_has_touched_are_found() -> None:
    assert untouched_norms(_model([_norm(["y"])], 15, **_statistics(mean=0, variance=1))) == ["stem/bn"]
    assert not untouched_norms(_model([_norm(["y"])], 15, **_statistics(mean=0.1, variance=1)))


@pytest.mark.parametrize(
    "found",
    [
        node("RandomNormalLike", ["x"], ["y"], name="noise"),
        node("RandomUniformLike", ["x"], ["y"], name="noise"),
        node("RandomNormal", [], ["y"], name="noise", shape=[2]),
        node("RandomUniform", [], ["y"], name="noise", shape=[2]),
        node("Bernoulli", ["x"], ["y"], name="noise"),
        node("Multinomial", ["x"], ["y"], name="noise"),
    ],
    ids=lambda found: str(found.op_type),
)
def test_random_numbers_are_found(found: onnx.NodeProto) -> None:
    model = _model([found], 18)
    assert str(find_random(model)) == f"{found.op_type} noise"
    assert not find_training(model)


def test_many_are_counted_and_some_named() -> None:
    nodes = [node("RandomNormalLike", ["x"], [f"r{index}"], name=f"n{index}") for index in range(4)]
    model = _model([*nodes, node("Bernoulli", ["x"], ["y"])], 18)
    words = "4 RandomNormalLike and 1 Bernoulli (RandomNormalLike n0, RandomNormalLike n1, RandomNormalLike n2, …)"
    assert str(find_random(model)) == words

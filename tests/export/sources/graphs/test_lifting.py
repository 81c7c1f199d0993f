"""Graphs of opset 6 to 17, lifted to 18: the same logits as ONNX Runtime gives for the old file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from s2tf_edge.calibration.onnx_files import open_in_onnxruntime
from s2tf_edge.errors import InputFileError
from s2tf_edge.export.sources.graphs.graph_file import infer_shapes, read_graph_file
from s2tf_edge.export.sources.graphs.lifting import check_lifted, lift_opset

CLIP = np.random.default_rng(0).normal(size=(1, 3, 4, 8, 8)).astype(np.float32)
_Case = tuple[list[onnx.NodeProto], Mapping[str, NDArray[Any]], int]
node = helper.make_node


def _normal(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).uniform(0.5, 1.5, size=shape).astype(np.float32)


def _scales(*spatial: float) -> Mapping[str, NDArray[Any]]:
    return {"s": np.array([1, 1, *spatial], np.float32)}


def _norm(opset: int, *, shape: tuple[int, ...] = (3,), outputs: int = 1, **attributes: Any) -> _Case:
    names = ["y", "mean", "variance", "saved_mean", "saved_variance"][:outputs]
    nodes = [node("BatchNormalization", ["x", *"abmv"], names, **attributes)]
    return nodes, {name: _normal(*shape) for name in "abmv"}, opset


def _branch(name: str, operator: str) -> onnx.GraphProto:
    output = helper.make_tensor_value_info(name, 1, [1, 3, 1, 8, 8])
    return helper.make_graph([node(operator, ["x"], [name], axes=[2])], name, [], [output])


CASES: dict[str, _Case] = {
    "conv": ([node("Conv", ["x", "w"], ["c"]), node("Relu", ["c"], ["y"])], {"w": _normal(4, 3, 3, 3, 3)}, 7),
    "transposed-conv": ([node("ConvTranspose", ["x", "w"], ["y"])], {"w": _normal(3, 4, 3, 3, 3)}, 8),
    "gemm": ([node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w", "b"], ["y"], alpha=0.5)],
             {"w": _normal(768, 4), "b": _normal(4)}, 7),
    "norm-7": _norm(7, spatial=1),
    "norm-of-places": _norm(7, spatial=0, shape=(3, 4, 8, 8)),
    "norm-9": _norm(9),
    "dropout-7": ([node("Dropout", ["x"], ["y"], ratio=0.5)], {}, 7),
    "dropout-12": ([node("Dropout", ["x", "r"], ["y"])], {"r": np.array(0.5, np.float32)}, 12),
    "upsample-7": ([node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 1.0, 2.0, 2.0], mode="nearest")], {}, 7),
    "upsample-9": ([node("Upsample", ["x", "s"], ["y"])], _scales(2, 3, 2), 9),
    "upsample-linear": ([node("Upsample", ["x", "s"], ["y"], mode="linear")], _scales(1, 2, 2), 9),
    "upsample-uneven": ([node("Upsample", ["x", "s"], ["y"])], _scales(1.5, 1.5, 1.5), 9),
    "resize-10": ([node("Resize", ["x", "s"], ["y"])], _scales(1, 3, 3), 10),
    "resize-10-down": ([node("Resize", ["x", "s"], ["y"])], _scales(1, 0.4, 0.4), 10),
    "resize-10-linear": ([node("Resize", ["x", "s"], ["y"], mode="linear")], _scales(1, 2, 2), 10),
    "resize-11": ([node("Resize", ["x", "r", "s"], ["y"], mode="linear")],
                  {"r": np.zeros(0, np.float32), **_scales(1, 2, 2)}, 11),
    "softmax-7": ([node("Softmax", ["x"], ["y"])], {}, 7),
    "softmax-11": ([node("Softmax", ["x"], ["y"], axis=2)], {}, 11),
    "log-softmax": ([node("LogSoftmax", ["x"], ["y"])], {}, 7),
    "clip": ([node("Clip", ["x"], ["y"], min=0.0, max=6.0)], {}, 7),
    "clip-below": ([node("Clip", ["x"], ["y"], min=0.0)], {}, 7),
    "pad": ([node("Pad", ["x"], ["y"], pads=[0, 0, 1, 1, 1, 0, 0, 1, 1, 1], value=-1.0)], {}, 7),
    "pad-reflect": ([node("Pad", ["x"], ["y"], pads=[0, 0, 1, 1, 1, 0, 0, 1, 1, 1], mode="reflect")], {}, 7),
    "slice": ([node("Slice", ["x"], ["y"], starts=[0, 1], ends=[2, 7], axes=[2, 4])], {}, 7),
    "squeeze": ([node("ReduceMax", ["x"], ["m"], axes=[2]), node("Squeeze", ["m"], ["y"], axes=[2])], {}, 9),
    "unsqueeze": ([node("Unsqueeze", ["x"], ["y"], axes=[0])], {}, 9),
    "sum": ([node("ReduceSum", ["x"], ["y"], axes=[2, 3])], {}, 11),
    "mean": ([node("ReduceMean", ["x"], ["y"], axes=[2, 3, 4], keepdims=0)], {}, 17),
    "l2": ([node("ReduceL2", ["x"], ["y"], axes=[2, 3])], {}, 11),
    "split": ([node("Split", ["x"], ["y", "z"], axis=2, split=[1, 3])], {}, 9),
    "split-even": ([node("Split", ["x"], ["y", "z"], axis=2)], {}, 11),
    "max-pool": ([node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2, 2], strides=[2, 2, 2], auto_pad="SAME_UPPER")],
                 {}, 8),
    "average-pool": ([node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2, 2], pads=[1] * 6, count_include_pad=1)],
                     {}, 7),
    "instance-norm": ([node("InstanceNormalization", ["x", "a", "b"], ["y"])], {"a": _normal(3), "b": _normal(3)}, 7),
    "prelu": ([node("PRelu", ["x", "s"], ["y"])], {"s": _normal(3, 1, 1, 1)}, 8),
    "scatter": ([node("Scatter", ["x", "i", "u"], ["y"], axis=2)],
                {"i": np.zeros((1, 3, 1, 8, 8), np.int64), "u": _normal(1, 3, 1, 8, 8)}, 9),
    "cast": ([node("Cast", ["x"], ["h"], to=TensorProto.INT32), node("Cast", ["h"], ["y"], to=1)], {}, 8),
    "top": ([node("TopK", ["x"], ["y", "i"], k=2, axis=4)], {}, 9),
    "lstm": ([node("Reshape", ["x", "s"], ["r"]), node("LSTM", ["r", "W", "R"], ["y"], hidden_size=5)],
             {"s": np.array([4, 1, 192]), "W": _normal(1, 20, 192) / 192, "R": _normal(1, 20, 5)}, 7),
    "gru": ([node("Reshape", ["x", "s"], ["r"]), node("GRU", ["r", "W", "R"], ["y"], hidden_size=5)],
            {"s": np.array([4, 1, 192]), "W": _normal(1, 15, 192) / 192, "R": _normal(1, 15, 5)}, 7),
    "branch": ([node("If", ["c"], ["y"], then_branch=_branch("t", "ReduceSum"), else_branch=_branch("e", "ReduceMax"))],
               {"c": np.array(True)}, 11),
    "constant-weights": ([node("Constant", [], ["w"], value=numpy_helper.from_array(_normal(4, 3, 1, 3, 3))),
                          node("Conv", ["x", "w"], ["y"])], {}, 7),
}  # fmt: skip


def _write(path: Path, case: _Case, *, ir_version: int, listed: bool, shape: tuple[int, ...] | None) -> onnx.ModelProto:
    nodes, weights, opset = case
    inputs = [helper.make_tensor_value_info("x", 1, CLIP.shape)]
    if listed:
        types = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in weights.items()}
        inputs += [helper.make_tensor_value_info(name, types[name], value.shape) for name, value in weights.items()]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    output = helper.make_tensor_value_info("y", 1, shape)
    graph = helper.make_graph(nodes, "net", inputs, [output], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    onnx.save(model, path)
    return model


def _quiet() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return options


@pytest.mark.parametrize("name", CASES)
def test_an_old_graph_says_the_same(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    session = onnxruntime.InferenceSession(
        _write(tmp_path / "new.onnx", case, ir_version=8, listed=False, shape=None).SerializeToString(), _quiet()
    )
    expected = session.run(["y"], {"x": CLIP})[0]
    forms = {"listed": (3, True, expected.shape), "not listed": (3, False, expected.shape), "current": (8, False, None)}
    for words, (ir_version, listed, shape) in forms.items():
        path = tmp_path / f"{words}.onnx"
        _write(path, case, ir_version=ir_version, listed=listed, shape=shape)
        lifted, reason = lift_opset(read_graph_file(path).model)
        assert (lifted.graph.opset_imports[""], reason) == (18, ""), words
        got = open_in_onnxruntime(onnxruntime, infer_shapes(lifted), sess_options=_quiet()).run(["y"], {"x": CLIP})[0]
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5, err_msg=words)


def test_what_cannot_be_converted_goes_as_far_as_it_can(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A norm in training mode of opset 9 has outputs that no newer one has."""
    path = tmp_path / "old.onnx"
    _write(path, _norm(9, outputs=5), ir_version=3, listed=True, shape=CLIP.shape)
    lifted, reason = lift_opset(read_graph_file(path).model)
    opset = lifted.graph.opset_imports[""]
    assert 9 < opset < 14
    assert "BatchNormalization" in reason
    with caplog.at_level(logging.WARNING):
        check_lifted(opset, reason, path)
    assert f"old.onnx stays at opset {opset}, which cannot be converted to 18 here (" in caplog.text


def test_what_no_runtime_runs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ancient.onnx"
    with pytest.raises(
        InputFileError, match=r"ancient\.onnx stays at opset 6, .* \(no way\), and runtimes start at opset 7"
    ):
        check_lifted(6, "no way", path)

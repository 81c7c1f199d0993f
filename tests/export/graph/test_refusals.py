"""Refusals as the compilers say them, told with the node, what is about it and the words that matter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.graph.compiler_words import compiler_words
from s2tf_edge.export.graph.unsupported import unsupported_operators
from s2tf_edge.export.targets.tensorrt_engine import read_graph
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.backends.tensorrt_library import load_tensorrt

_RTX: Final = pytest.mark.needs_rtx
NO_OPERATOR: Final = "has no operator for "
NODES: Final = {
    "strange": '["a/It"] y = com.example.Strange (x)',
    "double": 'u = Cast <to = 11> (x) ["a/It"] v = Atanh (u) y = Cast <to = 1> (v)',
    "determinant": '["a/It"] y = Det (x)',
    "cubic": '["a/It"] y = Resize <mode = "cubic"> (x, , scales)',
    "string": '["a/It"] s = Cast <to = 8> (x) y = Cast <to = 1> (s)',
    "unique": '["a/It"] y = Unique (x)',
    "dimensions": '["a/It"] r = Reshape (x, nine) y = Relu (r)',
    "grid": '["a/It"] y = GridSample (x, grid)',
    "deformable": 'p = Reshape (x, flat) ["a/It"] y = DeformConv (p, w, offsets)',
    "unpooled": "m, i = MaxPool <kernel_shape = [1, 2, 2], strides = [1, 2, 2]> (x) "
    '["a/It"] y = MaxUnpool <kernel_shape = [1, 2, 2], strides = [1, 2, 2]> (m, i)',
    "bytes": '["a/It"] b = Cast <to = 2> (x) c = BitwiseNot (b) y = Cast <to = 1> (c)',
    "sequence": '["a/It"] s = SplitToSequence <axis = 2> (x) y = ConcatFromSequence <axis = 2> (s)',
    "optional": '["a/It"] o = Optional (x) y = OptionalGetElement (o)',
    "channels": '["a/It"] y = Conv <group = 2> (x, odd)',
    "remainder": '["a/It"] y = Mod <fmod = 0> (x, x)',
    "compress": '["a/It"] y = Compress <axis = 2> (x, which)',
    "drawn": '["a/It"] y = Bernoulli (x)',
    "window": '["a/It"] y = AveragePool <kernel_shape = [2, 2, 2], pads = [2, 2, 2, 2, 2, 2]> (x)',
    "empty": 'e = ConstantOfShape (none) ["a/It"] m = Resize <mode = "linear"> (e, , scales) y = ReduceSum (m)',
}
_CONSTANTS: Final[dict[str, Any]] = {
    "scales": np.array([1, 1, 1, 2, 2], np.float32),
    "nine": np.array([1, 3, 2, 2, 2, 2, 2, 2, 2]),
    "grid": np.zeros((1, 2, 2, 2, 3), np.float32),
    "flat": np.array([1, 3, 32, 8]),
    "w": np.zeros((2, 3, 1, 1), np.float32),
    "offsets": np.zeros((1, 2, 32, 8), np.float32),
    "odd": np.zeros((2, 3, 2, 2, 2), np.float32),
    "which": np.array([True, False, True, True]),
    "none": np.array([1, 3, 0, 4, 4]),
}


def _graph(name: str, folder: Path) -> Path:
    head = '<ir_version: 10, opset_import: ["": 20, "com.example": 1]> g (float[1,3,4,8,8] x) => (float y)'
    model = parser.parse_model(f"{head} {{ {NODES[name]} }}")
    read = {each for node in model.graph.node for each in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(_CONSTANTS[each], each) for each in read & set(_CONSTANTS))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, folder / "model.onnx")
    return folder / "model.onnx"


def _open_onnxruntime(model: bytes) -> object:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _open_openvino(model: bytes) -> object:
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="this test")
    return openvino.Core().compile_model(openvino.Core().read_model(model), "CPU")


def _refuse(graph: Path, target: str, opens: Callable[[bytes], object]) -> str:
    try:
        opens(graph.read_bytes())
    except Exception as error:  # each compiler has its own
        return str(unsupported_operators(graph, target, message=str(error), opens=opens))
    pytest.fail(f"{target} has learnt to take it")


def _check(text: str, about: str) -> None:
    assert "'a/It' of module a" in text or "node a/It (operator" in text
    assert about in text
    assert "\n" not in text
    assert not {"Exception from", "ONNXRuntimeError", ".cpp:", ".h:", "/src/", "failed at"} & {
        noise for noise in ("Exception from", "ONNXRuntimeError", ".cpp:", ".h:", "/src/", "failed at") if noise in text
    }


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("strange", f"ONNX Runtime {NO_OPERATOR}com.example::Strange 'a/It'"),
        ("double", "takes float64 [1, 3, 4, 8, 8]: Could not find an implementation for Atanh(9);"),
        ("cubic", "does not take Resize 'a/It' of module a (mode cubic), which takes float32 [1, 3, 4, 8, 8]"),
        (
            "window",
            "(kernel_shape [2, 2, 2], pads [2, 2, 2, 2, 2, 2]), which takes float32 [1, 3, 4, 8, 8]: Pad",
        ),
    ],
)
def test_onnx_runtime(name: str, about: str, tmp_path: Path) -> None:
    _check(_refuse(_graph(name, tmp_path), "ONNX Runtime", _open_onnxruntime), about)


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("strange", f"{NO_OPERATOR}com.example::Strange 'a/It'"),
        ("determinant", f"{NO_OPERATOR}Det 'a/It' of module a, which takes float32 [1, 3, 4, 8, 8]; replace it"),
        ("deformable", f"{NO_OPERATOR}DeformConv 'a/It'"),
        ("unpooled", f"{NO_OPERATOR}MaxUnpool 'a/It'"),
        ("optional", f"{NO_OPERATOR}Optional 'a/It' of module a, which takes float32 [1, 3, 4, 8, 8] and 1 more node;"),
        ("grid", "does not take GridSample 'a/It' of module a, which takes float32 [1, 3, 4, 8, 8] and float32"),
        ("grid", ": GridSample is only supported for 4D input tensors. Got rank: 5; replace it"),
        ("dimensions", ": Requested output shape [1,3,2,2,2,2,2,2,2] is incompatible with input shape; replace it"),
        (
            "channels",
            "Conv 'a/It' of module a (group 2), which takes float32 [1, 3, 4, 8, 8] and float32 [2",
        ),
        (
            "remainder",
            "Mod 'a/It' of module a (fmod 0), which takes float32 [1, 3, 4, 8, 8] and float32 [1, 3, 4, 8, 8]: If",
        ),
        ("string", "does not take Cast 'a/It' of module a (to 8)"),
        ("drawn", "does not take Bernoulli 'a/It'"),
    ],
)
def test_openvino(name: str, about: str, tmp_path: Path) -> None:
    _check(_refuse(_graph(name, tmp_path), "OpenVINO", _open_openvino), about)


@_RTX
@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("strange", "it has no such operator (Plugin not found"),
        ("determinant", "(operator Det) of module a with inputs float32 [1, 3, 4, 8, 8]: it has no such operator;"),
        ("unique", "it has no such operator;"),
        ("deformable", "it has no such operator (Plugin not found"),
        ("dimensions", ": Number of dimensions (9) is not in the valid range"),
        ("channels", "with inputs float32 [1, 3, 4, 8, 8], float32 [2, 3, 2, 2, 2]: Kernel weight dimension failed"),
        ("remainder", ": The fmod attribute is set to 0. Inputs cannot be of floating point types."),
        ("string", ": Unsupported data type for the Cast operator!;"),
        ("bytes", ": TensorRT does not support UINT8 types for intermediate tensors."),
        ("sequence", "it has no such operator;"),
        ("compress", "it has no such operator;"),
    ],
)
def test_tensorrt_rtx(name: str, about: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"TensorRT-RTX .* does not take node a/It") as caught:
        read_graph(load_tensorrt("trt-rtx", purpose="this test"), _graph(name, tmp_path))
    _check(str(caught.value), about)


def test_an_empty_tensor_is_called_so(tmp_path: Path) -> None:
    message = "node with name 'a/It'"
    text = str(unsupported_operators(_graph("empty", tmp_path), "X", message=message))
    assert "Resize 'a/It' of module a (mode linear), which takes float32 [1, 3, 0, 4, 4], which is empty and" in text


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("", "it gave no reason"),
        ("Check 'a < b' failed at src/x.cpp:3:\n", "its check a < b failed"),
        ("IBuilder::build: Error Code 1: Myelin (No luck In compile at /_src/a.cpp:33)", "Myelin (No luck)"),
        ("x" * 300, "x" * 240 + " …"),
    ],
)
def test_words_stand_alone(message: str, words: str) -> None:
    assert compiler_words(message) == words

"""Networks that steer themselves: recurrent layers, loops and branches; what is deferred is what the device builds."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from s2tf_edge.errors import BuildError, UnsupportedError
from s2tf_edge.export import ExportOptions, ExportResult, export
from s2tf_edge.export.targets.registry import TARGETS
from s2tf_edge.export.targets.tensorrt_trial import try_build
from s2tf_edge.runtime.artifact import read_meta

_RTX: Final = pytest.mark.needs_rtx
_HIDDEN, _GATES = 16, {"LSTM": 4, "GRU": 3, "RNN": 1}
_ENDS: Final = "z = Squeeze (h, first) y = Gemm (z, fc)"

NETWORKS: Final = {
    **{name: f"u, h = {name} <hidden_size = 16> (q, W, R, B) {_ENDS}" for name in _GATES},
    **{f"{name} of a length": f"u, h = {name} <hidden_size = 16> (q, W, R, B, lengths) {_ENDS}" for name in _GATES},
    "GRU that begins": f"u, h = GRU <hidden_size = 16> (q, W, R, B, , state) {_ENDS}",
    "LSTM that begins": f"u, h = LSTM <hidden_size = 16> (q, W, R, B, , state, state) {_ENDS}",
    "LSTM both ways": """u, h = LSTM <hidden_size = 16, direction = "bidirectional"> (q, W2, R2, B2)
        t = ReduceMean <keepdims = 0> (h, first) y = Gemm (t, fc)""",
    "If by the clip": """v = ReduceSum <keepdims = 0> (m) is = Greater (v, zero) k = If (is) <
        then_branch = one () => (float[1,8,4] a) { a = Relu (m) },
        else_branch = two () => (float[1,8,4] b) { b = Neg (m) }>
        t = ReduceMean <keepdims = 0> (k, last) y = Gemm (t, fc8)""",
    "If of a constant": """k = If (yes) <
        then_branch = one () => (float[1,8,4] a) { a = Relu (m) },
        else_branch = two () => (float[1,8,4] b) { b = Neg (m) }>
        t = ReduceMean <keepdims = 0> (k, last) y = Gemm (t, fc8)""",
    "Loop": """k = Loop (three, yes, m) <body = step (int64 i, bool go, float[1,8,4] a) => (bool on, float[1,8,4] b) {
        on = Identity (go) b = Tanh (a) }> t = ReduceMean <keepdims = 0> (k, last) y = Gemm (t, fc8)""",
    "Loop that leaves its condition out": """k = Loop (three, , m) <body = step (int64 i, bool go, float[1,8,4] a) =>
        (bool on, float[1,8,4] b) { on = Identity (go) b = Tanh (a) }>
        t = ReduceMean <keepdims = 0> (k, last) y = Gemm (t, fc8)""",
    "Scan": """e, k = Scan <num_scan_inputs = 1, body = step (float[1,8] s, float[1,8] v) =>
        (float[1,8] n, float[1,8] o) { n = Add (s, v) o = Tanh (n) }> (start, q)
        t = ReduceMean <keepdims = 0> (k, first) y = Gemm (t, fc8)""",
}


def _network(folder: Path, nodes: str) -> Path:
    """A small network with ``nodes`` from ``m`` [1, 8, 4], or ``q`` [4, 1, 8], to ``y``; its clip file beside it."""
    model = parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 18]>
        net (float[1,3,4,16,16] x) => (float[1,5] y) {{
          ["stem/Conv"] c = Conv <pads = [0, 1, 1, 0, 1, 1]> (x, w)
          r = Relu (c) m = ReduceMean <keepdims = 0> (r, sides) q = Transpose <perm = [2, 0, 1]> (m)
          {nodes}
        }}""")
    random = np.random.default_rng(0)
    operator = next((node.op_type for node in model.graph.node if node.op_type in _GATES), "RNN")
    rows = _GATES[operator] * _HIDDEN
    floats: dict[str, tuple[int, ...]] = {
        "w": (8, 3, 1, 3, 3),
        "fc": (_HIDDEN, 5),
        "fc8": (8, 5),
        "state": (1, 1, _HIDDEN),
        "start": (1, 8),
    }
    for ways, name in ((1, ""), (2, "2")):
        floats |= {f"W{name}": (ways, rows, 8), f"R{name}": (ways, rows, _HIDDEN), f"B{name}": (ways, 2 * rows)}
    values: dict[str, Any] = {name: random.normal(size=shape).astype(np.float32) for name, shape in floats.items()}
    values |= {"sides": np.array([3, 4]), "first": np.array([0]), "last": np.array([2]), "three": np.array(3)}
    values |= {"yes": np.array(True), "zero": np.float32(0), "lengths": np.array([3], np.int32)}
    read = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(values[name], name) for name in values if name in read)
    onnx.save(model, folder / "net.onnx")
    clips = {"frames": 4, "crop": 16, "mean": [0.5] * 3, "std": [0.5] * 3, "labels": list("abcde")}
    (folder / "net.json").write_text(json.dumps(clips))
    return folder / "net.onnx"


def _export(path: Path, target: str, **options: Any) -> ExportResult:
    return export(path, ExportOptions(target=target, meta=path.with_suffix(".json"), **options))


@pytest.mark.parametrize("nodes", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_it_agrees_with_the_network(target: str, nodes: str, tmp_path: Path) -> None:
    result = _export(_network(tmp_path, nodes), target, precision="fp32")
    assert result.verification is not None
    assert result.verification.passed


@_RTX
@pytest.mark.parametrize("nodes", NETWORKS.values(), ids=NETWORKS)
def test_what_was_deferred_builds(nodes: str, tmp_path: Path) -> None:
    deferred = _export(_network(tmp_path, nodes), "trt-rtx", defer_build=True)
    assert deferred.meta.build["tried"] == "built"
    done = export(deferred.folder, ExportOptions(target="trt-rtx"))
    assert "tried" not in done.meta.build
    layers = json.loads((done.folder / "layers.json").read_text())["layers"]
    assert {layer["output_type"] for layer in layers} <= {"f16", "f32", "i32", "i64", "bool", "none"}


@_RTX
def test_the_script_finishes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _export(_network(tmp_path, NETWORKS["LSTM"]), "trt-rtx", defer_build=True).folder
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    subprocess.run(["sh", folder / "build.sh"], check=True, capture_output=True, timeout=300)
    assert read_meta(folder).model == "model.engine"


@_RTX
@pytest.mark.parametrize("target", ["trt", "trt-rtx"])
def test_what_the_device_would_refuse_is_not_deferred(target: str, tmp_path: Path) -> None:
    nodes = """["head/Unique"] n = Unique (m) v = ReduceSum <keepdims = 0> (n)
        k = ReduceMean <keepdims = 0> (m, last) t = Gemm (k, fc8) y = Add (t, v)"""
    path = _network(tmp_path, nodes)
    with pytest.raises(UnsupportedError, match=r"TensorRT-RTX .*head/Unique"):
        _export(path, target, defer_build=True)
    assert {each.name for each in tmp_path.iterdir()} == {"net.onnx", "net.json"}


@_RTX
def test_a_build_that_fails_is_not_deferred(tmp_path: Path) -> None:
    nodes = """p = ConstantOfShape <value = float[1] {0.1}> (shape) ["up/ConvTranspose"]
        t = ConvTranspose <strides = [1, 2, 2], dilations = [1, 2, 2]> (x, p) y = Identity (t)"""
    text = f'<ir_version: 8, opset_import: ["": 18]> g (float[1,3,4,8,8] x) => (float y) {{ {nodes} }}'
    model = parser.parse_model(text)
    model.graph.initializer.append(numpy_helper.from_array(np.array([3, 4, 1, 3, 3]), "shape"))
    onnx.save(model, tmp_path / "net.onnx")
    target = TARGETS["trt-rtx"]
    with pytest.raises(BuildError, match="Strided & Dilated Deconv"):
        try_build(tmp_path / "net.onnx", target=target, options=ExportOptions(target="trt-rtx").engine())


def test_without_a_library_a_build_is_deferred_untried(
    export_plain: Callable[..., ExportResult], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("tensorrt_rtx", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with caplog.at_level(logging.WARNING):
        result = export_plain("trt", defer_build=True)
    assert result.meta.build["tried"] == "nothing"
    assert "left to the device untried" in caplog.text

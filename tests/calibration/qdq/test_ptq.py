"""Integer graphs of whole networks, run by ONNX Runtime and OpenVINO and built by TensorRT-RTX."""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from s2tf_edge.calibration.audit import audit_graph, audit_onnxruntime, audit_openvino
from s2tf_edge.calibration.calibration_clips import headroom
from s2tf_edge.calibration.qdq.ptq import QdqReport, measure_graph
from s2tf_edge.calibration.qdq.styles import STYLES
from s2tf_edge.calibration.ranges.ranges import METHODS
from s2tf_edge.errors import UnsupportedError, UsageError
from s2tf_edge.export.targets.registry import TARGETS
from s2tf_edge.export.targets.tensorrt_engine import build_engine
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.hardware import saturates_int8
from s2tf_edge.runtime.session import Clips
from s2tf_edge.spec import ClipSpec

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX is not installed"
)
FloatGraph = Callable[[str], Path]
Noise = Callable[[Sequence[int], int], list[Clips]]
IntegerGraph = Callable[[str, str], tuple[Path, QdqReport]]

SMALL = {
    "r3d_10?width=0.125&frames=8&size=32&shortcut=A": 0.06,
    "s2tf_r3d_10?width=0.125&frames=8&size=32": 0.06,
    "s2tf_nl_i3d_r50?width=0.125&frames=4&size=32": 0.3,
    "s2tf_p3d_63?width=0.125&frames=16&size=32": 0.08,
    "s2tf_x3d_xs?width=0.25&frames=4&size=32": 0.04,
}
"""Root mean square error of the logits that is accepted, as a fraction of their standard deviation: half as much again
as was measured. Fifty narrow layers with random weights lose the most."""
MOTION = "r3d_10?width=0.125&frames=8&size=32&motion=true"
PLAIN = tuple(name.replace("s2tf_", "") for name in SMALL if name.startswith("s2tf_"))
_, R3D, NON_LOCAL, P3D, X3D = SMALL
FULL_SIZE = ("s2tf_r3d_18", "s2tf_nl_i3d_r50", "s2tf_p3d_63", "s2tf_x3d_s")


def _shape(graph: Path) -> list[int]:
    tensor = onnx.load(graph, load_external_data=False).graph.input[0].type.tensor_type
    return [side.dim_value for side in tensor.shape.dim]


def _weight_bits(style: str) -> int:
    """What the kernels of this processor have room for; graphs of other runtimes are run with exact sums."""
    return 7 if style == "onnxruntime" and saturates_int8() else 8


def _logits(graph: Path, clips: Sequence[Clips], *, fuses: bool = True) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "0" if fuses else "1")
    session = onnxruntime.InferenceSession(graph, options)
    return np.concatenate([session.run(["logits"], {"clip": clip})[0] for clip in clips])


def _error(got: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((got - expected) ** 2)) / expected.std())


@pytest.fixture(scope="module")
def integer_graph(float_graph: FloatGraph, noise: Noise, tmp_path_factory: pytest.TempPathFactory) -> IntegerGraph:
    """A small network's integer graph by name and style, calibrated on 8 clips."""
    folder = tmp_path_factory.mktemp("integer")

    @functools.cache
    def make(name: str, style: str) -> tuple[Path, QdqReport]:
        graph = float_graph(name)
        out = folder / f"{graph.stem} {style}.onnx"
        measured = measure_graph(graph, clips=noise(_shape(graph), 108)[:100], style=style)
        return out, measured.write(out, weight_bits=_weight_bits(style))

    return make


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", SMALL)
def test_logits_stay_near_those_of_the_float_graph(
    name: str, style: str, float_graph: FloatGraph, integer_graph: IntegerGraph, noise: Noise
) -> None:
    graph = float_graph(name)
    out, report = integer_graph(name, style)
    clips = noise(_shape(graph), 108)[100:]
    got = _logits(out, clips, fuses=style == "onnxruntime")
    coarseness = 2 ** (8 - _weight_bits(style))
    assert 0 < _error(got, _logits(graph, clips)) < coarseness * SMALL[name]
    floats = [node.name for node in onnx.load(graph).graph.node if node.op_type in {"Conv", "Gemm", "MatMul"}]
    assert sorted([*report.layers, *(each.name for each in report.excluded)]) == sorted(floats)


@pytest.mark.parametrize("name", SMALL)
def test_onnx_runtime_fuses_every_convolution(name: str, integer_graph: IntegerGraph) -> None:
    audit = audit_onnxruntime(integer_graph(name, "onnxruntime")[0])
    assert audit.convolutions.integer == audit.convolutions.total >= 9
    assert audit.matrix_products.integer == 1


@pytest.mark.parametrize("name", [R3D, X3D])
def test_openvino_runs_every_convolution_in_integers(name: str, integer_graph: IntegerGraph) -> None:
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="this test")
    core = openvino.Core()
    audit = audit_openvino(core.compile_model(core.read_model(integer_graph(name, "openvino")[0]), "CPU"))
    assert audit.convolutions.rest == ()
    assert audit.convolutions.integer > 10
    assert audit.matrix_products.integer == 1


@needs_rtx
@pytest.mark.parametrize("name", SMALL)
def test_tensorrt_builds_what_is_made_for_it(name: str, integer_graph: IntegerGraph, tmp_path: Path) -> None:
    _check_engine(integer_graph(name, "tensorrt")[0], tmp_path)


@needs_rtx
@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN + FULL_SIZE)
def test_plain_networks_and_those_of_full_size_build_and_fuse(
    name: str, float_graph: FloatGraph, noise: Noise, tmp_path: Path
) -> None:
    graph = float_graph(name)
    clips = noise(_shape(graph), 2)
    measure_graph(graph, clips=clips, style="tensorrt").write(tmp_path / "q.onnx")
    _check_engine(tmp_path / "q.onnx", tmp_path)
    measure_graph(graph, clips=clips, style="onnxruntime").write(tmp_path / "ort.onnx")
    assert audit_onnxruntime(tmp_path / "ort.onnx").convolutions.rest == ()


def _check_engine(graph: Path, folder: Path) -> None:
    facts = build_engine(graph, folder / "model.engine", target=TARGETS["trt-rtx"])
    audit = audit_graph(graph)
    assert facts.obtained["Convolution"] == {"i8": audit.convolutions.total}
    assert facts.obtained["MatMul"]["i8"] == audit.matrix_products.integer == 1


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_logits(method: str, float_graph: FloatGraph, noise: Noise, tmp_path: Path) -> None:
    graph = float_graph(R3D)
    clips = noise(_shape(graph), 16)
    out = tmp_path / "q.onnx"
    assert measure_graph(graph, clips=clips[:8], style="onnxruntime", method=method).write(out).method == method
    assert _error(_logits(out, clips[8:]), _logits(graph, clips[8:])) < 2 * SMALL[R3D]


def test_the_saliency_path_is_excluded_like_anything_else(
    float_graph: FloatGraph, noise: Noise, tmp_path: Path
) -> None:
    graph = float_graph(R3D)
    clips = noise(_shape(graph), 2)
    layers = [node.name for node in onnx.load(graph).graph.node if node.op_type in {"Conv", "Gemm", "MatMul"}]
    saliency = [name for name in layers if name.startswith("saliency")]
    measured = measure_graph(graph, clips=clips, style="onnxruntime")
    report = measured.write(tmp_path / "q.onnx", excluded=saliency)
    assert {each.reason for each in report.excluded} == {"excluded"}
    rest = audit_onnxruntime(tmp_path / "q.onnx").convolutions.rest
    assert len(rest) == len(report.excluded) > 10
    assert all(layer.name.startswith("saliency") for layer in rest)
    assert not any(name.startswith("saliency") for name in report.layers)


@pytest.mark.parametrize("style", STYLES)
def test_one_measurement_serves_any_choice_of_layers(
    style: str, float_graph: FloatGraph, noise: Noise, tmp_path: Path
) -> None:
    """Whatever is excluded, the ranges that are needed instead are there."""
    graph = float_graph(R3D)
    measured = measure_graph(graph, clips=noise(_shape(graph), 2), style=style)
    layers = measured.write(tmp_path / "all.onnx").layers
    for start in range(3):
        out = tmp_path / f"{start}.onnx"
        report = measured.write(out, excluded=layers[start::3])
        assert set(layers) - set(report.layers) == set(layers[start::3])
        assert np.isfinite(_logits(out, noise(_shape(graph), 1))).all()


def test_the_report_is_plain_json(float_graph: FloatGraph, noise: Noise, tmp_path: Path) -> None:
    graph = float_graph(NON_LOCAL)
    report = measure_graph(graph, clips=noise(_shape(graph), 2), style="tensorrt").write(tmp_path / "q.onnx")
    described = json.loads(json.dumps(report.to_dict()))
    assert (described["style"], described["method"]) == ("tensorrt", "minmax")
    assert set(described["activation_ranges"]) == set(report.ranges)
    attention = [each for each in described["float_layers"] if each["operator"] == "MatMul"]
    assert {each["reason"] for each in attention} == {"its operands are activations"}
    assert len(described["quantized_layers"]) == audit_graph(tmp_path / "q.onnx").convolutions.integer + 1


def test_the_first_layer_covers_all_pixels_whatever_the_clips_show(float_graph: FloatGraph) -> None:
    graph = float_graph(R3D)
    _, _, frames, size, _ = _shape(graph)
    spec = ClipSpec(frames=frames, size=size, mean=(0.4, 0.5, 0.5), std=(0.2, 0.25, 0.25))
    gray: list[Clips] = [np.full(spec.input_shape(), 0.1, np.float32)]
    assert measure_graph(graph, clips=gray, style="tensorrt").ranges["clip"].high == pytest.approx(headroom(1) * 0.1)
    covered = measure_graph(graph, clips=gray, style="tensorrt", spec=spec).ranges["clip"]
    assert (covered.low, covered.high) == pytest.approx((-2.0, 3.0), rel=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_motion_covers_what_the_clips_show_as_still_pictures_have_none(
    float_graph: FloatGraph, noise: Noise, method: str
) -> None:
    graph = float_graph(MOTION)
    _, _, frames, size, _ = _shape(graph)
    clips = noise(_shape(graph), 4)
    spec = ClipSpec(frames=frames, size=size)
    measured = measure_graph(graph, clips=clips, style="tensorrt", method=method, spec=spec)
    (stem,) = (node for node in onnx.load(graph).graph.node if node.name == "backbone.stem.0.conv/Conv")
    moved = np.concatenate(clips)
    moved = moved - moved.mean(axis=2, keepdims=True)
    covered = measured.ranges[stem.input[0]]
    assert 0.5 * np.abs(moved).max() < covered.magnitude < 1.5 * np.abs(moved).max()


def test_a_name_that_the_graph_lacks_is_an_error(float_graph: FloatGraph, noise: Noise, tmp_path: Path) -> None:
    graph = float_graph(R3D)
    measured = measure_graph(graph, clips=noise(_shape(graph), 1), style="tensorrt")
    with pytest.raises(UsageError, match="has no node 'neck' to exclude; it has "):
        measured.write(tmp_path / "q.onnx", excluded=["neck"])


@pytest.mark.parametrize(
    ("opset", "message"),
    [(18, r"has no convolution or matrix product to quantize"), (12, "need opset 13 or later, got 12")],
)
def test_a_graph_that_cannot_be_quantized_says_so(opset: int, message: str, tmp_path: Path) -> None:
    header = f'<ir_version: 8, opset_import: ["": {opset}]>'
    graph = "g (float[1, 3] clip) => (float[1, 3] logits) { logits = Relu (clip) }"
    onnx.save(onnx.parser.parse_model(header + graph), tmp_path / "g.onnx")
    with pytest.raises(UnsupportedError, match=message):
        measure_graph(tmp_path / "g.onnx", clips=[], style="tensorrt")

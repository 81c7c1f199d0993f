from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from s2tf_edge.calibration.audit import audit_graph, audit_onnxruntime
from s2tf_edge.calibration.onnx_files import weights_file
from s2tf_edge.calibration.qdq.quantizer import QdqQuantizer
from s2tf_edge.calibration.ranges.ranges import METHODS
from s2tf_edge.runtime.session import Clips, ModelInfo
from s2tf_edge.spec import ClipSpec

FloatGraph = Callable[[str], Path]
Noise = Callable[[Sequence[int], int], list[Clips]]

NAME = "s2tf_r3d_10?width=0.125&frames=8&size=32"
SPEC = ClipSpec(frames=8, size=32)
INFO = ModelInfo(
    name="n", network=NAME, target="onnx", precision="fp32", spec=SPEC, labels=tuple("abcdefghij"), batch=1
)


class _Counted:
    """Clips, and how often they were read."""

    def __init__(self, clips: Sequence[Clips]) -> None:
        self._clips = clips
        self.passes = 0

    def __iter__(self) -> Any:
        self.passes += 1
        return iter(self._clips)


@pytest.fixture
def clips(noise: Noise) -> _Counted:
    return _Counted(noise(SPEC.input_shape(), 6))


def _quantizer(graph: Path, clips: _Counted, *, style: str, method: str = "minmax") -> QdqQuantizer:
    return QdqQuantizer(graph, clips=clips, info=INFO, style=style, method=method)


def _logits(quantizer: QdqQuantizer, path: Path, noise: Noise) -> Any:
    with quantizer.make_session(path) as session:
        return np.concatenate([session.infer(clip).logits for clip in noise(SPEC.input_shape(), 3)])


@pytest.mark.parametrize("style", ["onnxruntime", "tensorrt"])
def test_layers_return_to_float_and_the_others_stay(
    style: str, float_graph: FloatGraph, clips: _Counted, noise: Noise, tmp_path: Path
) -> None:
    quantizer = _quantizer(float_graph(NAME), clips, style=style)
    (preset,) = quantizer.presets
    layers = quantizer.list_layers(preset)
    assert len(layers) > 40
    excluded = [layer for layer in layers if layer.startswith("saliency.")]
    path = quantizer.write(preset, tmp_path, excluded=excluded)
    audit = audit_onnxruntime(path) if style == "onnxruntime" else audit_graph(path)
    rest = {layer.name for layer in (*audit.convolutions.rest, *audit.matrix_products.rest)}
    assert rest == set(excluded)
    assert audit.convolutions.integer + audit.matrix_products.integer == len(layers) - len(excluded)
    originals, written = _weights(float_graph(NAME)), _weights(path)
    assert set(excluded) <= set(written)
    for name in excluded:
        np.testing.assert_array_equal(written[name], originals[name])
    expected = _logits(quantizer, float_graph(NAME), noise)
    assert 0 < np.abs(_logits(quantizer, path, noise) - expected).max() < 0.1 * np.ptp(expected)
    assert clips.passes == 1


def _weights(graph: Path) -> dict[str, Any]:
    """Float weights of layers that have any, by layer."""
    model = onnx.load(graph)
    constants = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    layers = [node for node in model.graph.node if node.op_type in {"Conv", "Gemm", "MatMul"}]
    return {node.name: constants[node.input[1]] for node in layers if node.input[1] in constants}


@pytest.mark.parametrize("style", ["onnxruntime", "tensorrt"])
def test_all_in_float_is_the_float_graph(
    style: str, float_graph: FloatGraph, clips: _Counted, noise: Noise, tmp_path: Path
) -> None:
    quantizer = _quantizer(float_graph(NAME), clips, style=style)
    (preset,) = quantizer.presets
    path = quantizer.write(preset, tmp_path, excluded=quantizer.list_layers(preset))
    assert not any("Quantize" in node.op_type for node in onnx.load(path).graph.node)
    np.testing.assert_array_equal(_logits(quantizer, path, noise), _logits(quantizer, float_graph(NAME), noise))


def test_all_in_float_of_a_graph_with_its_weights_beside_it(
    float_graph: FloatGraph, clips: _Counted, noise: Noise, tmp_path: Path
) -> None:
    """As those of which one file cannot hold all."""
    graph, out = tmp_path / "graph" / "model.onnx", tmp_path / "out"
    for folder in (graph.parent, out):
        folder.mkdir()
    ir.save(ir.load(float_graph(NAME)), graph, external_data=weights_file(graph).name)
    quantizer = _quantizer(graph, clips, style="tensorrt")
    (preset,) = quantizer.presets
    path = quantizer.write(preset, out, excluded=quantizer.list_layers(preset))
    np.testing.assert_array_equal(_logits(quantizer, path, noise), _logits(quantizer, float_graph(NAME), noise))


@pytest.mark.parametrize("layer", ["backbone.stem.0.conv/Conv", "backbone.head.fc/Gemm"])
def test_one_layer_returns_and_none_whose_name_is_like_it(
    layer: str, float_graph: FloatGraph, clips: _Counted, tmp_path: Path
) -> None:
    quantizer = _quantizer(float_graph(NAME), clips, style="tensorrt")
    (preset,) = quantizer.presets
    audit = audit_graph(quantizer.write(preset, tmp_path, excluded=[layer]))
    assert [each.name for each in (*audit.convolutions.rest, *audit.matrix_products.rest)] == [layer]


@pytest.mark.parametrize("method", METHODS)
def test_it_says_how_ranges_were_chosen(method: str, float_graph: FloatGraph, clips: _Counted) -> None:
    quantizer = _quantizer(float_graph(NAME), clips, style="tensorrt", method=method)
    (preset,) = quantizer.presets
    assert preset == f"Q/DQ for tensorrt, {method}"
    described = json.loads(json.dumps(quantizer.describe(preset)))
    assert (described["style"], described["method"]) == ("tensorrt", method)
    assert described["quantized_layers"] == list(quantizer.list_layers(preset))
    low, high = described["activation_ranges"]["clip"]
    assert low < 0 < high
    assert clips.passes == (1 if method == "minmax" else 2)


def test_a_session_is_of_the_integer_form(float_graph: FloatGraph, clips: _Counted, tmp_path: Path) -> None:
    quantizer = _quantizer(float_graph(NAME), clips, style="onnxruntime")
    path = quantizer.write(quantizer.presets[0], tmp_path)
    session = quantizer.make_session(path)
    assert (session.info.precision, session.backend, session.path) == ("int8", "onnxruntime", path)

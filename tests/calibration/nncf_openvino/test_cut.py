from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from s2tf_edge.calibration.nncf_openvino.cut import LAYERS, cut, integer_layers, name_layers
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry

openvino: Any = require_without_telemetry("openvino", extra="export", purpose="these tests")

_GRAPH = """<ir_version: 8, opset_import: ["": 18]>
    net (float[1, 2, 1, 4, 4] clip) => (float[1, 2, 1, 4, 4] mask, float[1, 3] logits) {
      ["stem/Conv"] a = Conv <pads = [0, 1, 1, 0, 1, 1]> (clip, w)
      ["saliency.last/Conv"] mask = Conv <pads = [0, 1, 1, 0, 1, 1]> (a, w)
      f = Flatten (mask) ["fc/MatMul"] logits = MatMul (f, v)
    }"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    model = onnx.parser.parse_model(_GRAPH)
    random = np.random.default_rng(0)
    for name, shape in (("w", (2, 2, 1, 3, 3)), ("v", (32, 3))):
        values = random.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def _layers(network: Any) -> list[str]:
    return [op.get_friendly_name() for op in network.get_ordered_ops() if op.get_type_name() in LAYERS]


def test_layers_that_give_an_output_have_their_own_names(graph: Path) -> None:
    network = openvino.Core().read_model(graph)
    assert {"mask", "logits"} < set(_layers(network))
    name_layers(network, graph)
    assert _layers(network) == ["stem/Conv", "saliency.last/Conv", "fc/MatMul"]
    assert [output.get_any_name() for output in network.outputs] == ["mask", "logits"]


def test_a_float_network_has_no_integer_layers_and_stays_as_it_is(graph: Path) -> None:
    network = openvino.Core().read_model(graph)
    assert integer_layers(network, operators=LAYERS) == ()
    copy = cut(network, network, layers=(), between=True)
    clip = np.random.default_rng(1).standard_normal((1, 2, 1, 4, 4)).astype(np.float32)
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    results = [openvino.Core().compile_model(each, "CPU", config)(clip)["logits"] for each in (network, copy)]
    np.testing.assert_array_equal(results[0], results[1])

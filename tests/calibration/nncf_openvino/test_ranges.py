from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from s2tf_edge.calibration.audit import audit_openvino
from s2tf_edge.calibration.nncf_openvino.ranges import (
    activation_ranges,
    fold_before_quantizing,
    make_products_symmetric,
    make_symmetric,
)
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.session import Clips

openvino: Any = require_without_telemetry("openvino", extra="export", purpose="these tests")
nncf: Any = require_without_telemetry("nncf", extra="export", purpose="these tests")

SIGNED = 128 / 127

_GRAPHS = {
    # Convolutions behind activations with and without negative values, one of them depthwise, and a sum.
    "residual": """net (float[1, 4, 2, 8, 8] clip) => (float[1, 4, 2, 8, 8] logits) {
          ["stem/Conv"] a = Conv <pads = [0, 1, 1, 0, 1, 1]> (clip, w) r = Relu (a)
          ["wide/Conv"] d = Conv <group = 4, pads = [0, 1, 1, 0, 1, 1]> (a, v)
          ["head/Conv"] c = Conv <pads = [0, 1, 1, 0, 1, 1]> (r, w) ["Add"] s = Add (c, d)
          ["last/Conv"] logits = Conv <pads = [0, 1, 1, 0, 1, 1]> (s, w)
        }""",
    # Attention between three convolutions.
    "attention": """net (float[1, 4, 2, 8, 8] clip) => (float[1, 128, 4] logits) {
          ["q/Conv"] q = Conv <pads = [0, 1, 1, 0, 1, 1]> (clip, w)
          ["k/Conv"] k = Conv <pads = [0, 1, 1, 0, 1, 1]> (clip, w2)
          ["g/Conv"] g = Conv <pads = [0, 1, 1, 0, 1, 1]> (clip, w3)
          shape = Constant <value_ints = [0, 0, -1]> ()
          qr = Reshape (q, shape) qt = Transpose <perm = [0, 2, 1]> (qr) kr = Reshape (k, shape)
          gr = Reshape (g, shape) gt = Transpose <perm = [0, 2, 1]> (gr)
          ["scores/MatMul"] scores = MatMul (qt, kr) attention = Softmax <axis = 2> (scores)
          ["values/MatMul"] logits = MatMul (attention, gt)
        }""",
    # A stem whose pixels are folded.
    "folded": """net (float[1, 3, 2, 8, 8] clip) => (float[1, 4, 2, 4, 4] logits) {
          images = Constant <value_ints = [0, 6, 8, 8]> () blocks = Constant <value_ints = [0, 12, 2, 4, 4]> ()
          x = Reshape (clip, images) y = SpaceToDepth <blocksize = 2> (x) z = Reshape (y, blocks)
          ["stem/Conv"] a = Conv <pads = [0, 1, 1, 0, 1, 1]> (z, ws) r = Relu (a)
          ["head/Conv"] logits = Conv <pads = [0, 1, 1, 0, 1, 1]> (r, w)
        }""",
}
_SHAPES = {"w": (4, 4, 1, 3, 3), "w2": (4, 4, 1, 3, 3), "w3": (4, 4, 1, 3, 3), "v": (4, 1, 1, 3, 3)}
_SHAPES |= {"ws": (4, 12, 1, 3, 3)}


def _network(name: str, folder: Path) -> Any:
    model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["": 18]> ' + _GRAPHS[name])
    random = np.random.default_rng(0)
    used = {each for node in model.graph.node for each in node.input}
    for each, shape in _SHAPES.items():
        values = random.normal(0.05, 0.3, shape).astype(np.float32)
        if each in used:
            model.graph.initializer.append(onnx.numpy_helper.from_array(values, each))
    onnx.save(model, folder / "model.onnx")
    return openvino.Core().read_model(folder / "model.onnx")


def _clips(network: Any) -> list[Clips]:
    random = np.random.default_rng(1)
    return [random.standard_normal(tuple(network.inputs[0].shape)).astype(np.float32) for _ in range(3)]


@pytest.fixture
def quantized(tmp_path: Path) -> Callable[[str, str], Any]:
    """A network as NNCF quantizes it with one of its presets, by extremes."""
    estimators = pytest.importorskip("nncf.quantization.range_estimator").RangeEstimatorParametersSet

    def quantize(name: str, preset: str) -> Any:
        network = _network(name, tmp_path)
        parameters = nncf.AdvancedQuantizationParameters(activations_range_estimator_params=estimators.MINMAX)
        data = nncf.Dataset(_clips(network))
        chosen = nncf.QuantizationPreset(preset)
        return nncf.quantize(network, data, preset=chosen, advanced_parameters=parameters)

    return quantize


def _quantizers(network: Any) -> dict[str, Any]:
    ops = network.get_ordered_ops()
    return {op.get_friendly_name(): op for op in ops if op.get_friendly_name() in activation_ranges(network)}


def _bounds(quantizer: Any) -> list[np.ndarray]:
    return [np.array(quantizer.input_value(port).get_node().data) for port in range(1, 5)]


@pytest.mark.parametrize("name", _GRAPHS)
def test_symmetric_ranges_are_those_of_the_performance_preset(quantized: Callable[[str, str], Any], name: str) -> None:
    made, expected = quantized(name, "mixed"), _quantizers(quantized(name, "performance"))
    make_symmetric(made)
    quantizers = _quantizers(made)
    assert set(quantizers) == set(expected)
    for each, quantizer in quantizers.items():
        assert quantizer.get_attributes()["levels"] == expected[each].get_attributes()["levels"] == 256
        for got, wanted in zip(_bounds(quantizer), _bounds(expected[each]), strict=True):
            # An asymmetric range is widened by up to one step, so that zero is one of its values.
            np.testing.assert_allclose(got, wanted, rtol=1 / 128, atol=1e-6)
    lows, highs = (np.concatenate([_bounds(each)[port].ravel() for each in quantizers.values()]) for port in (2, 3))
    is_signed = lows < 0
    assert is_signed.any()
    np.testing.assert_allclose(lows[is_signed], -SIGNED * highs[is_signed], rtol=1e-5)


def test_what_is_symmetric_stays_as_it_is(quantized: Callable[[str, str], Any]) -> None:
    made = quantized("residual", "performance")
    before = activation_ranges(made)
    make_symmetric(made)
    assert activation_ranges(made) == before


def test_products_of_activations_become_symmetric_and_nothing_else(quantized: Callable[[str, str], Any]) -> None:
    made = quantized("attention", "mixed")
    before = activation_ranges(made)
    make_products_symmetric(made)
    changed = {name for name, bounds in activation_ranges(made).items() if bounds != before[name]}
    assert changed == {f"{name}/Conv/fq_output_0" for name in "qkg"}
    for name in changed:
        low, high = activation_ranges(made)[name]
        assert high == pytest.approx(max(np.abs(before[name])), rel=1e-5)
        assert low == pytest.approx(-high * SIGNED, rel=1e-5)


def test_symmetric_products_run_in_integers(quantized: Callable[[str, str], Any]) -> None:
    made = quantized("attention", "mixed")
    core, config = openvino.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
    assert audit_openvino(core.compile_model(made, "CPU", config)).matrix_products.integer == 0
    make_products_symmetric(made)
    products = audit_openvino(core.compile_model(made, "CPU", config)).matrix_products
    assert (products.integer, products.total) == (2, 2)


def test_convolutions_are_not_products_of_activations(quantized: Callable[[str, str], Any]) -> None:
    made = quantized("residual", "mixed")
    before = activation_ranges(made)
    make_products_symmetric(made)
    assert activation_ranges(made) == before


def test_pixels_are_folded_before_they_are_quantized(quantized: Callable[[str, str], Any]) -> None:
    made = quantized("folded", "mixed")
    clip = _clips(made)[0]
    core, config = openvino.Core(), {"INFERENCE_PRECISION_HINT": "f32"}
    before, ranges = np.array(core.compile_model(made, "CPU", config)(clip)[0]), activation_ranges(made)
    fold_before_quantizing(made)
    assert activation_ranges(made) == ranges
    kinds = {op.get_friendly_name(): op.get_type_name() for op in made.get_ordered_ops()}
    (stem,) = (op for op in made.get_ordered_ops() if op.get_friendly_name() == "stem/Conv")
    assert stem.input_value(0).get_node().get_type_name() == "FakeQuantize"
    (fold,) = (op for op in made.get_ordered_ops() if kinds[op.get_friendly_name()] == "SpaceToDepth")
    assert fold.input_value(0).get_node().input_value(0).get_node().get_type_name() == "Parameter"
    after = np.array(core.compile_model(made, "CPU", config)(clip)[0])
    np.testing.assert_allclose(after, before, rtol=0, atol=0.01 * np.ptp(before))


def test_without_a_fold_quantizers_stay_where_they_are(quantized: Callable[[str, str], Any]) -> None:
    made = quantized("residual", "mixed")
    before = [op.get_friendly_name() for op in made.get_ordered_ops()]
    fold_before_quantizing(made)
    assert [op.get_friendly_name() for op in made.get_ordered_ops()] == before

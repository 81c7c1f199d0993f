from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from s2tf_edge.calibration.base import Quantizer
from s2tf_edge.calibration.calibration_clips import RECOMMENDED_CLIPS
from s2tf_edge.calibration.nncf_openvino.cut import name_layers
from s2tf_edge.calibration.nncf_openvino.quantizer import OpenVinoGraphQuantizer, OpenVinoQuantizer
from s2tf_edge.calibration.ranges.ranges import METHODS
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.session import Clips, ModelInfo
from s2tf_edge.spec import ClipSpec

openvino: Any = require_without_telemetry("openvino", extra="export", purpose="these tests")
ops: Any = openvino.opset13
FloatGraph = Callable[[str], Path]
Noise = Callable[[Sequence[int], int], list[Clips]]

R3D = "s2tf_r3d_10?width=0.125&frames=8&size=32&shortcut=A"
X3D = "s2tf_x3d_xs?width=0.25&frames=4&size=32"
PLAIN_X3D = "x3d_xs?width=0.25&frames=4&size=32"
NON_LOCAL = "nl_i3d_r50?width=0.0625&frames=4&size=32"
DEPTHWISE = "depthwise"
"""In place of X3D, whose 27 blocks take NNCF ten seconds."""
SHAPES = {
    DEPTHWISE: (1, 3, 4, 16, 16),
    R3D: (1, 3, 8, 32, 32),
    X3D: (1, 3, 4, 32, 32),
    PLAIN_X3D: (1, 3, 4, 32, 32),
    NON_LOCAL: (1, 3, 4, 32, 32),
}
KINDS = {"Convolution", "GroupConvolution", "MatMul"}
EVERYTHING, DENSE, ALONE = "mixed", "mixed, dense layers", "mixed, dense layers alone"
SYMMETRIC, SYMMETRIC_DENSE, SYMMETRIC_ALONE = "symmetric", "symmetric, dense layers", "symmetric, dense layers alone"


def _info(shape: Sequence[int], *, batch: int | None = 1) -> ModelInfo:
    spec = ClipSpec(frames=shape[2], size=shape[3])
    labels = tuple("abcdefghij")
    return ModelInfo(name="n", network="n", target="openvino", precision="fp16", spec=spec, labels=labels, batch=batch)


@pytest.fixture(scope="module")
def graph_of(float_graph: FloatGraph, tmp_path_factory: pytest.TempPathFactory) -> FloatGraph:
    path = tmp_path_factory.mktemp("depthwise") / "model.onnx"
    onnx.save(_depthwise(), path)
    return lambda name: path if name == DEPTHWISE else float_graph(name)


def _depthwise() -> onnx.ModelProto:
    """Two blocks of a pointwise, a depthwise and a pointwise convolution with a shortcut, as X3D has them."""
    sides, pads = "kernel_shape = [3, 3, 3]", "pads = [1, 1, 1, 1, 1, 1]"
    block = """["{0}.a/Conv"] {0}1 = Conv ({1}, wa) {0}2 = Relu ({0}1)
        ["{0}.b/Conv"] {0}3 = Conv <group = 8, {2}, {3}> ({0}2, wb, bb) {0}4 = Sigmoid ({0}3) {0}5 = Mul ({0}3, {0}4)
        ["{0}.c/Conv"] {0}6 = Conv ({0}5, wa, bc) ["{0}/Add"] {0}7 = Add ({0}6, {1}) {0}8 = Relu ({0}7)"""
    model: onnx.ModelProto = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["": 18]>
        net (float[1, 3, 4, 16, 16] clip) => (float[1, 10] logits) {{
          ["stem/Conv"] stem = Conv (clip, ws) s = Relu (stem)
          {block.format("x", "s", sides, pads)} {block.format("y", "x8", sides, pads)}
          p = GlobalAveragePool (y8) f = Flatten (p) ["fc/Gemm"] logits = Gemm (f, wf, bf)
        }}""")
    random = np.random.default_rng(0)
    shapes = {"ws": (8, 3, 1, 1, 1), "wa": (8, 8, 1, 1, 1), "wb": (8, 1, 3, 3, 3), "wf": (8, 10)}
    for name, shape in {**shapes, "bb": (8,), "bc": (8,), "bf": (10,)}.items():
        values = random.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


Make = Callable[[str], OpenVinoQuantizer]


@pytest.fixture(scope="module")
def quantizer(graph_of: FloatGraph, noise: Noise) -> Make:
    """The quantizer of a network, the same for all tests: it quantizes once."""
    made: dict[str, OpenVinoQuantizer] = {}

    def make(name: str) -> OpenVinoQuantizer:
        if name not in made:
            graph, shape = graph_of(name), SHAPES[name]
            made[name] = OpenVinoQuantizer(lambda: _read_float(graph), clips=noise(shape, 4), info=_info(shape))
        return made[name]

    return make


def _read(path: Path) -> Any:
    return openvino.Core().read_model(path)


def _read_float(graph: Path) -> Any:
    network = _read(graph)
    name_layers(network, graph)
    return network


def _float_weights(network: Any) -> dict[str, NDArray[np.float32]]:
    """Weights of the layers whose weights are float constants, by name in the ONNX graph."""
    found = {}
    for op in network.get_ordered_ops():
        if op.get_type_name() in KINDS:
            node = op.input_value(1).get_node()
            while node.get_type_name() == "Reshape":
                node = node.input_value(0).get_node()
            if node.get_type_name() == "Constant":
                found[_name(op)] = np.array(node.data)
    return found


def _name(op: Any) -> str:
    return str(op.get_friendly_name()).removesuffix("/WithoutBiases")


def _readers_of_integers(network: Any) -> set[str]:
    """Types of the operators that take quantized activations."""
    quantizers = [op for op in network.get_ordered_ops() if op.get_type_name() == "FakeQuantize"]
    readers = (reader for op in quantizers for reader in op.output(0).get_target_inputs())
    return {reader.get_node().get_type_name() for reader in readers}


def _logits(path: Path, clip: Clips) -> NDArray[np.float32]:
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.array(compiled(clip)[compiled.output("logits")])


@pytest.mark.parametrize(
    ("name", "preset", "kinds", "between"),
    [
        (R3D, EVERYTHING, {"Convolution", "MatMul"}, True),
        (R3D, ALONE, {"Convolution", "MatMul"}, False),
        (DEPTHWISE, EVERYTHING, KINDS, True),
        (DEPTHWISE, DENSE, {"Convolution", "MatMul"}, True),
        (DEPTHWISE, ALONE, {"Convolution", "MatMul"}, False),
        pytest.param(X3D, EVERYTHING, KINDS, True, marks=pytest.mark.slow),
        pytest.param(X3D, ALONE, {"Convolution", "MatMul"}, False, marks=pytest.mark.slow),
        pytest.param(NON_LOCAL, ALONE, {"Convolution", "MatMul"}, False, marks=pytest.mark.slow),
    ],
)
def test_a_preset_leaves_integers_where_it_says(
    quantizer: Make, tmp_path: Path, name: str, preset: str, kinds: set[str], between: bool
) -> None:
    made = quantizer(name)
    network = _read(made.write(preset, tmp_path))
    layers = {_name(op): op.get_type_name() for op in network.get_ordered_ops() if op.get_type_name() in KINDS}
    assert {layers[layer] for layer in made.list_layers(preset)} == kinds
    assert set(_float_weights(network)) == {layer for layer, kind in layers.items() if kind not in kinds}
    # Pools and reshapes before a layer are read as they are written, so they are no operators between.
    moving = {"MaxPool", "Pad", "Reshape", "Transpose", "Squeeze"}
    assert bool(_readers_of_integers(network) - KINDS - moving) is between
    assert ("Add" in _readers_of_integers(network)) is between


_NETWORKS = [R3D, DEPTHWISE, *(pytest.param(name, marks=pytest.mark.slow) for name in (X3D, NON_LOCAL))]


@pytest.mark.parametrize("name", _NETWORKS)
def test_layers_are_named_as_in_the_graph_wherever_they_stand(quantizer: Make, graph_of: FloatGraph, name: str) -> None:
    """Behind a pool or a transposition they take integers just as well."""
    float_network = _read_float(graph_of(name))
    names = [_name(op) for op in float_network.get_ordered_ops() if op.get_type_name() in KINDS]
    assert sorted(quantizer(name).list_layers(EVERYTHING)) == sorted(names)
    assert all(layer.endswith(("/Conv", "/Gemm")) or "/MatMul" in layer for layer in names)


@pytest.mark.parametrize("preset", [EVERYTHING, ALONE])
@pytest.mark.parametrize("name", _NETWORKS)
def test_all_layers_in_float_are_the_float_network(
    quantizer: Make, graph_of: FloatGraph, noise: Noise, tmp_path: Path, name: str, preset: str
) -> None:
    made = quantizer(name)
    path = made.write(preset, tmp_path, excluded=made.list_layers(EVERYTHING))
    network, original = _read(path), _read_float(graph_of(name))
    assert not [op for op in network.get_ordered_ops() if op.get_type_name() == "FakeQuantize"]
    weights, expected = _float_weights(network), _float_weights(original)
    assert set(weights) == set(expected)
    for layer, values in expected.items():
        np.testing.assert_array_equal(weights[layer], values)
    (clip,) = noise(SHAPES[name], 1)
    logits = _logits(graph_of(name), clip)
    np.testing.assert_allclose(_logits(path, clip), logits, rtol=0, atol=1e-5 * float(np.ptp(logits)))


@pytest.mark.parametrize("preset", [EVERYTHING, ALONE, SYMMETRIC])
def test_the_saliency_path_returns_with_all_that_lies_in_it(
    quantizer: Make, float_graph: FloatGraph, tmp_path: Path, preset: str
) -> None:
    made = quantizer(R3D)
    excluded = [layer for layer in made.list_layers(preset) if layer.startswith("saliency.")]
    network = _read(made.write(preset, tmp_path, excluded=excluded))
    weights, expected = _float_weights(network), _float_weights(_read_float(float_graph(R3D)))
    assert set(weights) == set(excluded)
    for layer in excluded:
        np.testing.assert_array_equal(weights[layer], expected[layer])
    quantizers = [op for op in network.get_ordered_ops() if op.get_type_name() == "FakeQuantize"]
    readers = [reader.get_node() for op in quantizers for reader in op.output(0).get_target_inputs()]
    assert readers
    assert not [op.get_friendly_name() for op in readers if op.get_friendly_name().startswith("saliency")]


def _attempts(made: Quantizer, presets: Sequence[str], folder: Path) -> dict[str, str]:
    """What became of each preset in the precision that the device prefers: nothing, or the compiler's words."""
    from s2tf_edge.errors import UnsupportedError

    found = {}
    for index, preset in enumerate(presets):
        place = folder / str(index)
        place.mkdir()
        try:
            with made.make_session(made.write(preset, place)) as session:
                found[preset] = "" if np.isfinite(session.infer(made_clip(session.info)).logits).all() else "nan"
        except UnsupportedError as error:
            found[preset] = str(error)
    return found


def made_clip(info: ModelInfo) -> Clips:
    return np.random.default_rng(0).standard_normal(info.spec.input_shape()).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", [X3D, PLAIN_X3D])
def test_some_form_of_x3d_compiles_on_any_machine(quantizer: Make, tmp_path: Path, name: str) -> None:
    """Where the processor has bfloat16, not all of them do."""
    made = quantizer(name)
    found = _attempts(made, made.presets, tmp_path)
    assert list(found) == [EVERYTHING, DENSE, ALONE, SYMMETRIC, SYMMETRIC_DENSE, SYMMETRIC_ALONE]
    assert [preset for preset in (ALONE, SYMMETRIC, SYMMETRIC_DENSE, SYMMETRIC_ALONE) if found[preset]] == []
    for complaint in filter(None, found.values()):
        assert "OpenVINO cannot run" in complaint


def test_depthwise_layers_are_left_out_only_where_there_are_any(quantizer: Make) -> None:
    assert quantizer(DEPTHWISE).presets == (EVERYTHING, DENSE, ALONE, SYMMETRIC, SYMMETRIC_DENSE, SYMMETRIC_ALONE)
    assert quantizer(R3D).presets == (EVERYTHING, ALONE, SYMMETRIC, SYMMETRIC_ALONE)


@pytest.mark.parametrize(("weight_bits", "largest"), [(8, 127), (7, 64)])
def test_weights_have_as_many_bits_as_were_asked_for(
    graph_of: FloatGraph, noise: Noise, tmp_path: Path, weight_bits: int, largest: int
) -> None:
    graph, shape = graph_of(R3D), SHAPES[R3D]
    made = OpenVinoQuantizer(
        lambda: _read_float(graph), clips=noise(shape, 1), info=_info(shape), weight_bits=weight_bits
    )
    network = _read(made.write(ALONE, tmp_path))
    constants = [op for op in network.get_ordered_ops() if op.get_type_name() == "Constant"]
    weights = [np.abs(op.data.astype(int)).max() for op in constants if op.get_element_type().get_type_name() == "i8"]
    assert max(weights) == largest


@pytest.mark.parametrize(
    ("preset", "activations"), [(EVERYTHING, "asymmetric"), (ALONE, "asymmetric"), (SYMMETRIC_ALONE, "symmetric")]
)
def test_it_says_what_quantized_it_and_to_what_ranges(quantizer: Make, preset: str, activations: str) -> None:
    described = json.loads(json.dumps(quantizer(R3D).describe(preset)))
    assert (described["method"], described["quantiser"]) == ("minmax", "nncf.quantize, preset mixed")
    assert described["activations"] == activations
    ranges = described["activation_ranges"]
    assert all("fq_weights" not in name and low <= 0 <= high for name, (low, high) in ranges.items())
    if preset == EVERYTHING:
        assert set(quantizer(R3D).describe(ALONE)["activation_ranges"]) < set(ranges)


def _convolution(value: Any, name: str, *, bias: float) -> Any:
    channels = value.output(0).get_partial_shape()[1].get_length()
    random = np.random.default_rng(0)
    kernel = random.standard_normal((8, channels, 3, 3, 3)).astype(np.float32) / 8
    offset = np.full((1, 8, 1, 1, 1), bias, np.float32)
    ones = [1, 1, 1]
    result = ops.convolution(value, kernel, ones, ones, ones, ones, name=f"{name}/WithoutBiases")
    return ops.relu(ops.add(result, offset, name=name))


def _network(shape: Sequence[Any] = (1, 3, 4, 16, 16)) -> Any:
    clip = ops.parameter(openvino.PartialShape(list(shape)), np.float32, name="clip")
    clip.output(0).set_names({"clip"})
    features = _convolution(_convolution(clip, "stem/Conv", bias=3.0), "head/Conv", bias=2.0)
    weight = np.random.default_rng(1).standard_normal((8, 10)).astype(np.float32)
    pooled = ops.reduce_mean(features, np.array([2, 3, 4]))
    logits = ops.matmul(pooled, weight, transpose_a=False, transpose_b=False, name="fc/Gemm")
    logits.output(0).set_names({"logits"})
    return openvino.Model([logits], [clip])


def _biases(network: Any) -> dict[str, NDArray[np.float32]]:
    sums = [op for op in network.get_ordered_ops() if op.get_type_name() == "Add"]
    return {op.get_friendly_name(): np.array(op.input_value(1).get_node().data) for op in sums}


def _small(shape: Sequence[Any] = (1, 3, 4, 16, 16), *, batch: int | None = 1) -> OpenVinoQuantizer:
    random = np.random.default_rng(2)
    clips = [random.standard_normal((1, *shape[1:])).astype(np.float32) for _ in range(3)]
    return OpenVinoQuantizer(lambda: _network(shape), clips=clips, info=_info((1, *shape[1:]), batch=batch))


def test_a_bias_that_was_corrected_for_integers_returns_with_its_layer(tmp_path: Path) -> None:
    made, original = _small(), _biases(_network())
    integer = _biases(_read(made.write(EVERYTHING, tmp_path)))
    assert any(not np.array_equal(integer[name], values) for name, values in original.items())
    mixed = _biases(_read(made.write(EVERYTHING, tmp_path, excluded=["stem/Conv"])))
    np.testing.assert_array_equal(mixed["stem/Conv"], original["stem/Conv"])
    np.testing.assert_array_equal(mixed["head/Conv"], integer["head/Conv"])
    returned = _biases(_read(made.write(EVERYTHING, tmp_path, excluded=made.list_layers(EVERYTHING))))
    for name, values in original.items():
        np.testing.assert_array_equal(returned[name], values)


def test_ranges_reach_the_extremes_of_all_clips() -> None:
    """One bright clip among dark ones must not be cut off, as an average of extremes would do."""
    clips = [np.full((1, 3, 4, 16, 16), value, np.float32) for value in (-0.1, 0.1, 0.1, 0.1, 8.0)]
    made = OpenVinoQuantizer(_network, clips=clips, info=_info((1, 3, 4, 16, 16)))
    low, high = made.describe(EVERYTHING)["activation_ranges"]["clip/fq_output_0"]
    assert low < 0 < high == pytest.approx(1.3 * 8.0, rel=0.06)


def test_ranges_from_few_clips_leave_room() -> None:
    ranges = {}
    for count in (RECOMMENDED_CLIPS - 1, RECOMMENDED_CLIPS):
        clips = [np.full((1, 3, 4, 16, 16), (-1.0) ** index, np.float32) for index in range(count)]
        made = OpenVinoQuantizer(_network, clips=clips, info=_info((1, 3, 4, 16, 16)))
        ranges[count] = made.describe(EVERYTHING)["activation_ranges"]
    few, many = ranges.values()
    assert len(many) >= 2
    # OpenVINO numbers its operators anew in each network; the order stays.
    for bounds, (low, high) in zip(few.values(), many.values(), strict=True):
        assert bounds == pytest.approx((1.3 * low, 1.3 * high), rel=1e-4)


def test_clips_that_could_not_be_read_are_not_counted() -> None:
    """Of a hundred that were chosen, one less was measured on."""
    made = OpenVinoQuantizer(_network, clips=_Unreadable(), info=_info((1, 3, 4, 16, 16)))
    low, high = made.describe(EVERYTHING)["activation_ranges"]["clip/fq_output_0"]
    assert low < 0 < high == pytest.approx(1.3, rel=0.06)


class _Unreadable:
    clips_read = RECOMMENDED_CLIPS - 1

    def __len__(self) -> int:
        return RECOMMENDED_CLIPS

    def __iter__(self) -> Iterator[Clips]:
        for index in range(self.clips_read):
            yield np.full((1, 3, 4, 16, 16), (-1.0) ** index, np.float32)


def test_passes_over_the_clips_are_finished() -> None:
    """What counts clips, or warns that they are few, does so at the end of a pass."""
    clips = _Finished()
    made = OpenVinoQuantizer(_network, clips=clips, info=_info((1, 3, 4, 16, 16)))
    assert made.list_layers(EVERYTHING)
    assert clips.begun == clips.finished >= 1


class _Finished:
    def __init__(self) -> None:
        self.begun = self.finished = 0

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[Clips]:
        self.begun += 1
        random = np.random.default_rng(0)
        for _ in range(len(self)):
            yield random.standard_normal((1, 3, 4, 16, 16)).astype(np.float32)
        self.finished += 1


@pytest.mark.parametrize("batch", [2, 5])
def test_a_network_that_takes_several_clips_at_once_is_calibrated_with_as_many(tmp_path: Path, batch: int) -> None:
    """Three clips fill neither two batches of two nor one of five; the ranges are those of single clips."""
    made = _small((batch, 3, 4, 16, 16), batch=batch)
    single = _small().describe(EVERYTHING)["activation_ranges"]["clip/fq_output_0"]
    assert made.describe(EVERYTHING)["activation_ranges"]["clip/fq_output_0"] == pytest.approx(single)
    clips = np.random.default_rng(3).standard_normal((3, 3, 4, 16, 16)).astype(np.float32)
    with made.make_session(made.write(EVERYTHING, tmp_path)) as session:
        assert session.infer(clips).logits.shape == (3, 10)


def test_any_number_of_clips_goes_through(tmp_path: Path) -> None:
    made = _small((-1, 3, 4, 16, 16), batch=None)
    clips = np.random.default_rng(3).standard_normal((5, 3, 4, 16, 16)).astype(np.float32)
    with made.make_session(made.write(EVERYTHING, tmp_path)) as session:
        logits = session.infer(clips).logits
        np.testing.assert_allclose(session.infer(clips[3:4]).logits, logits[3:4], rtol=0.02, atol=0.02)
    assert logits.shape == (5, 10)


def test_nothing_is_printed_and_no_logger_is_changed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    made = _small()
    made.write(EVERYTHING, tmp_path)
    assert capfd.readouterr().out == ""
    assert made.list_layers(EVERYTHING) == ("stem/Conv", "head/Conv", "fc/Gemm")


def test_importing_the_quantizer_leaves_the_home_and_the_environment_alone(tmp_path: Path) -> None:
    code = (
        "import os; before = dict(os.environ)\n"
        "from s2tf_edge.runtime.backends.telemetry import require_without_telemetry as require\n"
        "for name in ('openvino', 'nncf'): require(name, extra='export', purpose='a test')\n"
        "import openvino_telemetry\n"
        "assert openvino_telemetry.Telemetry().consent is False\n"
        "assert {key: os.environ[key] for key in before} == before\n"
        "assert not {'CI', 'NNCF_CI'} & (set(os.environ) - set(before))\n"
    )
    environment = {key: value for key, value in os.environ.items() if key not in {"CI", "NNCF_CI"}}
    environment["HOME"] = str(tmp_path)
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert not (tmp_path / "intel").exists()


@pytest.mark.parametrize("method", [method for method in METHODS if method != "minmax"])
def test_other_methods_go_through_the_graph(float_graph: FloatGraph, noise: Noise, tmp_path: Path, method: str) -> None:
    shape, graph = SHAPES[R3D], float_graph(R3D)
    made = OpenVinoGraphQuantizer(graph, clips=noise(shape, 4), info=_info(shape), method=method)
    (preset,) = made.presets
    excluded = [layer for layer in made.list_layers(preset) if layer.startswith("saliency.")]
    path = made.write(preset, tmp_path, excluded=excluded)
    assert path.name == "model.xml"
    (clip,) = noise(shape, 1)
    expected = _logits(graph, clip)
    with made.make_session(path) as session:
        assert session.backend == "openvino"
        error = np.abs(session.infer(clip).logits - expected).max()
    assert 0 < error < 0.2 * np.ptp(expected)
    weights = _float_weights(_read(path))
    assert set(weights) == set(excluded)
    assert made.describe(preset)["method"] == method

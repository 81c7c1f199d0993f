"""The layer where an artifact leaves its network, found again after one layer was changed."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from torch import nn

from s2tf_edge.export import ExportOptions, ExportPlan, ExportResult, plan_export, run_plan
from s2tf_edge.export.graph import layer_maps
from s2tf_edge.export.graph.layer_maps import GraphLayers, LayerMaps, in_portions
from s2tf_edge.export.sources.network import TorchNetwork, open_network
from s2tf_edge.export.verify.divergence import artifact_layers, find_divergence, first_difference
from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.export.verify.verification import TOLERANCES
from s2tf_edge.models.model_file import load_model
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.preprocess import normalize

ARTIFACTS: list[Any] = [
    pytest.param({"target": "onnx", "precision": "fp32", "custom_ops": "keep"}, id="onnx-fp32-keep"),
    pytest.param({"target": "onnx", "precision": "fp16", "custom_ops": "inline", "input": "u8"}, id="onnx-fp16-inline"),
    pytest.param({"target": "openvino", "precision": "fp32"}, id="openvino-fp32"),
    pytest.param({"target": "openvino", "precision": "fp16", "input": "u8"}, id="openvino-fp16"),
    pytest.param(
        {"target": "trt-rtx", "precision": "fp16", "custom_ops": "keep"},
        id="rtx-fp16-keep",
        marks=pytest.mark.needs_rtx,
    ),
]
LAYERS = [
    "backbone.stem.0.conv",
    "saliency.miners.1.blocks.0.spatial",
    "saliency.preservers.0.convs.3",
    "saliency.fusion.project",
]


class _Traced(TorchNetwork):
    """Traces once for all artifacts, which takes as long as all the rest."""

    def __init__(self, path: Path, folder: Path) -> None:
        super().__init__(path, load_model(path))
        self._graph = folder / "traced.onnx"
        ir.save(super().graph(batch=1, mask=False), self._graph)

    def graph(self, *, batch: int | None, mask: bool) -> ir.Model:
        assert (batch, mask) == (1, False)
        return ir.load(self._graph)


@pytest.fixture(scope="module")
def source(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> TorchNetwork:
    return _Traced(model_file, tmp_path_factory.mktemp("traced"))


@pytest.fixture(scope="module", params=ARTIFACTS)
def artifact(
    request: pytest.FixtureRequest, source: TorchNetwork, tmp_path_factory: pytest.TempPathFactory
) -> ExportResult:
    out = tmp_path_factory.mktemp("artifact") / "a"
    plan = plan_export(source.path, ExportOptions(out=out, verify=False, **request.param))
    assert isinstance(plan, ExportPlan)
    return run_plan(dataclasses.replace(plan, source=source))


def _find(artifact: ExportResult, source: TorchNetwork, network: VideoNetwork) -> str:
    """As export searches it, of an artifact and a network that it was not made of; the graph is still that of it."""
    meta, (frames,) = artifact.meta, seeded_clips(network.spec, count=1)
    changed = copy.copy(source)
    changed.network = network
    expected = changed.layers(normalize(frames, network.spec)[np.newaxis])
    got = artifact_layers(artifact.folder, meta, normalize(frames, meta.clip)[np.newaxis])
    convolutions = {name for name, kind in expected.kinds.items() if kind == "Conv"}
    assert convolutions <= set(got.kinds)
    return find_divergence(got, expected, tolerance=TOLERANCES[str(meta.precision["asked"])].max_error)


def test_every_layer_agrees_with_the_network_itself(
    artifact: ExportResult, source: TorchNetwork, network: VideoNetwork
) -> None:
    text = _find(artifact, source, network)
    assert (found := re.fullmatch(r"each of the (\d+) layers that both have by name agrees by itself", text)), text
    assert int(found[1]) > 60


@pytest.mark.parametrize("layer", LAYERS)
def test_the_one_layer_that_was_changed_is_named(
    artifact: ExportResult, source: TorchNetwork, network: VideoNetwork, layer: str
) -> None:
    convolution = network.get_submodule(layer)
    assert isinstance(convolution, nn.Conv3d)
    convolution.weight.data *= 1.5
    named = _find(artifact, source, network)
    assert named.startswith(f"the first layer that differs is Conv {layer}/Conv (error ")


def _maps(**layers: list[float]) -> LayerMaps:
    return {name: np.array(values, np.float32) for name, values in layers.items()}


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_an_artifact_of_several_clips_is_searched_too(
    export_plain: Callable[..., ExportResult], plain: Path, target: str
) -> None:
    result = export_plain(target, precision="fp32", batch=3)
    source = open_network(plain, meta=plain.with_suffix(".json"))
    clip = normalize(seeded_clips(source.spec, count=1)[0], source.spec)[np.newaxis]
    expected, got = source.layers(clip), artifact_layers(result.folder, result.meta, clip)
    assert got.maps(["c"])["c"].shape == (1, 8, 4, 8, 8)
    assert (
        find_divergence(got, expected, tolerance=1e-5) == "each of the 5 layers that both have by name agrees by itself"
    )


CHANGES: list[Any] = [
    pytest.param("AveragePool", "mean", {"count_include_pad": 1}, {"count_include_pad": 0}, id="pool"),
    pytest.param("LeakyRelu", "act", {"alpha": 0.1}, {"alpha": 0.2}, id="activation"),
    pytest.param("Resize", "up", {"mode": "linear"}, {"mode": "nearest"}, id="resize"),
    pytest.param("Softmax", "soft", {"axis": 1}, {"axis": 2}, id="softmax"),
    pytest.param("InstanceNormalization", "norm", {"epsilon": 1e-5}, {"epsilon": 1.0}, id="norm"),
]


@pytest.mark.parametrize(("kind", "name", "right", "wrong"), CHANGES)
def test_a_layer_of_any_kind_is_named(kind: str, name: str, right: dict[str, Any], wrong: dict[str, Any]) -> None:
    clip = np.random.default_rng(0).standard_normal((1, 3, 4, 8, 8)).astype(np.float32)

    def layers(attributes: dict[str, Any]) -> GraphLayers:
        model = ir.from_onnx_text(_EVERY_KIND)
        node = next(node for node in model.graph if node.op_type == kind)
        node.attributes.update({key: ir.convenience.convert_attribute(key, each) for key, each in attributes.items()})
        return GraphLayers(ir.passes.common.ShapeInferencePass()(model).model, clip)

    found = find_divergence(layers(wrong), layers(right), tolerance=1e-3)
    assert re.match(rf"the first layer that differs is {kind} {name} \(error \d+\.\d\d% of its largest value\)$", found)


_EVERY_KIND = """<ir_version: 8, opset_import: ["": 18]> g (float[1,3,4,8,8] x) => (float[1,3,4,16,16] y) {
    mean = AveragePool <kernel_shape = [3, 3, 3], pads = [1, 1, 1, 1, 1, 1], count_include_pad = 1> (x)
    act = LeakyRelu <alpha = 0.1> (mean)
    one = Constant <value_floats = [1.0, 1.0, 1.0]> ()
    norm = InstanceNormalization <epsilon = 0.00001> (act, one, one)
    soft = Softmax <axis = 1> (norm)
    scales = Constant <value_floats = [1.0, 1.0, 1.0, 2.0, 2.0]> ()
    up = Resize <mode = "linear"> (soft, , scales)
    y = Tanh (up)
}"""


def test_outputs_are_asked_for_in_portions_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = np.zeros((1, 3, 4, 8, 8), np.float32)
    layers = GraphLayers(ir.passes.common.ShapeInferencePass()(ir.from_onnx_text(_EVERY_KIND)).model, clip)
    names = list(layers.kinds)
    assert list(in_portions(names, layers)) == [names]
    one = layers.size("act")
    assert one == 4 * 3 * 4 * 8 * 8
    monkeypatch.setattr(layer_maps, "_PORTION", 2 * one)
    assert list(in_portions(names, layers)) == [["mean", "act"], ["norm", "soft"], ["up"], ["y"]]
    assert (
        find_divergence(layers, layers, tolerance=0) == "each of the 6 layers that both have by name agrees by itself"
    )


KINDS = dict.fromkeys("abc", "Relu")


def _first(got: LayerMaps, expected: LayerMaps, *, tolerance: float) -> str | None:
    return first_difference(got, expected, kinds=KINDS, tolerance=tolerance)


def test_the_first_in_the_order_of_the_network_is_named() -> None:
    expected = _maps(a=[0, 10], b=[0, 10], c=[0, 10])
    got = _maps(c=[0, 0], b=[0, 9], a=[0, 10])
    assert _first(got, expected, tolerance=0.05) == "Relu b (error 10.00% of its largest value)"
    assert _first(got, expected, tolerance=0.11) == "Relu c (error 100.00% of its largest value)"
    assert _first(got, expected, tolerance=1) is None


def test_layers_that_the_artifact_has_no_more_or_otherwise_are_passed_over() -> None:
    assert _first({}, _maps(a=[1]), tolerance=0.1) is None
    assert _first(_maps(a=[2, 2]), _maps(a=[1]), tolerance=0.1) is None
    found = _first(_maps(b=[2]), _maps(a=[1], b=[1]), tolerance=0.1)
    assert found == "Relu b (error 100.00% of its largest value)"


def test_a_layer_of_one_value_has_no_range_and_rounds_like_others() -> None:
    assert _first(_maps(a=[1.00001]), _maps(a=[1]), tolerance=1e-4) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_infinite_or_no_number_in_both_is_the_same(value: float) -> None:
    maps = _maps(a=[0, 1, value])
    assert _first(maps, maps, tolerance=0) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_differ(value: float) -> None:
    assert _first(_maps(a=[0, 1], b=[0, value]), _maps(a=[0, 1], b=[0, 1]), tolerance=1) is not None

"""The layer where an artifact leaves its network, found again after one convolution was changed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from s2tf_edge.export import ExportOptions, ExportPlan, ExportResult, plan_export, run_plan
from s2tf_edge.export.graph.layer_maps import LayerMaps, graph_maps
from s2tf_edge.export.sources.network import TorchNetwork, open_network
from s2tf_edge.export.verify.divergence import artifact_maps, first_difference
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


def _first_difference(artifact: ExportResult, network: VideoNetwork) -> str | None:
    """As export searches it, of an artifact and a network that it was not made of."""
    meta, (frames,) = artifact.meta, seeded_clips(network.spec, count=1)
    expected = TorchNetwork(Path("model.pt"), network).layer_maps(normalize(frames, network.spec)[np.newaxis])
    got = artifact_maps(artifact.folder, meta, normalize(frames, meta.clip)[np.newaxis], list(expected))
    assert set(got) == set(expected)
    return first_difference(got, expected, tolerance=TOLERANCES[str(meta.precision["asked"])].max_error)


def test_every_layer_agrees_with_the_network_itself(artifact: ExportResult, network: VideoNetwork) -> None:
    assert _first_difference(artifact, network) is None


@pytest.mark.parametrize("layer", LAYERS)
def test_the_one_layer_that_was_changed_is_named(artifact: ExportResult, network: VideoNetwork, layer: str) -> None:
    convolution = network.get_submodule(layer)
    assert isinstance(convolution, nn.Conv3d)
    convolution.weight.data *= 1.5
    named = _first_difference(artifact, network)
    assert named is not None
    assert named.startswith(f"{layer}/Conv (error ")


def _maps(**layers: list[float]) -> LayerMaps:
    return {name: np.array(values, np.float32) for name, values in layers.items()}


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_an_artifact_of_several_clips_is_searched_too(
    export_plain: Callable[..., ExportResult], plain: Path, target: str
) -> None:
    result = export_plain(target, precision="fp32", batch=3)
    source = open_network(plain, meta=plain.with_suffix(".json"))
    clip = normalize(seeded_clips(source.spec, count=1)[0], source.spec)[np.newaxis]
    expected = source.layer_maps(clip)
    got = artifact_maps(result.folder, result.meta, clip, list(expected))
    assert {name: each.shape for name, each in got.items()} == {"c": (1, 8, 4, 8, 8)}
    assert first_difference(got, expected, tolerance=1e-5) is None


def test_the_first_in_the_order_of_the_network_is_named() -> None:
    expected = _maps(a=[0, 10], b=[0, 10], c=[0, 10])
    got = _maps(c=[0, 0], b=[0, 9], a=[0, 10])
    assert first_difference(got, expected, tolerance=0.05) == "b (error 10.00% of its largest value)"
    assert first_difference(got, expected, tolerance=0.11) == "c (error 100.00% of its largest value)"
    assert first_difference(got, expected, tolerance=1) is None


def test_layers_that_the_artifact_has_no_more_are_passed_over() -> None:
    assert first_difference({}, _maps(a=[1]), tolerance=0.1) is None
    assert (
        first_difference(_maps(b=[2]), _maps(a=[1], b=[1]), tolerance=0.1) == "b (error 100.00% of its largest value)"
    )


def test_a_layer_of_one_value_has_no_range_and_rounds_like_others() -> None:
    assert first_difference(_maps(a=[1.00001]), _maps(a=[1]), tolerance=1e-4) is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_differ(value: float) -> None:
    assert first_difference(_maps(a=[0, 1], b=[0, value]), _maps(a=[0, 1], b=[0, 1]), tolerance=1) is not None


def test_a_graph_is_searched_by_its_convolutions(source: TorchNetwork, network: VideoNetwork) -> None:
    graph = source.graph(batch=1, mask=False)
    clip = np.random.default_rng(0).standard_normal(network.spec.input_shape()).astype(np.float32)
    found = graph_maps(graph, clip)
    expected = source.layer_maps(clip)
    assert set(found) == set(expected)
    for name, values in found.items():
        torch.testing.assert_close(torch.from_numpy(values), torch.from_numpy(expected[name]), rtol=1e-4, atol=1e-4)

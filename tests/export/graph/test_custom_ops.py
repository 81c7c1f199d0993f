"""The network's own modules as nodes with bodies, and inlined, over whole networks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from s2tf_edge.export.graph.custom_ops import InlineCustomOps, add_bodies, count_custom_ops
from s2tf_edge.export.graph.functions import DOMAIN
from s2tf_edge.export.graph.onnx_file import layer_types, write_graph
from s2tf_edge.export.sources.torch_to_onnx import to_onnx
from s2tf_edge.export.targets.registry import TARGETS
from s2tf_edge.export.targets.tensorrt_engine import EngineOptions, build_engine
from s2tf_edge.export.targets.tensorrt_graph import parse_graph
from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.models import VideoNetwork, create_model
from s2tf_edge.models.nl_i3d import NonLocal
from s2tf_edge.models.saliency import FeaturePreserver, SaliencyMiner, TemporalFusion
from s2tf_edge.preprocess import normalize
from s2tf_edge.runtime.backends.tensorrt_library import EngineLog, load_tensorrt

FORMS: Final = ("keep", "inline")
MODULES: Final = {
    SaliencyMiner: "SaliencyMining",
    FeaturePreserver: "FeaturePreserving",
    TemporalFusion: "TemporalFusion",
    NonLocal: "NonLocal",
}
NETWORKS = [
    # Odd frames and sizes: pools have ragged ends. The last stages have one frame: kernels there are cut.
    pytest.param(("s2tf_r3d_10?width=0.125", 7, 33), id="s2tf_r3d_10"),
    pytest.param(("ssf_r3d_10?width=0.125", 4, 32), id="ssf_r3d_10"),
    pytest.param(("s2tf_nl_i3d_r50?width=0.125", 8, 64), id="s2tf_nl_i3d_r50"),
    pytest.param(("s2tf_p3d_63?width=0.0625", 16, 33), id="s2tf_p3d_63", marks=pytest.mark.slow),
    pytest.param(("ssf_x3d_xs?width=0.25", 4, 33), id="ssf_x3d_xs", marks=pytest.mark.slow),
]


def scrambled(name: str, *, frames: int, size: int) -> VideoNetwork:
    """A network whose norms are far from the identity, as training leaves them."""
    torch.manual_seed(0)
    network = create_model(name, num_classes=5, frames=frames, size=size).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for value, low in ((module.weight, 0.5), (module.bias, -0.2), (module.running_mean, -0.2)):
                nn.init.uniform_(value, low, low + 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    _spread_saliency(network)
    return network


@torch.no_grad()
def _spread_saliency(network: VideoNetwork) -> None:
    """Chooses what is salient so that maps vary over clips and places, which in a new network they hardly do."""
    assert network.saliency is not None
    clips = torch.from_numpy(clips_for(network, 4))
    stages = network.backbone.forward_stages(clips)
    for miner, features in zip(network.saliency.miners, stages, strict=False):
        assert isinstance(miner, SaliencyMiner)
        hidden = miner.blocks(features).movedim(1, 0).flatten(1)
        mean = hidden.mean(1)
        weight = torch.randn(len(mean))
        weight -= mean * (weight @ mean) / (mean @ mean)
        miner.project.weight.copy_((weight / (weight @ hidden).std()).reshape(miner.project.weight.shape))
    mask = network(clips, return_saliency=True)[1].mask
    assert mask.std() > 0.005 * mask.mean() > 0


def clips_for(network: VideoNetwork, count: int) -> NDArray[np.float32]:
    return np.stack([normalize(each, network.spec) for each in seeded_clips(network.spec, count=count)])


@dataclass(frozen=True, kw_only=True)
class Traced:
    """A network and its graph for any number of clips, with the mask, in both forms."""

    network: VideoNetwork
    keep: Path
    inline: Path

    def model(self, form: str) -> onnx.ModelProto:
        return onnx.load(getattr(self, form))


def traced_network(network: VideoNetwork, folder: Path, *, batch: int | None) -> Traced:
    graph = to_onnx(network, batch=batch, mask=True)
    # Writing checks the file, its types and shapes included.
    write_graph(graph, folder / "keep.onnx")
    assert InlineCustomOps()(graph).modified
    write_graph(graph, folder / "inline.onnx")
    return Traced(network=network, keep=folder / "keep.onnx", inline=folder / "inline.onnx")


@pytest.fixture(scope="module", params=NETWORKS)
def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Traced:
    name, frames, size = request.param
    network = scrambled(name, frames=frames, size=size)
    return traced_network(network, tmp_path_factory.mktemp("traced"), batch=None)


def assert_computes_the_network(path: Path, network: VideoNetwork, *, clips: int) -> None:
    clip = clips_for(network, clips)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    got = session.run(["logits", "mask"], {"clip": clip})
    with torch.inference_mode():
        logits, saliency = network(torch.from_numpy(clip), return_saliency=True)
    for values, expected in zip(got, (logits.numpy(), saliency.mask.numpy()), strict=True):
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("clips", [1, 3])
def test_computes_the_networks_logits_and_mask(traced: Traced, form: str, clips: int) -> None:
    assert_computes_the_network(getattr(traced, form), traced.network, clips=clips)


def test_computes_them_for_a_fixed_number_of_clips(tmp_path: Path) -> None:
    traced = traced_network(scrambled("s2tf_r3d_10?width=0.125", frames=8, size=32), tmp_path, batch=2)
    for form in FORMS:
        assert_computes_the_network(getattr(traced, form), traced.network, clips=2)


def test_every_module_of_ours_is_one_node_with_a_body(traced: Traced) -> None:
    modules = {name: MODULES[type(each)] for name, each in traced.network.named_modules() if type(each) in MODULES}
    nodes = [node for node in traced.model("keep").graph.node if node.domain]
    assert [f"{name}/{operator}" for name, operator in sorted(modules.items())] == sorted(node.name for node in nodes)
    assert {node.domain for node in nodes} == {DOMAIN}
    assert {body.name for body in traced.model("keep").functions} == set(modules.values())
    assert count_custom_ops(ir.load(traced.keep)) == Counter(modules.values())


def test_nothing_of_ours_is_left_when_inlined(traced: Traced) -> None:
    model = traced.model("inline")
    assert not {node.domain for node in model.graph.node} - {""}
    assert {each.domain for each in model.opset_import} == {""}
    assert not model.functions
    assert not count_custom_ops(ir.load(traced.inline))
    assert not any(node.metadata_props for node in model.graph.node)


def test_every_convolution_has_its_modules_name_when_inlined(traced: Traced) -> None:
    modules = [f"{name}/Conv" for name, each in traced.network.named_modules() if isinstance(each, nn.Conv3d)]
    nodes = [node for node in traced.model("inline").graph.node if node.op_type == "Conv"]
    assert sorted(node.name for node in nodes) == sorted(modules)
    # The last one's result is the mask.
    results = {output for node in nodes for output in node.output}
    assert results == {*modules, "mask"} - {"saliency.fusion.project/Conv"}


@pytest.mark.parametrize("form", FORMS)
def test_names_are_unique_and_weights_have_those_of_the_network(traced: Traced, form: str) -> None:
    graph = traced.model(form).graph
    nodes = [node.name for node in graph.node]
    values = [name for node in graph.node for name in node.output] + [each.name for each in graph.initializer]
    assert len(set(nodes)) == len(nodes)
    assert len(set(values)) == len(values)
    parameters = {name for name, _ in traced.network.to_inference().named_parameters()}
    assert len(parameters & {each.name for each in graph.initializer}) > 0.8 * len(parameters)


def test_bodies_of_absent_operators_are_left_out() -> None:
    model = ir.Model(ir.Graph([], [], nodes=[]), ir_version=10)
    add_bodies(model)
    assert not model.functions
    assert DOMAIN not in model.graph.opset_imports
    assert not InlineCustomOps()(model).modified


@pytest.mark.needs_rtx
def test_tensorrt_takes_the_bodies_and_gives_every_convolution_its_shape(traced: Traced) -> None:
    library = load_tensorrt("trt-rtx", purpose="this test")
    log = EngineLog(library)
    builder = library.module.Builder(log.listener)
    network = builder.create_network(1 << int(library.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = parse_graph(library, network, traced.keep, log=log)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    found = [tuple(each.get_output(0).shape) for each in layers if each.type.name == "CONVOLUTION"]
    outputs = {network.get_output(i).name: tuple(network.get_output(i).shape) for i in range(network.num_outputs)}
    del parser
    inferred = onnx.shape_inference.infer_shapes(traced.model("inline"), strict_mode=True)
    shapes = {each.name: _shape(each) for each in (*inferred.graph.value_info, *inferred.graph.output)}
    assert sorted(found) == sorted(shapes[node.output[0]] for node in inferred.graph.node if node.op_type == "Conv")
    assert outputs == {name: shapes[name] for name in ("logits", "mask")}


@pytest.mark.needs_rtx
def test_tensorrt_builds_an_engine_of_the_bodies(traced: Traced, tmp_path: Path) -> None:
    options = EngineOptions(profile=(1, 2, 4))
    facts = build_engine(traced.keep, tmp_path / "model.engine", target=TARGETS["trt-rtx"], options=options)
    assert facts.obtained == layer_types(traced.keep)
    assert facts.obtained["Convolution"]["f32"] > len(traced.model("keep").graph.node) / 10


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """With -1 for any number of clips, as TensorRT has it."""
    return tuple(-1 if side.dim_param else side.dim_value for side in value.type.tensor_type.shape.dim)

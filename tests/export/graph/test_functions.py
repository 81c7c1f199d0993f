"""Each operator's body in ONNX Runtime against the module that it stands for."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from s2tf_edge.export.graph.functions import DOMAIN, FUNCTION_OPSET, VERSION, function
from s2tf_edge.models.blocks import ConvNorm
from s2tf_edge.models.nl_i3d import NonLocal
from s2tf_edge.models.saliency import FeaturePreserver, MiningBlock, SaliencyMiner, TemporalFusion

NAMES = ("SaliencyMining", "FeaturePreserving", "TemporalFusion", "NonLocal")
RESOLVED = {("Conv", "pads"), ("Constant", "value_ints")}
"""Attributes of a body that TensorRT-RTX takes from the node; of others it ignores the reference without a word."""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def run(name: str, *inputs: Tensor, **attributes: tuple[int, ...]) -> Tensor:
    """Runs one node of an operator, its body in the file, weights given like everything else that it takes."""
    body = function(name)
    values = [
        ir.val(str(value.name), ir.DataType.FLOAT, tuple(tensor.shape))
        for value, tensor in zip(body.inputs, inputs, strict=True)
    ]
    output = ir.val("y", ir.DataType.FLOAT, [None] * 5)
    node = ir.node(name, values, attributes, domain=DOMAIN, outputs=[output])
    graph = ir.Graph(values, [output], nodes=[node], opset_imports={"": FUNCTION_OPSET, DOMAIN: VERSION}, name="g")
    proto = ir.to_proto(ir.Model(graph, ir_version=10, functions=[body]))
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {str(value.name): tensor.detach().numpy() for value, tensor in zip(values, inputs, strict=True)}
    return torch.from_numpy(session.run(None, feeds)[0])


def assert_equal(got: Tensor, expected: Tensor) -> None:
    spread = float(expected.max() - expected.min())
    assert spread > 1e-3
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * spread)


def random_norm(norm: nn.BatchNorm3d) -> None:
    for value in (norm.weight, norm.running_var):
        nn.init.uniform_(value, 0.5, 1.5)  # type: ignore[arg-type]
    for value in (norm.bias, norm.running_mean):
        nn.init.uniform_(value, -0.5, 0.5)  # type: ignore[arg-type]


def weights(*convs: nn.Module) -> list[Tensor]:
    return [conv.weight for conv in convs if isinstance(conv, nn.Conv3d)]


def mining_weights(miner: SaliencyMiner, norm: nn.BatchNorm3d) -> list[Tensor]:
    blocks = [block for block in miner.blocks if isinstance(block, MiningBlock)]
    convs = [conv for block in blocks for conv in (block.reduce, block.spatial, block.temporal, block.expand)]
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return [*weights(*convs, miner.project), scale, norm.bias - norm.running_mean * scale]


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 8, 4, 7, 7), (3, 6, 5, 4, 9)])
def test_saliency_mining(shape: tuple[int, ...]) -> None:
    miner, norm = SaliencyMiner(shape[1]).eval(), nn.BatchNorm3d(1).eval()
    random_norm(norm)
    features = torch.rand(shape)
    pads = {"spatial_pads": (0, 1, 1, 0, 1, 1), "temporal_pads": (1, 0, 0, 1, 0, 0)}
    got = run("SaliencyMining", features, *mining_weights(miner, norm), **pads)
    assert_equal(got, miner(features, norm))


@torch.no_grad()
def test_saliency_mining_of_one_frame_takes_kernels_cut_to_their_center() -> None:
    miner, norm = SaliencyMiner(8).eval(), nn.BatchNorm3d(1).eval()
    random_norm(norm)
    features = torch.rand(2, 8, 1, 5, 5)
    expected = miner(features, norm)
    *convs, scale, shift = mining_weights(miner, norm)
    cut = [weight[:, :, 1:2] if weight.shape[2] == 3 else weight for weight in convs]
    got = run("SaliencyMining", features, *cut, scale, shift, spatial_pads=(0, 1, 1, 0, 1, 1), temporal_pads=(0,) * 6)
    assert_equal(got, expected)


@torch.no_grad()
@pytest.mark.parametrize("size", [8, 9])
def test_feature_preserving(size: int) -> None:
    preserver = FeaturePreserver().eval()
    for weight in weights(*preserver.convs):
        nn.init.normal_(weight, std=0.3)
    edge_input, pooled = torch.rand(2, 1, 3, size, size), torch.rand(2, 1, 3, -(-size // 2), -(-size // 2))
    pads = {f"pads{index}": (0, side, side) * 2 for index, side in ((0, 4), (1, 3), (2, 1), (4, 2), (5, 1))}
    got = run("FeaturePreserving", pooled, edge_input, *weights(*preserver.convs), **pads)
    assert_equal(got, preserver(pooled, edge_input)[0])


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 5])
def test_temporal_fusion(frames: int) -> None:
    fusion = TemporalFusion(frames, typical=0.5).eval()
    saliency = torch.rand(2, 1, frames, 4, 3)
    got = run("TemporalFusion", saliency, fusion.reduce.weight, fusion.project.weight)
    assert got.shape == (2, 1, 1, 4, 3)
    assert_equal(got, fusion(saliency))


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 8, 4, 6, 6), (2, 6, 1, 5, 3)])
def test_non_local(shape: tuple[int, ...]) -> None:
    module = NonLocal(shape[1]).eval()
    module.out = ConvNorm(shape[1] // 2, shape[1], kernel=(1, 1, 1), relu=False, bias=True)
    # No norm, as in the inference form; as it starts, one would hide all but x.
    module.out.norm = nn.Identity()
    x = 3 * torch.randn(shape)
    inputs = []
    for conv in (module.theta, module.phi, module.g, module.out.conv):
        assert conv.bias is not None
        inputs += [conv.weight, nn.init.normal_(conv.bias)]
    got = run("NonLocal", x, *inputs, torch.tensor([module.scale]), grid=(0, 0, *shape[2:]))
    assert_equal(got - x, module(x) - x)


@pytest.mark.parametrize("name", NAMES)
def test_bodies_refer_only_to_attributes_that_every_compiler_resolves(name: str) -> None:
    body = function(name)
    references = [
        (node.op_type, key, value) for node in body for key, value in node.attributes.items() if value.is_ref()
    ]
    assert {(operator, key) for operator, key, _ in references} <= RESOLVED
    assert {value.ref_attr_name for *_, value in references} == set(body.attributes)


@pytest.mark.parametrize("name", NAMES)
def test_bodies_are_of_standard_operators_named_after_layers(name: str) -> None:
    body = function(name)
    assert body.identifier()[:2] == (DOMAIN, name)
    assert {node.domain for node in body} == {""}
    assert dict(body.opset_imports) == {"": FUNCTION_OPSET}
    names = [str(node.name) for node in body]
    assert names == [output.name for node in body for output in node.outputs]
    assert len({*names, *(value.name for value in body.inputs)}) == len(names) + len(body.inputs)
    operators = [node.op_type for node in body]
    assert [each.rpartition("/")[2].rstrip("_0123456789") for each in names] == operators


def test_a_body_is_a_copy_that_passes_may_change() -> None:
    changed = function("TemporalFusion")
    changed[0].name = "other"
    del changed.outputs[:]
    assert function("TemporalFusion")[0].name == "Transpose"
    assert len(function("TemporalFusion").outputs) == 1

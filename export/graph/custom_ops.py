"""The network's own modules as nodes of domain ``ai.s2tf``, and those nodes as standard operators again.

Before export, each module with an operator of its own gives way to one with the same signature that leaves a single
node in the graph; its body is added to the file (see ``functions``). ``InlineCustomOps`` puts the bodies in place of
the nodes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

import onnx_ir as ir
import torch
from onnx_ir.passes.common import InlinePass
from torch import Tensor, nn

from s2tf_edge.export.graph.functions import DOMAIN, VERSION, function
from s2tf_edge.models.causal import CausalConv3d
from s2tf_edge.models.nl_i3d import NonLocal
from s2tf_edge.models.saliency import FeaturePreserver, MiningBlock, SaliencyMiner, TemporalFusion

__all__ = ["InlineCustomOps", "add_bodies", "count_custom_ops", "leave_nodes"]

_SITE, _INNER = "s2tf.site", "s2tf.inner"


def leave_nodes(network: nn.Module) -> None:
    """Replaces, in place, every module of ``network`` that has an operator of its own."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if node := _NODES.get(type(child)):
                setattr(parent, name, node(child))


def add_bodies(model: ir.Model) -> None:
    """Adds the function of every operator of ours that the graph has."""
    for name in count_custom_ops(model):
        body = function(name)
        model.functions[body.identifier()] = body
        model.graph.opset_imports[DOMAIN] = VERSION


def count_custom_ops(model: ir.Model) -> Counter[str]:
    """How many nodes of each of our operators the graph has."""
    return Counter(node.op_type for node in model.graph if node.domain == DOMAIN)


class _OneNode(nn.Module):
    """Stands in for a module: leaves one node in the exported graph."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module
        self.eval()

    def _node(
        self, name: str, inputs: Sequence[Tensor], *, shape: Sequence[Any], attributes: Mapping[str, Any] | None = None
    ) -> Tensor:
        return torch.onnx.ops.symbolic(
            f"{DOMAIN}::{name}", inputs, dict(attributes or {}), dtype=inputs[0].dtype, shape=shape, version=VERSION
        )


class _MinerNode(_OneNode):
    module: SaliencyMiner

    def forward(self, features: Tensor, norm: nn.BatchNorm3d) -> Tensor:
        mining = cast("Sequence[MiningBlock]", self.module.blocks)
        blocks = [(block.reduce, block.spatial, block.temporal, block.expand) for block in mining]
        weights = [conv.weight for convs in blocks for conv in convs]
        _, spatial, temporal, _ = blocks[0]
        return self._node(
            "SaliencyMining",
            (features, *weights, self.module.project.weight, *_scale_and_shift(norm)),
            shape=(features.shape[0], 1, *features.shape[2:]),
            attributes={"spatial_pads": _pads(spatial), "temporal_pads": _pads(temporal)},
        )


def _scale_and_shift(norm: nn.BatchNorm3d) -> tuple[Tensor, Tensor]:
    """A batch norm of one channel in eval mode as ``scale · x + shift``, each [1]."""
    mean, variance = cast("tuple[Tensor, Tensor]", (norm.running_mean, norm.running_var))
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    return scale, norm.bias - mean * scale


class _PreserverNode(_OneNode):
    module: FeaturePreserver

    def forward(self, pooled: Tensor, edge_input: Tensor) -> tuple[Tensor, None]:
        convs = cast("Sequence[nn.Conv3d]", self.module.convs)
        pads = {f"pads{index}": _pads(convs[index]) for index in (0, 1, 2, 4, 5)}
        inputs = (pooled, edge_input, *(conv.weight for conv in convs))
        return self._node("FeaturePreserving", inputs, shape=pooled.shape, attributes=pads), None


class _FusionNode(_OneNode):
    module: TemporalFusion

    def forward(self, saliency: Tensor) -> Tensor:
        weights = (self.module.reduce.weight, self.module.project.weight)
        shape = (saliency.shape[0], 1, 1, *saliency.shape[3:])
        return self._node("TemporalFusion", (saliency, *weights), shape=shape)


class _NonLocalNode(_OneNode):
    module: NonLocal
    scale: Tensor

    def __init__(self, module: NonLocal) -> None:
        super().__init__(module)
        self.register_buffer("scale", torch.tensor([module.scale]))

    def forward(self, x: Tensor) -> Tensor:
        convs = (self.module.theta, self.module.phi, self.module.g, self.module.out.conv)
        weights = [tensor for conv in convs for tensor in (conv.weight, cast("Tensor", conv.bias))]
        grid = (0, 0, *x.shape[2:])
        return self._node("NonLocal", (x, *weights, self.scale), shape=x.shape, attributes={"grid": grid})


_NODES: Final[Mapping[type[nn.Module], Any]] = {
    SaliencyMiner: _MinerNode,
    FeaturePreserver: _PreserverNode,
    TemporalFusion: _FusionNode,
    NonLocal: _NonLocalNode,
}


def _pads(conv: nn.Conv3d) -> tuple[int, ...]:
    """Padding as ONNX has it: the beginnings of all axes, then their ends; a causal one has no end in time."""
    pads = cast("tuple[int, ...]", conv.padding)
    past = conv.past.taps - 1 if isinstance(conv, CausalConv3d) else pads[0]
    return (past, *pads[1:], *pads)


class InlineCustomOps(ir.passes.InPlacePass):
    """Puts the body of every function in the file in place of its nodes.

    A node of a body is named after the node that it stands for: ``convs.0/Conv`` of
    ``saliency.preservers.0/FeaturePreserving`` becomes ``saliency.preservers.0.convs.0/Conv``.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Inlines; the result holds standard operators only, as far as the bodies do."""
        self._mark(model)
        result = InlinePass()(model)
        for node in model.graph:
            site, inner = node.metadata_props.pop(_SITE, None), node.metadata_props.pop(_INNER, None)
            if inner is not None:
                _rename(node, f"{site}.{inner}" if "/" in inner else f"{site}/{inner}")
        model.graph.opset_imports.pop(DOMAIN, None)
        return ir.passes.PassResult(model, result.modified)

    @staticmethod
    def _mark(model: ir.Model) -> None:
        for node in model.graph:
            if node.domain == DOMAIN:
                node.metadata_props[_SITE] = (node.name or "").rpartition("/")[0]
        for body in model.functions.values():
            for node in body if body.domain == DOMAIN else ():
                node.metadata_props[_INNER] = node.name or node.op_type


def _rename(node: ir.Node, name: str) -> None:
    node.name = name
    if len(node.outputs) == 1 and not node.outputs[0].is_graph_output():
        node.outputs[0].name = name

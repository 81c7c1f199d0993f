"""Layers of a causal network as what they do to the frames of one step, in 4-D tensors.

Each takes [hop · N, C, H, W], the frames of all streams one after the other, and the tape of the step.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2tf_edge.errors import UsageError
from s2tf_edge.models.blocks import ConvNorm, Residual
from s2tf_edge.models.saliency import FeaturePreserver, MiningBlock, SaliencyMiner, SaliencyPath
from s2tf_edge.models.step.tape import Tape, join
from s2tf_edge.models.x3d import Depthwise, SqueezeExcitation, X3DHead, X3DStem

__all__ = ["FEATURES", "MAPS", "HeadStep", "SaliencyStep", "flatten"]

FEATURES: Final = "features"
"""State of the head."""
MAPS: Final = "maps"
"""State of the saliency fusion."""


class _ConvStep(nn.Module):
    """A convolution of each frame, or of a causal kernel's frames side by side."""

    def __init__(self, conv: nn.Conv3d, name: str) -> None:
        super().__init__()
        self.name = name
        taps, weight = conv.kernel_size[0], conv.weight.detach()
        self.is_depthwise = taps > 1 and conv.groups == conv.in_channels
        if taps > 1 and conv.groups not in {1, conv.in_channels}:
            msg = f"{name} has {conv.groups} groups; a step takes dense and depthwise temporal kernels"
            raise UsageError(msg)
        parts = list(weight.unbind(2)) if self.is_depthwise else [weight.transpose(1, 2).flatten(1, 2)]
        groups = conv.groups if taps == 1 or self.is_depthwise else 1
        self.convs = nn.ModuleList(_conv2d(conv, part, groups=groups) for part in parts)
        if conv.bias is not None:
            cast("nn.Conv2d", self.convs[-1]).bias = nn.Parameter(conv.bias.detach().clone())
        self.taps = taps

    def forward(self, x: Tensor, tape: Tape) -> Tensor:
        """Maps [N, C, H, W] to [N, Co, H', W']."""
        if self.taps == 1:
            return cast("Tensor", self.convs[0](x))
        slices, hop = tape.turn(self.name, x), tape.hop
        if self.is_depthwise:
            results = [conv(join(slices[tap : tap + hop])) for tap, conv in enumerate(self.convs)]
            return cast("Tensor", functools.reduce(torch.add, results))
        seen = [torch.cat(slices[frame : frame + self.taps], dim=1) for frame in range(hop)]
        return cast("Tensor", self.convs[0](join(seen)))


def _conv2d(conv: nn.Conv3d, weight: Tensor, *, groups: int) -> nn.Conv2d:
    outputs, inputs, *kernel = weight.shape
    stride, padding = conv.stride[1:], cast("tuple[int, ...]", conv.padding)[1:]
    flat = nn.Conv2d(
        inputs * groups,
        outputs,
        cast("Any", kernel),
        cast("Any", stride),
        cast("Any", padding),
        groups=groups,
        bias=False,
    )
    flat.weight = nn.Parameter(weight.clone())
    return flat


class _ChainStep(nn.Module):
    """One layer after the other, and what follows the last."""

    def __init__(self, *layers: nn.Module, relu: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.relu = relu

    def forward(self, x: Tensor, tape: Tape) -> Tensor:
        """Maps [N, C, H, W] to what the last layer gives."""
        for layer in self.layers:
            x = layer(x, tape)
        return functional.relu(x) if self.relu else x


class _ResidualStep(nn.Module):
    def __init__(self, block: Residual, name: str) -> None:
        super().__init__()
        self.branch = flatten(block.branch, f"{name}.branch")
        self.shortcut = flatten(block.shortcut, f"{name}.shortcut")

    def forward(self, x: Tensor, tape: Tape) -> Tensor:
        return functional.relu(self.branch(x, tape) + self.shortcut(x, tape))


class _DepthwiseStep(nn.Module):
    def __init__(self, layer: Depthwise, name: str) -> None:
        super().__init__()
        self.conv = flatten(layer.conv, f"{name}.conv")
        self.squeeze = flatten(layer.squeeze, f"{name}.squeeze")

    def forward(self, x: Tensor, tape: Tape) -> Tensor:
        return functional.silu(self.squeeze(self.conv(x, tape), tape))


class _SqueezeStep(nn.Module):
    def __init__(self, layer: SqueezeExcitation, name: str) -> None:
        super().__init__()
        self.fc1, self.fc2 = _ConvStep(layer.fc1, f"{name}.fc1"), _ConvStep(layer.fc2, f"{name}.fc2")

    def forward(self, x: Tensor, tape: Tape) -> Tensor:
        squeezed = functional.relu(self.fc1(x.mean((2, 3), keepdim=True), tape))
        return x * torch.sigmoid(self.fc2(squeezed, tape))


class _MiningStep(nn.Module):
    def __init__(self, block: MiningBlock, name: str) -> None:
        super().__init__()
        names = ("reduce", "spatial", "temporal", "expand")
        self.convs = nn.ModuleList(_ConvStep(getattr(block, each), f"{name}.{each}") for each in names)

    def forward(self, x: Tensor, tape: Tape) -> Tensor:
        *hidden, expand = self.convs
        branch = x
        for conv in hidden:
            branch = functional.relu(conv(branch, tape))
        return functional.relu(x + expand(branch, tape))


class _MinerStep(nn.Module):
    def __init__(self, miner: SaliencyMiner, name: str) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            _MiningStep(cast("MiningBlock", block), f"{name}.blocks.{index}")
            for index, block in enumerate(miner.blocks)
        )
        self.project = _ConvStep(miner.project, f"{name}.project")

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor, tape: Tape) -> Tensor:
        for block in self.blocks:
            x = block(x, tape)
        return torch.sigmoid(functional.relu(self.project(x, tape)) * scale + shift)


class _PreserverStep(nn.Module):
    def __init__(self, preserver: FeaturePreserver) -> None:
        super().__init__()
        self.convs = nn.ModuleList(_conv2d(conv, conv.weight.detach()[:, :, 0], groups=1) for conv in _convs(preserver))

    def forward(self, x: Tensor) -> Tensor:
        *hidden, last = self.convs
        for conv in hidden:
            x = functional.relu(conv(x))
        return torch.sigmoid(last(x))


class SaliencyStep(nn.Module):
    """The mask [N, 1, H4, W4] of the frames' feature maps, and of maps of those before."""

    scale: Tensor
    shift: Tensor

    def __init__(self, path: SaliencyPath) -> None:
        super().__init__()
        self.miners = nn.ModuleList(
            _MinerStep(cast("SaliencyMiner", miner), f"saliency.miners.{index}")
            for index, miner in enumerate(path.miners)
        )
        self.preservers = nn.ModuleList(_PreserverStep(cast("FeaturePreserver", each)) for each in path.preservers)
        norm = path.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.register_buffer("scale", scale.detach().clone())
        self.register_buffer("shift", (norm.bias - norm.running_mean * scale).detach().clone())
        self.fusion = nn.ModuleList(
            _conv2d(conv, conv.weight.detach()[:, :, 0], groups=1) for conv in (path.fusion.reduce, path.fusion.project)
        )

    def forward(self, maps: Sequence[Tensor], tape: Tape) -> Tensor:
        """The mask after feature maps F1, F2 and F3, each [hop · N, C, H, W]."""
        current, *later = [miner(x, self.scale, self.shift, tape) for miner, x in zip(self.miners, maps, strict=True)]
        edge_input = current
        for index, after in enumerate(later):
            preserved = _average_pool(current)
            if self.preservers:
                preserved = preserved * self.preservers[index](edge_input)
            current, edge_input = (preserved + after) / 2, preserved
        reduce, project = self.fusion
        window = torch.cat(tape.turn(MAPS, _average_pool(current)), dim=1)
        mask: Tensor = project(functional.relu(reduce(window)))
        return mask


class HeadStep(nn.Module):
    """X3D's head over the last frames, of each of which the wide features are kept without their bias."""

    bias: Tensor

    def __init__(self, head: X3DHead) -> None:
        super().__init__()
        conv = head.conv5.conv
        self.widen = _conv2d(conv, conv.weight.detach()[:, :, 0], groups=1)
        assert conv.bias is not None
        self.register_buffer("bias", conv.bias.detach().clone()[:, None, None])
        self.hidden = _conv2d(head.lin5, head.lin5.weight.detach()[:, :, 0], groups=1)
        self.fc = copy.deepcopy(head.fc)

    def forward(self, x: Tensor, mask: Tensor | None, tape: Tape) -> Tensor:
        """Logits [N, K] after feature maps F4, [hop · N, C, H, W]."""
        window = tape.turn(FEATURES, self.widen(x))
        weighed = window if mask is None else [mask * each for each in window]
        frames = [functional.relu(each + self.bias) for each in weighed]
        pooled = functools.reduce(torch.add, frames).mean((2, 3), keepdim=True) / len(frames)
        logits: Tensor = self.fc(functional.relu(self.hidden(pooled)).flatten(1))
        return logits


@functools.singledispatch
def flatten(layer: nn.Module, name: str) -> nn.Module:
    """A layer as what it does to one frame; called with that and a tape."""
    msg = f"{name} is a {type(layer).__name__}, which has no step"
    raise UsageError(msg)


@flatten.register
def _(layer: nn.Identity, name: str) -> nn.Module:
    del layer, name
    return _ChainStep()


@flatten.register
def _(layer: nn.Conv3d, name: str) -> nn.Module:
    return _ConvStep(layer, name)


@flatten.register
def _(layer: ConvNorm, name: str) -> nn.Module:
    return _ChainStep(flatten(layer.conv, f"{name}.conv"), flatten(layer.norm, f"{name}.norm"), relu=layer.relu)


@flatten.register
def _(layer: Depthwise, name: str) -> nn.Module:
    return _DepthwiseStep(layer, name)


@flatten.register
def _(layer: SqueezeExcitation, name: str) -> nn.Module:
    return _SqueezeStep(layer, name)


@flatten.register
def _(layer: Residual, name: str) -> nn.Module:
    return _ResidualStep(layer, name)


@flatten.register
def _(layer: nn.Sequential, name: str) -> nn.Module:
    return _ChainStep(*(flatten(child, f"{name}.{key}") for key, child in layer.named_children()))


@flatten.register
def _(layer: X3DStem, name: str) -> nn.Module:
    return _ChainStep(flatten(layer.spatial, f"{name}.spatial"), flatten(layer.temporal, f"{name}.temporal"))


def _convs(preserver: FeaturePreserver) -> list[nn.Conv3d]:
    return [cast("nn.Conv3d", conv) for conv in preserver.convs]


def _average_pool(x: Tensor) -> Tensor:
    """Means over 2 × 2 values; where a size is odd, the last mean is over what is there."""
    kernel = (min(2, x.shape[2]), min(2, x.shape[3]))
    ragged = any(size % side for size, side in zip(x.shape[2:], kernel, strict=True))
    return functional.avg_pool2d(x, kernel, ceil_mode=ragged, count_include_pad=False)

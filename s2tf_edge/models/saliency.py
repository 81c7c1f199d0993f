"""The saliency modules of S2TF-Net (Liu et al., Signal Processing: Image Communication 138:117381, 2025).

    F1                F2                F3
    │ SSF             │ SSF             │ SSF
    S1 ── TSFP ─ P1 ─ S2 ── TSFP ─ P2 ─ S3 ── average pool ── temporal fusion ── mask [N, 1, 1, H4, W4]

The paper interleaves the frames of a pooled map and the next saliency map, ``P_0, S_0, P_1, S_1, …``, and pools over
pairs. Two identities make that the same as work frame by frame, and are used here for training and inference alike:

- Averaging 2r interleaved frames is averaging ``(P + S) / 2`` over r frames. No frame is ever moved.
- The edge branch has a kernel of one frame and the pooling's stride, so of the interleaved frames it keeps only those
  of P, and of those every r-th: it runs on them alone.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2tf_edge.errors import UsageError
from s2tf_edge.models.blocks import StageShape, halved, make_conv
from s2tf_edge.models.causal import LastFrames

__all__ = ["FeaturePreserver", "Saliency", "SaliencyMiner", "SaliencyPath", "TemporalFusion", "average_pool"]

_TYPICAL_SALIENCY: Final = 0.5
"""A saliency or edge value of a network that has learnt nothing: the sigmoid of zero."""

_EDGE_LAYERS: Final = (
    (1, 16, 9, 1),
    (16, 32, 7, 1),
    (32, 64, 3, 1),
    (64, 32, 1, 1),
    (32, 16, 5, 1),
    (16, 4, 3, 2),
    (4, 1, 1, 1),
)
"""Inputs, outputs, kernel and stride in space of the edge branch's convolutions."""


class Saliency(NamedTuple):
    """What the saliency modules found."""

    mask: Tensor
    """Weights of the last feature map, [N, 1, 1, H4, W4], one for all channels and frames; about 1 in a new network."""
    pooled: tuple[Tensor, ...]
    """P1 [N, 1, T2, H2, W2] and P2 [N, 1, T3, H3, W3], each in [0, 1]."""
    edges: tuple[Tensor, ...]
    """E1 and E2, of the shapes of P1 and P2, each in (0, 1); empty without TSFP."""


class MiningBlock(nn.Module):
    """Residual bottleneck without norms: 1×1×1 to half the channels, 1×3×3, 3×1×1 and 1×1×1 back."""

    def __init__(self, channels: int, *, causal: bool = False) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.reduce = nn.Conv3d(channels, inner, 1, bias=False)
        self.spatial = nn.Conv3d(inner, inner, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.temporal = make_conv(inner, inner, kernel=(3, 1, 1), causal=causal)
        self.expand = nn.Conv3d(inner, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape [N, C, T, H, W]."""
        branch = x
        for conv in (self.reduce, self.spatial, self.temporal):
            branch = functional.relu(conv(branch))
        return functional.relu(x + self.expand(branch))


class SaliencyMiner(nn.Module):
    """SSF-Module: what is salient in one stage's feature map."""

    def __init__(self, channels: int, *, causal: bool = False) -> None:
        super().__init__()
        self.blocks = nn.Sequential(MiningBlock(channels, causal=causal), MiningBlock(channels, causal=causal))
        self.project = nn.Conv3d(channels, 1, 1, bias=False)
        # Its input is never negative: weights of both signs would leave the ReLU dead for about every second seed.
        nn.init.uniform_(self.project.weight, 0, 2 / channels)

    def forward(self, features: Tensor, norm: nn.Module) -> Tensor:
        """Maps [N, C, T, H, W] to [N, 1, T, H, W], in (0, 1); ``norm`` is the batch norm that all miners share."""
        return torch.sigmoid(norm(functional.relu(self.project(self.blocks(features)))))


class FeaturePreserver(nn.Module):
    """TSFP-Module: pooling that is weighed by an edge map, so that small salient regions survive it."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv3d(inputs, outputs, (1, side, side), (1, step, step), (0, side // 2, side // 2), bias=False)
            for inputs, outputs, side, step in _EDGE_LAYERS
        )

    def forward(self, pooled: Tensor, edge_input: Tensor) -> tuple[Tensor, Tensor]:
        """Weighs a pooled saliency map by the edges of what was pooled.

        Args:
            pooled: [N, 1, T, ⌈H / 2⌉, ⌈W / 2⌉].
            edge_input: [N, 1, T, H, W]; the frames that the edge branch sees.

        Returns:
            The product and the edge map, in (0, 1), both of the shape of ``pooled``.
        """
        edges = self.find_edges(edge_input)
        return pooled * edges, edges

    def find_edges(self, x: Tensor) -> Tensor:
        """The edge map [N, 1, T, ⌈H / 2⌉, ⌈W / 2⌉] of a saliency map [N, 1, T, H, W], frame by frame."""
        *hidden, last = self.convs
        for conv in hidden:
            x = functional.relu(conv(x))
        return torch.sigmoid(last(x))


class TemporalFusion(nn.Module):
    """Makes one spatial mask of a saliency map, whose frames it takes as channels."""

    def __init__(self, frames: int, *, typical: float) -> None:
        super().__init__()
        inner = max(1, frames // 2)
        self.reduce = nn.Conv3d(frames, inner, 1, bias=False)
        self.project = nn.Conv3d(inner, 1, 1, bias=False)
        self._init_near_one(typical)

    @torch.no_grad()
    def _init_near_one(self, typical: float) -> None:
        """Positive weights that make a map of ``typical`` values a mask of ones.

        There is no bias and the input is positive: with weights of both signs the mask may be zero everywhere, for
        ever.
        """
        for conv, total in ((self.reduce, 1.0), (self.project, 1 / typical)):
            weight = conv.weight
            weight.uniform_(0.5, 1.5)
            weight.mul_(total / weight.sum(1, keepdim=True))

    def forward(self, saliency: Tensor) -> Tensor:
        """Maps [N, 1, T, H, W] to the mask [N, 1, 1, H, W]."""
        mask: Tensor = self.project(functional.relu(self.reduce(saliency.transpose(1, 2))))
        return mask


class SaliencyPath(nn.Module):
    """From the feature maps F1, F2 and F3 to the mask for F4; a causal one fuses the last frames that it was built for.

    Raises:
        UsageError: a stage's frames or size are not what strides make of the stage before.
    """

    def __init__(self, shapes: tuple[StageShape, ...], *, tsfp: bool, causal: bool = False) -> None:
        super().__init__()
        self.strides = [_temporal_stride(shape, after) for shape, after in itertools.pairwise(shapes)]
        self.miners = nn.ModuleList(SaliencyMiner(shape.channels, causal=causal) for shape in shapes[:3])
        # One norm for all three maps, as in the published checkpoints.
        self.norm = nn.BatchNorm3d(1)
        self.preservers = nn.ModuleList(FeaturePreserver() for _ in shapes[1:3] if tsfp)
        self.window: nn.Module = LastFrames(shapes[3].frames) if causal else nn.Identity()
        self.fusion = TemporalFusion(shapes[3].frames, typical=_typical_last_map(tsfp=tsfp))

    def forward(self, features: Sequence[Tensor]) -> Saliency:
        """The mask, and what the loss wants to know, of the feature maps F1, F2 and F3."""
        current, *later = [miner(x, self.norm) for miner, x in zip(self.miners, features, strict=True)]
        edge_input, pooled, edges = current, [], []
        for index, after in enumerate(later):
            stride = self.strides[index]
            preserved = average_pool(current, stride=stride)
            if self.preservers:
                preserved, edge = self.preservers[index](preserved, edge_input[:, :, ::stride])
                edges.append(edge)
            pooled.append(preserved)
            current, edge_input = (preserved + after) / 2, preserved
        mask = self.fusion(self.window(average_pool(current, stride=self.strides[2])))
        return Saliency(mask, tuple(pooled), tuple(edges))


def average_pool(x: Tensor, *, stride: int) -> Tensor:
    """Means over ``stride`` frames and 2 × 2 values; where a size is odd, the last mean is over what is there."""
    kernel = (stride, min(2, x.shape[3]), min(2, x.shape[4]))
    ragged = any(size % side for size, side in zip(x.shape[2:], kernel, strict=True))
    return functional.avg_pool3d(x, kernel, ceil_mode=ragged, count_include_pad=False)


def _temporal_stride(shape: StageShape, after: StageShape) -> int:
    stride = math.ceil(shape.frames / after.frames)
    if math.ceil(shape.frames / stride) != after.frames or halved(shape.size) != after.size:
        got = f"{shape.frames} × {shape.size}² to {after.frames} × {after.size}²"
        rule = "saliency needs stages that divide frames by a whole number and halve sizes, both rounded up"
        msg = f"{rule}, got {got}; choose other frames or size"
        raise UsageError(msg)
    return stride


def _typical_last_map(*, tsfp: bool) -> float:
    """The mean of the map that fusion gets from a network that has learnt nothing."""
    edge = _TYPICAL_SALIENCY if tsfp else 1.0
    current = _TYPICAL_SALIENCY
    for _ in range(2):
        current = (current * edge + _TYPICAL_SALIENCY) / 2
    return current

"""Inflated 3D ResNets as SlowFast has them: I3D, plain and with non-local blocks, and Slow.

Carreira and Zisserman, "Quo Vadis, Action Recognition?", 2017; Wang et al., "Non-local Neural Networks", 2018;
Feichtenhofer et al., "SlowFast Networks for Video Recognition", 2019. I3D for 8 frames of 224 × 224 (C is 64 times
``width``):

    conv 5×7×7 / (1, 2, 2)                C   × 8 × 112 × 112
    max-pool 1×3×3 / (1, 2, 2)            C   × 8 ×  56 ×  56
    stages[0], max-pool 2×1×1             4C  × 4 ×  56 ×  56
    stages[1] / (1, 2, 2)                 8C  × 4 ×  28 ×  28     non-local after blocks 1 and 3
    stages[2] / (1, 2, 2)                 16C × 4 ×  14 ×  14     non-local after blocks 1, 3 and 5
    stages[3] / (1, 2, 2)                 32C × 4 ×   7 ×   7
    average, dropout, linear

MMAction2's I3D begins with a quarter of the frames: its stem's convolution and pooling have strides of 2 in time, so
that 32 frames become the 8 above. Slow keeps all frames (its stem is 1×7×7, and nothing pools in time) and looks across
them in the last two stages only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor, nn

from s2tf_edge.errors import UsageError
from s2tf_edge.models.blocks import (
    Backbone,
    BackboneOptions,
    ConvNorm,
    PooledHead,
    Residual,
    StageShape,
    halved,
    init_convolutions,
    stage_sizes,
    start_as_shortcuts,
)
from s2tf_edge.models.registry import register
from s2tf_edge.spec import ClipSpec

__all__ = ["InflatedResNet", "Layout", "NonLocal"]

_BLOCKS: Final = {"r50": (3, 4, 6, 3), "r101": (3, 4, 23, 3)}
"""Residual blocks in each stage, by variant."""

_NON_LOCAL_AFTER: Final[tuple[tuple[int, ...], ...]] = ((), (1, 3), (1, 3, 5), ())
"""Blocks of each stage that a non-local block follows."""

_MIN_NON_LOCAL_SIZE: Final = 2


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What tells the families of this module apart."""

    stem_frames: int
    """Frames that the stem's kernel spans."""
    block_frames: tuple[tuple[int, ...], ...]
    """Frames that the first convolution of a stage's blocks spans, repeated over the blocks."""
    pools_time: bool
    """Whether pairs of frames become one after the first stage."""
    non_local: bool
    stem_strides: tuple[int, int] = (1, 1)
    """Strides in time of the stem's convolution and of its pooling."""

    @property
    def min_frames(self) -> int:
        """The least frames of a clip of which two are left to pool, where pairs are pooled."""
        return math.prod(self.stem_strides) + 1 if self.pools_time else 1

    def frames_after_stem(self, frames: int) -> int:
        """What the stem makes of a clip's frames."""
        for stride in self.stem_strides:
            frames = math.ceil(frames / stride)
        return frames


_I3D: Final = Layout(stem_frames=5, block_frames=((3, 3, 3), (3, 1), (3, 1), (1, 3)), pools_time=True, non_local=False)
_NL_I3D: Final = replace(_I3D, non_local=True)
_MM_I3D: Final = replace(_I3D, stem_strides=(2, 2))
_SLOW: Final = Layout(stem_frames=1, block_frames=((1,), (1,), (3,), (3,)), pools_time=False, non_local=False)

_RECIPE: Final = ClipSpec(frames=8, stride=8, fps=30.0, size=224, resize_short_side=256)
"""Kinetics as SlowFast samples it: 8 frames, every 8th of 30 a second."""
_MM_RECIPE: Final = ClipSpec(
    frames=32,
    stride=2,
    fps=30.0,
    size=224,
    resize_short_side=256,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""Kinetics as MMAction2 samples it for I3D: 32 frames, every 2nd of 30 a second; normalized as ImageNet is."""


class NonLocal(nn.Module):
    """Non-local block, embedded Gaussian: each position attends to all others, keys and values pooled 1×2×2.

    ``x + norm(out(softmax(θ(x)ᵀ φ(x) / √C') g(x)))`` with C' = C / 2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.theta = nn.Conv3d(channels, inner, 1)
        self.phi = nn.Conv3d(channels, inner, 1)
        self.g = nn.Conv3d(channels, inner, 1)
        self.pool = nn.MaxPool3d((1, 2, 2))
        self.out = ConvNorm(inner, channels, kernel=(1, 1, 1), relu=False, bias=True)
        self.scale = 1 / math.sqrt(inner)
        # As published, and as in residual branches: the block begins as the identity.
        if isinstance(self.out.norm, nn.BatchNorm3d):
            nn.init.zeros_(self.out.norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape [N, C, T, H, W]; H and W are 2 or more."""
        pooled = self.pool(x)
        query, key, value = (y.flatten(2) for y in (self.theta(x) * self.scale, self.phi(pooled), self.g(pooled)))
        attention = torch.softmax(query.transpose(1, 2) @ key, dim=2)
        attended = (value @ attention.transpose(1, 2)).unflatten(2, x.shape[2:])
        out: Tensor = x + self.out(attended)
        return out


class InflatedResNet(Backbone):
    """The network of the module's table.

    Raises:
        UsageError: the clip has one frame only where pairs are pooled, or is too small for the pooling of a non-local
            block.
    """

    def __init__(
        self, variant: str, *, layout: Layout, options: BackboneOptions, frames: int, size: int, num_classes: int
    ) -> None:
        super().__init__()
        sizes = stage_sizes(halved(halved(size)))
        _check_clip(layout, frames, sizes[2])
        frames = layout.frames_after_stem(frames)
        conv_step, pool_step = layout.stem_strides
        channels = options.scaled(64)
        outputs = [4 * channels * 2**stage for stage in range(4)]
        self.stem = nn.Sequential(
            ConvNorm(3, channels, kernel=(layout.stem_frames, 7, 7), stride=(conv_step, 2, 2)),
            nn.MaxPool3d((1, 3, 3), stride=(pool_step, 2, 2), padding=(0, 1, 1)),
        )
        self.stages = nn.ModuleList(
            _stage(stage, inputs, outputs[stage], blocks=_BLOCKS[variant][stage], layout=layout)
            for stage, inputs in enumerate([channels, *outputs[:3]])
        )
        if layout.pools_time:
            self.stages[0].add_module("pool", nn.MaxPool3d((2, 1, 1)))
            frames //= 2
        first, second, third, fourth = (
            StageShape(width, frames, side) for width, side in zip(outputs, sizes, strict=True)
        )
        self.shapes = (first, second, third, fourth)
        init_convolutions(self)
        start_as_shortcuts(self)
        self.head = PooledHead(outputs[3], num_classes, dropout=options.dropout)


@register("nl_i3d", recipes=dict.fromkeys(_BLOCKS, _RECIPE), options=BackboneOptions)
def build_nl_i3d(variant: str, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> Backbone:
    """The I3D ``variant`` with non-local blocks."""
    return InflatedResNet(variant, layout=_NL_I3D, options=options, frames=frames, size=size, num_classes=num_classes)


@register("i3d", recipes=dict.fromkeys(_BLOCKS, _RECIPE), options=BackboneOptions)
def build_i3d(variant: str, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> Backbone:
    """The I3D ``variant`` without non-local blocks."""
    return InflatedResNet(variant, layout=_I3D, options=options, frames=frames, size=size, num_classes=num_classes)


@register("mm_i3d", recipes=dict.fromkeys(_BLOCKS, _MM_RECIPE), options=BackboneOptions)
def build_mm_i3d(variant: str, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> Backbone:
    """The I3D ``variant`` of MMAction2, whose stem leaves a quarter of the frames."""
    return InflatedResNet(variant, layout=_MM_I3D, options=options, frames=frames, size=size, num_classes=num_classes)


@register("slow", recipes=dict.fromkeys(_BLOCKS, _RECIPE), options=BackboneOptions)
def build_slow(variant: str, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> Backbone:
    """The Slow pathway of SlowFast alone, of depth ``variant``."""
    return InflatedResNet(variant, layout=_SLOW, options=options, frames=frames, size=size, num_classes=num_classes)


def _stage(stage: int, inputs: int, outputs: int, *, blocks: int, layout: Layout) -> nn.Sequential:
    kernels = layout.block_frames[stage]
    modules = nn.Sequential()
    for index in range(blocks):
        stride = 2 if stage and not index else 1
        block = _block(inputs, outputs, frames=kernels[index % len(kernels)], stride=stride)
        modules.add_module(f"res{index}", block)
        if layout.non_local and index in _NON_LOCAL_AFTER[stage]:
            modules.add_module(f"nonlocal{index}", NonLocal(outputs))
        inputs = outputs
    return modules


def _block(inputs: int, outputs: int, *, frames: int, stride: int) -> Residual:
    inner = outputs // 4
    strides = (1, stride, stride)
    same = inputs == outputs and stride == 1
    return Residual(
        ConvNorm(inputs, inner, kernel=(frames, 1, 1)),
        ConvNorm(inner, inner, kernel=(1, 3, 3), stride=strides),
        ConvNorm(inner, outputs, kernel=(1, 1, 1), relu=False),
        shortcut=nn.Identity() if same else ConvNorm(inputs, outputs, kernel=(1, 1, 1), stride=strides, relu=False),
    )


def _check_clip(layout: Layout, frames: int, third_size: int) -> None:
    if frames < layout.min_frames:
        msg = f"I3D halves the frames after its first stage and needs {layout.min_frames} or more, got {frames}"
        raise UsageError(msg)
    if layout.non_local and third_size < _MIN_NON_LOCAL_SIZE:
        msg = "non-local blocks pool 2 × 2 in the third stage, which needs clips of 17 × 17 pixels or more"
        raise UsageError(msg)

"""P3D (Qiu, Yao and Mei, "Learning Spatio-Temporal Representation with Pseudo-3D Residual Networks", 2017).

A 3×3×3 convolution is split into one in space (S, 1×3×3) and one in time (T, 3×1×1), each followed by ReLU, joined in
three ways that take turns from block to block:

    A  x → S → T            B  x ─┬→ S ─┐            C  x → S ─┬──────┐
                                  └→ T ─⊕                      └→ T ──⊕

For 16 frames of 160 × 160 (C is 64 times ``width``):

    conv 1×7×7 / (1, 2, 2)                     C   × 16 × 80 × 80
    max-pool 2×3×3 / 2                         C   ×  8 × 40 × 40
    stages[0], max-pool 2×1×1                  4C  ×  4 × 40 × 40
    stages[1] / (1, 2, 2), max-pool 2×1×1      8C  ×  2 × 20 × 20
    stages[2] / (1, 2, 2), max-pool 2×1×1      16C ×  1 × 10 × 10
    stages[3] / (1, 2, 2), frame by frame      32C ×  1 ×  5 ×  5
    average, dropout, linear
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Final

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
)
from s2tf_edge.models.registry import register
from s2tf_edge.spec import ClipSpec

__all__ = ["P3D", "Pseudo3D"]

_BLOCKS: Final = {63: (3, 4, 6, 3), 131: (3, 4, 23, 3), 199: (3, 8, 36, 3)}
"""Residual blocks in each stage, by depth."""

_MIN_FRAMES: Final = 16
"""Frames are halved four times."""

_RECIPE: Final = ClipSpec(
    frames=16, size=160, resize_short_side=182, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
)
"""16 consecutive frames; mean and standard deviation of ImageNet, as pseudo-3d-pytorch has them."""


class Pseudo3D(nn.Module):
    """The pair of convolutions that stands for a 3×3×3 one, joined as ``kind`` says: A, B or C."""

    def __init__(self, channels: int, *, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.spatial = ConvNorm(channels, channels, kernel=(1, 3, 3))
        self.temporal = ConvNorm(channels, channels, kernel=(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape [N, C, T, H, W]."""
        spatial: Tensor = self.spatial(x)
        temporal: Tensor = self.temporal(x if self.kind == "B" else spatial)
        return temporal if self.kind == "A" else spatial + temporal


class P3D(Backbone):
    """The network of the module's table, for clips of 16 frames or more and any size.

    The published code takes 16 to 31 frames; where more than one frame reaches the last stage, each is convolved by
    itself and the head averages over them.

    Raises:
        UsageError: the clip has fewer frames.
    """

    def __init__(self, depth: int, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> None:
        super().__init__()
        if frames < _MIN_FRAMES:
            msg = f"P3D halves the frames four times and needs {_MIN_FRAMES} or more, got {frames}"
            raise UsageError(msg)
        channels = options.scaled(64)
        outputs = [4 * channels * 2**stage for stage in range(4)]
        self.stem = nn.Sequential(
            ConvNorm(3, channels, kernel=(1, 7, 7), stride=(1, 2, 2)),
            nn.MaxPool3d((2, 3, 3), stride=2, padding=(0, 1, 1)),
        )
        kinds = cycle("ABC")
        self.stages = nn.ModuleList(
            _stage(stage, inputs, outputs[stage], blocks=_BLOCKS[depth][stage], kinds=kinds)
            for stage, inputs in enumerate([channels, *outputs[:3]])
        )
        times = [frames // 4, frames // 8, frames // 16, frames // 16]
        sizes = zip(outputs, times, stage_sizes(halved(halved(size))), strict=True)
        first, second, third, fourth = (StageShape(*shape) for shape in sizes)
        self.shapes = (first, second, third, fourth)
        init_convolutions(self)
        self.head = PooledHead(outputs[3], num_classes, dropout=options.dropout)


@register("p3d", recipes={str(depth): _RECIPE for depth in _BLOCKS}, options=BackboneOptions)
def build(variant: str, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> Backbone:
    """The P3D of depth ``variant``."""
    return P3D(int(variant), options=options, frames=frames, size=size, num_classes=num_classes)


def _stage(stage: int, inputs: int, outputs: int, *, blocks: int, kinds: Iterator[str]) -> nn.Sequential:
    modules = nn.Sequential()
    inner = outputs // 4
    for index in range(blocks):
        stride = 2 if stage and not index else 1
        middle = ConvNorm(inner, inner, kernel=(1, 3, 3)) if stage == 3 else Pseudo3D(inner, kind=next(kinds))
        modules.append(_block(inputs, outputs, middle=middle, stride=stride))
        inputs = outputs
    if stage < 3:
        modules.add_module("pool", nn.MaxPool3d((2, 1, 1)))
    return modules


def _block(inputs: int, outputs: int, *, middle: nn.Module, stride: int) -> Residual:
    inner, strides = outputs // 4, (1, stride, stride)
    same = inputs == outputs and stride == 1
    return Residual(
        ConvNorm(inputs, inner, kernel=(1, 1, 1), stride=strides),
        middle,
        ConvNorm(inner, outputs, kernel=(1, 1, 1), relu=False),
        shortcut=nn.Identity() if same else ConvNorm(inputs, outputs, kernel=(1, 1, 1), stride=strides, relu=False),
    )

"""3D ResNet (Hara, Kataoka and Satoh, "Can Spatiotemporal 3D CNNs Retrace the History of 2D CNNs and ImageNet?", 2018).

For 16 frames of 112 × 112 (C is 64 times ``width``; bottlenecks, from depth 50 on, give 4 C):

    conv1 7×7×7 / (1, 2, 2)   C  × 16 × 56 × 56
    max-pool 3×3×3 / 2        C  ×  8 × 28 × 28
    stages[0] / 1             C  ×  8 × 28 × 28
    stages[1] / 2             2C ×  4 × 14 × 14
    stages[2] / 2             4C ×  2 ×  7 ×  7
    stages[3] / 2             8C ×  1 ×  4 ×  4
    average, linear
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

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

__all__ = ["ResNet3D", "ResNet3DOptions"]

_BLOCKS: Final = {
    10: (1, 1, 1, 1),
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}
"""Residual blocks in each stage, by depth."""

_BOTTLENECK_FROM: Final = 50
_EXPANSION: Final = 4

_RECIPE: Final = ClipSpec(
    frames=16,
    size=112,
    resize_short_side=128,
    mean=(0.4345, 0.4051, 0.3775),
    std=(0.2768, 0.2713, 0.2737),
)
"""16 consecutive frames; mean and standard deviation of Kinetics as 3D-ResNets-PyTorch has them."""


@dataclass(frozen=True, kw_only=True)
class ResNet3DOptions(BackboneOptions):
    """Options of a 3D ResNet.

    Raises:
        UsageError: a value is out of its range.
    """

    shortcut: str = "B"
    """How a shortcut changes shape: A subsamples and pads channels with zeros, B is a strided convolution."""
    conv1_t_size: int = 7
    """Frames that the stem's kernel spans."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shortcut not in {"A", "B"}:
            msg = f"shortcut must be A or B, got {self.shortcut!r}"
            raise UsageError(msg)
        if self.conv1_t_size not in range(1, 16, 2):
            msg = f"conv1_t_size must be an odd number from 1 to 15, got {self.conv1_t_size}"
            raise UsageError(msg)


class PaddedShortcut(nn.Module):
    """Shortcut of type A: every ``stride``-th value in time, height and width, and channels of zeros behind."""

    def __init__(self, missing: int, *, stride: int) -> None:
        super().__init__()
        self.missing = missing
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, C, T, H, W] to [N, C + missing, ⌈T / stride⌉, ⌈H / stride⌉, ⌈W / stride⌉]."""
        step = self.stride
        return functional.pad(x[:, :, ::step, ::step, ::step], (0, 0, 0, 0, 0, 0, 0, self.missing))


class ResNet3D(Backbone):
    """The network of the module's table, for clips of any length and size."""

    def __init__(self, depth: int, *, options: ResNet3DOptions, frames: int, size: int, num_classes: int) -> None:
        super().__init__()
        channels = options.scaled(64)
        expansion = _EXPANSION if depth >= _BOTTLENECK_FROM else 1
        widths = [channels * 2**stage for stage in range(4)]
        outputs = [width * expansion for width in widths]
        self.stem = nn.Sequential(
            ConvNorm(3, channels, kernel=(options.conv1_t_size, 7, 7), stride=(1, 2, 2)),
            nn.MaxPool3d(3, stride=2, padding=1),
        )
        self.stages = nn.ModuleList(
            _stage(inputs, width, blocks=blocks, stride=stride, expansion=expansion, shortcut=options.shortcut)
            for inputs, width, blocks, stride in zip(
                [channels, *outputs[:3]], widths, _BLOCKS[depth], (1, 2, 2, 2), strict=True
            )
        )
        sizes = zip(outputs, stage_sizes(halved(frames)), stage_sizes(halved(halved(size))), strict=True)
        first, second, third, fourth = (StageShape(*shape) for shape in sizes)
        self.shapes = (first, second, third, fourth)
        init_convolutions(self)
        self.head = PooledHead(outputs[3], num_classes, dropout=options.dropout)


@register("r3d", recipes={str(depth): _RECIPE for depth in _BLOCKS}, options=ResNet3DOptions)
def build(variant: str, *, options: ResNet3DOptions, frames: int, size: int, num_classes: int) -> Backbone:
    """The 3D ResNet of depth ``variant``."""
    return ResNet3D(int(variant), options=options, frames=frames, size=size, num_classes=num_classes)


def _stage(inputs: int, width: int, *, blocks: int, stride: int, expansion: int, shortcut: str) -> nn.Sequential:
    outputs = width * expansion
    first = _block(inputs, width, outputs, stride=stride, shortcut=_shortcut(inputs, outputs, stride, shortcut))
    rest = (_block(outputs, width, outputs, stride=1, shortcut=nn.Identity()) for _ in range(blocks - 1))
    return nn.Sequential(first, *rest)


def _block(inputs: int, width: int, outputs: int, *, stride: int, shortcut: nn.Module) -> Residual:
    strides = (stride, stride, stride)
    if outputs == width:
        first = ConvNorm(inputs, width, kernel=(3, 3, 3), stride=strides)
        return Residual(first, ConvNorm(width, width, kernel=(3, 3, 3), relu=False), shortcut=shortcut)
    return Residual(
        ConvNorm(inputs, width, kernel=(1, 1, 1)),
        ConvNorm(width, width, kernel=(3, 3, 3), stride=strides),
        ConvNorm(width, outputs, kernel=(1, 1, 1), relu=False),
        shortcut=shortcut,
    )


def _shortcut(inputs: int, outputs: int, stride: int, kind: str) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    if kind == "A":
        return PaddedShortcut(outputs - inputs, stride=stride)
    return ConvNorm(inputs, outputs, kernel=(1, 1, 1), stride=(stride, stride, stride), relu=False)

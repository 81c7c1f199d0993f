"""X3D (Feichtenhofer, "X3D: Expanding Architectures for Efficient Video Recognition", 2020).

Depthwise 3×3×3 convolutions between 1×1×1 ones, with squeeze-and-excitation in every other block and swish behind; all
frames are kept. For 13 frames of 160 × 160, X3D-S (C is 24 times ``width``; a block is 2.25 times as wide inside):

    conv 1×3×3 / (1, 2, 2), depthwise 5×1×1    C  × 13 × 80 × 80
    stages[0] / (1, 2, 2)                      C  × 13 × 40 × 40
    stages[1] / (1, 2, 2)                      2C × 13 × 20 × 20
    stages[2] / (1, 2, 2)                      4C × 13 × 10 × 10
    stages[3] / (1, 2, 2)                      8C × 13 ×  5 ×  5
    conv 1×1×1 to 18C, average, linear to 2048, ReLU, dropout, linear
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

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

__all__ = ["X3D", "SqueezeExcitation", "X3DHead", "X3DOptions"]

_BASE_BLOCKS: Final = (1, 2, 5, 3)
"""Residual blocks in each stage before expansion in depth."""
_INNER: Final = 2.25
"""How much wider a block is inside than outside."""
_SQUEEZE: Final = 1 / 16
"""Channels of a squeeze, as a share of those it sees."""
_SQUEEZE_STEP: Final = 8
"""Channels of a squeeze are a multiple of so many."""
_HIDDEN: Final = 2048
"""Features of the head."""


@dataclass(frozen=True, kw_only=True)
class _Variant:
    frames: int
    stride: int
    size: int
    depth: float = 2.2
    """Factor of ``_BASE_BLOCKS``."""

    @property
    def blocks(self) -> tuple[int, ...]:
        return tuple(math.ceil(self.depth * count) for count in _BASE_BLOCKS)

    @property
    def recipe(self) -> ClipSpec:
        """Kinetics as SlowFast samples it for X3D."""
        short_side = self.size * 8 // 7
        return ClipSpec(frames=self.frames, stride=self.stride, fps=30.0, size=self.size, resize_short_side=short_side)


_VARIANTS: Final = {
    "xs": _Variant(frames=4, stride=12, size=160),
    "s": _Variant(frames=13, stride=6, size=160),
    "m": _Variant(frames=16, stride=5, size=224),
    "l": _Variant(frames=16, stride=5, size=312, depth=5.0),
}


@dataclass(frozen=True, kw_only=True)
class X3DOptions(BackboneOptions):
    """Options of an X3D.

    Raises:
        UsageError: a value is out of its range.
    """

    causal: bool = False
    """Whether it looks back only, so that it may see a stream frame by frame."""


class SqueezeExcitation(nn.Module):
    """Weighs each channel by what its mean, and those of all others, say: Hu et al., 2018.

    A causal one takes the means of each frame for itself.
    """

    def __init__(self, channels: int, *, causal: bool = False) -> None:
        super().__init__()
        self.axes = (3, 4) if causal else (2, 3, 4)
        squeezed = _rounded(channels * _SQUEEZE)
        self.fc1 = nn.Conv3d(channels, squeezed, 1)
        self.fc2 = nn.Conv3d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape [N, C, T, H, W]."""
        means = x.mean(self.axes, keepdim=True)
        return x * torch.sigmoid(self.fc2(functional.relu(self.fc1(means))))


class Depthwise(ConvNorm):
    """Depthwise 3×3×3 convolution and batch norm, squeeze-and-excitation where asked for, and swish."""

    def __init__(self, channels: int, *, stride: int, squeeze: bool, causal: bool = False) -> None:
        super().__init__(
            channels,
            channels,
            kernel=(3, 3, 3),
            stride=(1, stride, stride),
            relu=False,
            groups=channels,
            causal=causal,
        )
        self.squeeze = SqueezeExcitation(channels, causal=causal) if squeeze else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, C, T, H, W] to [N, C, T, ⌈H / stride⌉, ⌈W / stride⌉]."""
        return functional.silu(self.squeeze(super().forward(x)))


class X3DStem(nn.Module):
    """A convolution in space and a depthwise one in time, with one norm behind both."""

    def __init__(self, channels: int, *, causal: bool = False) -> None:
        super().__init__()
        self.spatial = nn.Conv3d(3, channels, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False)
        self.temporal = ConvNorm(channels, channels, kernel=(5, 1, 1), groups=channels, causal=causal)

    def forward(self, clip: Tensor) -> Tensor:
        """Maps [N, 3, T, H, W] to [N, C, T, ⌈H / 2⌉, ⌈W / 2⌉]."""
        features: Tensor = self.temporal(self.spatial(clip))
        return features


class X3DHead(PooledHead):
    """Widens before it averages, and has one hidden layer before the classifier.

    The published head averages over windows of the size it was trained at; for a clip of that size, that is the mean
    over all positions, as here for clips of every size.
    """

    def __init__(self, channels: int, hidden: int, num_classes: int, *, dropout: float) -> None:
        super().__init__(hidden, num_classes, dropout=dropout)
        inner = int(channels * _INNER)
        self.conv5 = ConvNorm(channels, inner, kernel=(1, 1, 1))
        self.lin5 = nn.Conv3d(inner, hidden, 1, bias=False)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits [N, K] of features [N, C, T, H, W], weighed by ``mask`` [N, 1, 1, H, W]."""
        # A ReLU follows before the mean, so here the mask cannot wait for the mean over time.
        weighed = features if mask is None else features * mask
        pooled = self.conv5(weighed).mean((2, 3, 4), keepdim=True)
        logits: Tensor = self.fc(self.dropout(functional.relu(self.lin5(pooled)).flatten(1)))
        return logits


class X3D(Backbone):
    """The network of the module's table, with so many ``blocks`` in its stages, for clips of any length and size."""

    def __init__(self, blocks: Sequence[int], *, options: X3DOptions, frames: int, size: int, num_classes: int) -> None:
        super().__init__()
        self.is_causal = options.causal
        channels = options.scaled(24)
        outputs = [channels * 2**stage for stage in range(4)]
        self.stem = X3DStem(channels, causal=options.causal)
        self.stages = nn.ModuleList(
            _stage(inputs, width, blocks=count, causal=options.causal)
            for inputs, width, count in zip([channels, *outputs[:3]], outputs, blocks, strict=True)
        )
        sizes = stage_sizes(halved(halved(size)))
        first, second, third, fourth = (
            StageShape(width, frames, side) for width, side in zip(outputs, sizes, strict=True)
        )
        self.shapes = (first, second, third, fourth)
        self.head = X3DHead(outputs[3], options.scaled(_HIDDEN), num_classes, dropout=options.dropout)
        init_convolutions(self)
        start_as_shortcuts(self)


@register("x3d", recipes={name: variant.recipe for name, variant in _VARIANTS.items()}, options=X3DOptions)
def build(variant: str, *, options: X3DOptions, frames: int, size: int, num_classes: int) -> Backbone:
    """The X3D ``variant``."""
    return X3D(_VARIANTS[variant].blocks, options=options, frames=frames, size=size, num_classes=num_classes)


def _stage(inputs: int, outputs: int, *, blocks: int, causal: bool) -> nn.Sequential:
    modules = nn.Sequential()
    for index in range(blocks):
        block = _block(inputs, outputs, first=not index, squeeze=index % 2 == 0, causal=causal)
        modules.add_module(f"res{index}", block)
        inputs = outputs
    return modules


def _block(inputs: int, outputs: int, *, first: bool, squeeze: bool, causal: bool) -> Residual:
    inner, stride = max(1, int(outputs * _INNER)), 2 if first else 1
    shortcut = ConvNorm(inputs, outputs, kernel=(1, 1, 1), stride=(1, stride, stride), relu=False)
    return Residual(
        ConvNorm(inputs, inner, kernel=(1, 1, 1)),
        Depthwise(inner, stride=stride, squeeze=squeeze, causal=causal),
        ConvNorm(inner, outputs, kernel=(1, 1, 1), relu=False),
        shortcut=shortcut if first else nn.Identity(),
    )


def _rounded(channels: float) -> int:
    """To a multiple of 8 that is at least 8 and no less than nine tenths of ``channels``, as the published widths."""
    nearest = max(_SQUEEZE_STEP, int(channels + _SQUEEZE_STEP / 2) // _SQUEEZE_STEP * _SQUEEZE_STEP)
    return nearest if nearest >= 0.9 * channels else nearest + _SQUEEZE_STEP

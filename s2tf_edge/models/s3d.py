"""S3D (Xie et al., "Rethinking Spatiotemporal Feature Learning", 2018).

Inception blocks whose 3×3×3 convolutions are taken apart into 1×3×3 and 3×1×1. Its pools are where stages end; for 128
frames of 224 × 224, as torchvision has it (all widths are multiplied by ``width``):

    conv 7×7×7 / 2, taken apart                 64   × 64 × 112 × 112
    max-pool 1×3×3 / (1, 2, 2)                  64   × 64 ×  56 ×  56
    stages[0]: conv 1×1×1, conv 3×3×3 apart     192  × 64 ×  56 ×  56
    stages[1]: max-pool / (1, 2, 2), 2 blocks   480  × 64 ×  28 ×  28
    stages[2]: max-pool 3×3×3 / 2, 5 blocks     832  × 32 ×  14 ×  14
    stages[3]: max-pool 2×2×2 / 2, 2 blocks     1024 × 16 ×   7 ×   7
    average, dropout, linear
"""

from __future__ import annotations

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from s2tf_edge.errors import UsageError
from s2tf_edge.models.blocks import (
    Backbone,
    BackboneOptions,
    ConvNorm,
    PooledHead,
    SeparatedConv,
    StageShape,
    halved,
    init_convolutions,
)
from s2tf_edge.models.registry import register
from s2tf_edge.spec import ClipSpec

__all__ = ["S3D", "Inception", "InceptionWidths", "S3DHead"]

_EPS: Final = 1e-3
_HEAD_WINDOW: Final = (2, 7, 7)
_MIN_FRAMES: Final = 5
_MIN_SIZE: Final = 17

_RECIPE: Final = ClipSpec(
    frames=128,
    fps=15.0,
    size=224,
    resize_short_side=256,
    mean=(0.43216, 0.394666, 0.37645),
    std=(0.22803, 0.22145, 0.216989),
)
"""Kinetics as torchvision samples it: 128 frames, 15 a second."""


class InceptionWidths(NamedTuple):
    """Channels of a block's branches: 1×1×1; 1×1×1 and 3×3×3; 1×1×1 and 3×3×3; max-pool and 1×1×1."""

    single: int
    second_inner: int
    second: int
    third_inner: int
    third: int
    pooled: int

    @property
    def total(self) -> int:
        """Channels that come out."""
        return self.single + self.second + self.third + self.pooled


_STAGES: Final = (
    (InceptionWidths(64, 96, 128, 16, 32, 32), InceptionWidths(128, 128, 192, 32, 96, 64)),
    (
        InceptionWidths(192, 96, 208, 16, 48, 64),
        InceptionWidths(160, 112, 224, 24, 64, 64),
        InceptionWidths(128, 128, 256, 24, 64, 64),
        InceptionWidths(112, 144, 288, 32, 64, 64),
        InceptionWidths(256, 160, 320, 32, 128, 128),
    ),
    (InceptionWidths(256, 160, 320, 32, 128, 128), InceptionWidths(384, 192, 384, 48, 128, 128)),
)
"""Blocks of the stages behind the first."""


class Inception(nn.Module):
    """Four branches side by side, joined by their channels."""

    def __init__(self, inputs: int, widths: InceptionWidths) -> None:
        super().__init__()
        self.single = _pointwise(inputs, widths.single)
        self.second = nn.Sequential(
            _pointwise(inputs, widths.second_inner), _separated(widths.second_inner, widths.second)
        )
        self.third = nn.Sequential(_pointwise(inputs, widths.third_inner), _separated(widths.third_inner, widths.third))
        self.pooled = nn.Sequential(nn.MaxPool3d(3, stride=1, padding=1), _pointwise(inputs, widths.pooled))

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, inputs, T, H, W] to [N, ``widths.total``, T, H, W]."""
        return torch.cat([self.single(x), self.second(x), self.third(x), self.pooled(x)], dim=1)


class S3DHead(PooledHead):
    """Averages over all windows of 2 frames and 7 × 7 positions, so that the outermost count less than those inside.

    Smaller maps are averaged over what is there.
    """

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits [N, K] of features [N, C, T, H, W], weighed by ``mask`` [N, 1, 1, H, W]."""
        weighed = features if mask is None else features * mask
        window = [min(side, size) for side, size in zip(_HEAD_WINDOW, weighed.shape[2:], strict=True)]
        pooled = functional.avg_pool3d(weighed, window, stride=1).mean((2, 3, 4))
        logits: Tensor = self.fc(self.dropout(pooled))
        return logits


class S3D(Backbone):
    """The network of the module's table, for clips of 5 frames or more and 17 × 17 pixels or more.

    Raises:
        UsageError: the clip has fewer frames or pixels.
    """

    def __init__(self, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> None:
        super().__init__()
        if frames < _MIN_FRAMES or size < _MIN_SIZE:
            msg = (
                f"S3D halves frames three times and sizes five times: it needs {_MIN_FRAMES} frames and "
                f"{_MIN_SIZE} × {_MIN_SIZE} pixels or more, got {frames} and {size} × {size}"
            )
            raise UsageError(msg)
        first, inner = options.scaled(192), options.scaled(64)
        stem = SeparatedConv(3, inner, inner, kernel=(7, 7, 7), stride=(2, 2, 2), eps=(_EPS, _EPS))
        self.stem = nn.Sequential(stem, _pool_space())
        widths = [[InceptionWidths(*map(options.scaled, block)) for block in blocks] for blocks in _STAGES]
        outputs = [first, *(blocks[-1].total for blocks in widths)]
        pools = (_pool_space(), nn.MaxPool3d(3, stride=2, padding=1), nn.MaxPool3d(2))
        self.stages = nn.ModuleList(
            [
                nn.Sequential(_pointwise(inner, inner), _separated(inner, first)),
                *(_stage(*parts) for parts in zip(pools, outputs[:3], widths, strict=True)),
            ]
        )
        self.shapes = _shapes(outputs, frames, size)
        init_convolutions(self)
        self.head = S3DHead(outputs[3], num_classes, dropout=options.dropout)


@register("s3d", recipes={"": _RECIPE}, options=BackboneOptions)
def build(variant: str, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> Backbone:
    """The S3D, of which there is one."""
    del variant
    return S3D(options=options, frames=frames, size=size, num_classes=num_classes)


def _pointwise(inputs: int, outputs: int) -> ConvNorm:
    return ConvNorm(inputs, outputs, kernel=(1, 1, 1), eps=_EPS)


def _separated(inputs: int, outputs: int) -> SeparatedConv:
    return SeparatedConv(inputs, outputs, outputs, kernel=(3, 3, 3), eps=(_EPS, _EPS))


def _pool_space() -> nn.MaxPool3d:
    return nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))


def _stage(pool: nn.Module, inputs: int, widths: list[InceptionWidths]) -> nn.Sequential:
    stage = nn.Sequential(pool)
    for block in widths:
        stage.append(Inception(inputs, block))
        inputs = block.total
    return stage


def _shapes(channels: list[int], frames: int, size: int) -> tuple[StageShape, StageShape, StageShape, StageShape]:
    """The last pool is not padded, so that it rounds down where all others round up."""
    time, side = halved(frames), halved(halved(size))
    second, third = halved(side), halved(halved(side))
    return (
        StageShape(channels[0], time, side),
        StageShape(channels[1], time, second),
        StageShape(channels[2], halved(time), third),
        StageShape(channels[3], halved(time) // 2, third // 2),
    )

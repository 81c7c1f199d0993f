"""CSN (Tran et al., "Video Classification with Channel-Separated Convolutional Networks", 2019).

Bottlenecks whose 3×3×3 convolution is depthwise. ir-CSN leaves it at that (interaction-reduced), ip-CSN puts a 1×1×1
convolution before it, so that channels meet as often as in a ResNet (interaction-preserved). For 32 frames of
224 × 224, as MMAction2 has them (C is 64 times ``width``):

    conv 3×7×7 / (1, 2, 2)        C   × 32 × 112 × 112
    max-pool 1×3×3 / (1, 2, 2)    C   × 32 ×  56 ×  56
    stages[0]                     4C  × 32 ×  56 ×  56
    stages[1] / 2                 8C  × 16 ×  28 ×  28
    stages[2] / 2                 16C ×  8 ×  14 ×  14
    stages[3] / 2                 32C ×  4 ×   7 ×   7
    average, dropout, linear
"""

from __future__ import annotations

from typing import Final

from torch import nn

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

__all__ = ["CSN"]

_BLOCKS: Final = {50: (3, 4, 6, 3), 152: (3, 8, 36, 3)}
"""Residual blocks in each stage, by depth."""
_EPS: Final = 1e-3

_RECIPE: Final = ClipSpec(
    frames=32,
    stride=2,
    fps=30.0,
    size=224,
    resize_short_side=256,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""Kinetics as MMAction2 samples it: 32 frames, every 2nd of 30 a second; normalized as ImageNet is."""


class CSN(Backbone):
    """The network of the module's table, for clips of any length and size.

    Args:
        depth: 50 or 152.
        preserves: ip-CSN instead of ir-CSN.
        options: of the backbone.
        frames: in a clip.
        size: height and width of a clip in pixels.
        num_classes: K.
    """

    def __init__(
        self, depth: int, *, preserves: bool, options: BackboneOptions, frames: int, size: int, num_classes: int
    ) -> None:
        super().__init__()
        channels = options.scaled(64)
        outputs = [4 * channels * 2**stage for stage in range(4)]
        self.stem = nn.Sequential(
            ConvNorm(3, channels, kernel=(3, 7, 7), stride=(1, 2, 2), eps=_EPS),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
        )
        self.stages = nn.ModuleList(
            _stage(inputs, width, blocks=blocks, stride=stride, preserves=preserves)
            for inputs, width, blocks, stride in zip(
                [channels, *outputs[:3]], outputs, _BLOCKS[depth], (1, 2, 2, 2), strict=True
            )
        )
        sizes = zip(outputs, stage_sizes(frames), stage_sizes(halved(halved(size))), strict=True)
        first, second, third, fourth = (StageShape(*shape) for shape in sizes)
        self.shapes = (first, second, third, fourth)
        init_convolutions(self)
        self.head = PooledHead(outputs[3], num_classes, dropout=options.dropout)


@register("ir_csn", recipes={str(depth): _RECIPE for depth in _BLOCKS}, options=BackboneOptions)
def build_ir_csn(variant: str, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> Backbone:
    """The ir-CSN of depth ``variant``."""
    return CSN(int(variant), preserves=False, options=options, frames=frames, size=size, num_classes=num_classes)


@register("ip_csn", recipes={"152": _RECIPE}, options=BackboneOptions)
def build_ip_csn(variant: str, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> Backbone:
    """The ip-CSN of depth ``variant``."""
    return CSN(int(variant), preserves=True, options=options, frames=frames, size=size, num_classes=num_classes)


def _stage(inputs: int, outputs: int, *, blocks: int, stride: int, preserves: bool) -> nn.Sequential:
    first = _block(inputs, outputs, stride=stride, preserves=preserves)
    return nn.Sequential(first, *(_block(outputs, outputs, stride=1, preserves=preserves) for _ in range(blocks - 1)))


def _block(inputs: int, outputs: int, *, stride: int, preserves: bool) -> Residual:
    inner, strides = outputs // 4, (stride, stride, stride)
    depthwise = ConvNorm(inner, inner, kernel=(3, 3, 3), stride=strides, groups=inner, eps=_EPS)
    mixing = [ConvNorm(inner, inner, kernel=(1, 1, 1), relu=False, eps=_EPS)] if preserves else []
    shortcut = ConvNorm(inputs, outputs, kernel=(1, 1, 1), stride=strides, relu=False, eps=_EPS)
    return Residual(
        ConvNorm(inputs, inner, kernel=(1, 1, 1), eps=_EPS),
        nn.Sequential(*mixing, depthwise),
        ConvNorm(inner, outputs, kernel=(1, 1, 1), relu=False, eps=_EPS),
        shortcut=nn.Identity() if inputs == outputs else shortcut,
    )

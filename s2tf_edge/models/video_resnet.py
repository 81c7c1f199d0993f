"""R3D, MC3 and R(2+1)D (Tran et al., "A Closer Look at Spatiotemporal Convolutions for Action Recognition", 2018).

ResNets of basic blocks, whose 3×3×3 convolutions are kept (R3D), lose their time from the second stage on (MC3), or are
taken apart into 1×3×3 and 3×1×1 with a ReLU between them (R(2+1)D). For 16 frames of 112 × 112 (C is 64 times
``width``):

    conv 3×7×7 / (1, 2, 2)    C  × 16 × 56 × 56
    stages[0]                 C  × 16 × 56 × 56
    stages[1] / 2             2C ×  8 × 28 × 28     MC3: strides in space alone, 16 frames to the end
    stages[2] / 2             4C ×  4 × 14 × 14
    stages[3] / 2             8C ×  2 ×  7 ×  7
    average, linear

The families differ in what weights were trained with: ``tv_r3d_18``, ``mc3_18`` and ``r2plus1d_18`` are torchvision's,
``r2plus1d_34`` is VMZ's, whose weights for IG-65M go around under torchvision's names, and ``mm_r2plus1d_34`` is
MMAction2's, which pools behind the stem.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import nn

from s2tf_edge.models.blocks import (
    NORM_EPS,
    Backbone,
    BackboneOptions,
    ConvNorm,
    PooledHead,
    Residual,
    SeparatedConv,
    StageShape,
    halved,
    init_convolutions,
    stage_sizes,
)
from s2tf_edge.models.registry import register
from s2tf_edge.spec import ClipSpec

__all__ = ["VideoResNet", "VideoResNetLayout", "separated_width"]

_BLOCKS: Final = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Residual blocks in each stage, by depth."""
_CAFFE2_EPS: Final = 1e-3


@dataclass(frozen=True, kw_only=True)
class VideoResNetLayout:
    """What tells the families of this module apart."""

    kernels: tuple[str, ...]
    """What stands for a 3×3×3 convolution in each stage: 3d, 2d (1×3×3) or 2+1d."""
    stem_middle: int = 0
    """Channels between the two convolutions of a stem that is taken apart; 0 stands for one 3×7×7 convolution."""
    shares_middle: bool = True
    """Whether a block's second convolution has as many channels between its parts as the first."""
    pools: bool = False
    """Whether a 1×3×3 max-pool stands behind the stem."""
    separates_shortcuts: bool = False
    """Whether shortcuts are taken apart as well."""
    eps: float = NORM_EPS
    """Of the batch norms but those between the parts of a convolution."""
    inner_eps: float = NORM_EPS
    """Of those."""


_R3D: Final = VideoResNetLayout(kernels=("3d", "3d", "3d", "3d"))
_MC3: Final = VideoResNetLayout(kernels=("3d", "2d", "2d", "2d"))
_R2PLUS1D: Final = {
    18: VideoResNetLayout(kernels=("2+1d",) * 4, stem_middle=45),
    34: VideoResNetLayout(
        kernels=("2+1d",) * 4, stem_middle=45, shares_middle=False, eps=_CAFFE2_EPS, inner_eps=_CAFFE2_EPS
    ),
}
_MM_R2PLUS1D: Final = VideoResNetLayout(
    kernels=("2+1d",) * 4, stem_middle=83, shares_middle=False, pools=True, separates_shortcuts=True, eps=_CAFFE2_EPS
)

_RECIPE: Final = ClipSpec(
    frames=16,
    fps=15.0,
    size=112,
    resize_short_side=128,
    mean=(0.43216, 0.394666, 0.37645),
    std=(0.22803, 0.22145, 0.216989),
)
"""Kinetics as torchvision samples it: 16 frames, 15 a second."""
_IG65M_RECIPE: Final = ClipSpec(
    frames=32, fps=30.0, size=112, resize_short_side=128, mean=_RECIPE.mean, std=_RECIPE.std
)
"""32 consecutive frames, or with ``frames=8`` eight."""
_MM_RECIPE: Final = ClipSpec(
    frames=8,
    stride=8,
    fps=30.0,
    size=224,
    resize_short_side=256,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""Kinetics as MMAction2 samples it: 8 frames, every 8th of 30 a second; normalized as ImageNet is."""


class VideoResNet(Backbone):
    """The network of the module's table, for clips of any length and size."""

    def __init__(
        self,
        depth: int,
        *,
        layout: VideoResNetLayout,
        options: BackboneOptions,
        frames: int,
        size: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        channels = options.scaled(64)
        outputs = [channels * 2**stage for stage in range(4)]
        self.stem = _stem(channels, options.scaled(layout.stem_middle), layout=layout)
        self.stages = nn.ModuleList(
            _stage(stage, inputs, outputs[stage], blocks=_BLOCKS[depth][stage], layout=layout)
            for stage, inputs in enumerate([channels, *outputs[:3]])
        )
        sizes = stage_sizes(halved(halved(size)) if layout.pools else halved(size))
        first, second, third, fourth = (
            StageShape(*shape) for shape in zip(outputs, _stage_frames(frames, layout), sizes, strict=True)
        )
        self.shapes = (first, second, third, fourth)
        init_convolutions(self)
        self.head = PooledHead(outputs[3], num_classes, dropout=options.dropout)


@register("tv_r3d", recipes={"18": _RECIPE}, options=BackboneOptions)
def build_tv_r3d(variant: str, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> Backbone:
    """The R3D of depth ``variant``, as torchvision has it."""
    return VideoResNet(int(variant), layout=_R3D, options=options, frames=frames, size=size, num_classes=num_classes)


@register("mc3", recipes={"18": _RECIPE}, options=BackboneOptions)
def build_mc3(variant: str, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> Backbone:
    """The MC3 of depth ``variant``, as torchvision has it."""
    return VideoResNet(int(variant), layout=_MC3, options=options, frames=frames, size=size, num_classes=num_classes)


@register("r2plus1d", recipes={"18": _RECIPE, "34": _IG65M_RECIPE}, options=BackboneOptions)
def build_r2plus1d(variant: str, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> Backbone:
    """The R(2+1)D of depth ``variant``, as torchvision (18) or VMZ (34) has it."""
    depth = int(variant)
    layout = _R2PLUS1D[depth]
    return VideoResNet(depth, layout=layout, options=options, frames=frames, size=size, num_classes=num_classes)


@register("mm_r2plus1d", recipes={"34": _MM_RECIPE}, options=BackboneOptions)
def build_mm_r2plus1d(variant: str, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> Backbone:
    """The R(2+1)D of depth ``variant``, as MMAction2 has it."""
    return VideoResNet(
        int(variant), layout=_MM_R2PLUS1D, options=options, frames=frames, size=size, num_classes=num_classes
    )


def separated_width(inputs: int, outputs: int, *, side: int) -> int:
    """Channels between the parts of a 3 × side × side convolution, so that it has as many weights as before.

    Section 3.5 of the paper: ``⌊3 d² M N / (d² M + 3 N)⌋`` for M inputs and N outputs.
    """
    area = side * side
    return max(1, 3 * area * inputs * outputs // (area * inputs + 3 * outputs))


def _stem(channels: int, middle: int, *, layout: VideoResNetLayout) -> nn.Sequential:
    kernel, stride, eps = (3, 7, 7), (1, 2, 2), layout.eps
    conv: nn.Module = (
        SeparatedConv(3, middle, channels, kernel=kernel, stride=stride, eps=(layout.inner_eps, eps))
        if layout.stem_middle
        else ConvNorm(3, channels, kernel=kernel, stride=stride, eps=eps)
    )
    pool = [nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))] if layout.pools else []
    return nn.Sequential(conv, *pool)


def _stage(stage: int, inputs: int, outputs: int, *, blocks: int, layout: VideoResNetLayout) -> nn.Sequential:
    first = _block(stage, inputs, outputs, stride=2 if stage else 1, layout=layout)
    return nn.Sequential(first, *(_block(stage, outputs, outputs, stride=1, layout=layout) for _ in range(blocks - 1)))


def _block(stage: int, inputs: int, outputs: int, *, stride: int, layout: VideoResNetLayout) -> Residual:
    kind = layout.kernels[stage]
    strides = (1 if kind == "2d" else stride, stride, stride)
    middle = separated_width(inputs, outputs, side=3)
    second = middle if layout.shares_middle else separated_width(outputs, outputs, side=3)
    return Residual(
        _conv(kind, inputs, middle, outputs, stride=strides, relu=True, layout=layout),
        _conv(kind, outputs, second, outputs, stride=(1, 1, 1), relu=False, layout=layout),
        shortcut=nn.Identity() if inputs == outputs else _shortcut(inputs, outputs, stride=strides, layout=layout),
    )


def _conv(
    kind: str,
    inputs: int,
    middle: int,
    outputs: int,
    *,
    stride: tuple[int, int, int],
    relu: bool,
    layout: VideoResNetLayout,
) -> nn.Module:
    if kind == "2+1d":
        eps = (layout.inner_eps, layout.eps)
        return SeparatedConv(inputs, middle, outputs, kernel=(3, 3, 3), stride=stride, relu=relu, eps=eps)
    kernel = (1 if kind == "2d" else 3, 3, 3)
    return ConvNorm(inputs, outputs, kernel=kernel, stride=stride, relu=relu, eps=layout.eps)


def _shortcut(inputs: int, outputs: int, *, stride: tuple[int, int, int], layout: VideoResNetLayout) -> nn.Module:
    if not layout.separates_shortcuts:
        return ConvNorm(inputs, outputs, kernel=(1, 1, 1), stride=stride, relu=False, eps=layout.eps)
    middle, eps = separated_width(inputs, outputs, side=1), (layout.inner_eps, layout.eps)
    return SeparatedConv(inputs, middle, outputs, kernel=(1, 1, 1), stride=stride, relu=False, eps=eps)


def _stage_frames(frames: int, layout: VideoResNetLayout) -> list[int]:
    """Frames of the four stages."""
    counts = [frames]
    for kind in layout.kernels[1:]:
        counts.append(counts[-1] if kind == "2d" else halved(counts[-1]))
    return counts

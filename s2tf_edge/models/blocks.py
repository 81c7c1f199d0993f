"""What all backbones are made of, and what they promise: four stages and a head.

Shapes are ``[N, C, T, H, W]``. Convolutions pad by half their kernel, so a stride of 2 turns a size n into ``⌈n / 2⌉``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from s2tf_edge.errors import UsageError
from s2tf_edge.models.causal import CausalConv3d

__all__ = [
    "NORM_EPS",
    "Backbone",
    "BackboneOptions",
    "ConvNorm",
    "PooledHead",
    "Residual",
    "SeparatedConv",
    "StageShape",
    "halved",
    "init_convolutions",
    "make_conv",
    "stage_sizes",
    "start_as_shortcuts",
]

Triple = tuple[int, int, int]

_MIN_WIDTH: Final = 1 / 64
NORM_EPS: Final = 1e-5
"""What batch norm adds to a variance; networks that were trained in Caffe2 or TensorFlow have 1e-3."""


class StageShape(NamedTuple):
    """Shape of one stage's feature map for the clip that a network was built for."""

    channels: int
    frames: int
    size: int
    """Height and width."""


@dataclass(frozen=True, kw_only=True)
class BackboneOptions:
    """Options that every backbone takes, in code and in a model's name (``r3d_18?width=0.5``).

    Raises:
        UsageError: a value is out of its range.
    """

    width: float = 1.0
    """Multiplier of all channel counts."""
    dropout: float = 0.5
    """Probability that a pooled feature is dropped while training."""
    motion: bool = False
    """Whether a clip's mean picture is taken from each of its frames: before a fixed camera, what moves is left."""

    def __post_init__(self) -> None:
        if not _MIN_WIDTH <= self.width <= 4:
            msg = f"width must lie in [{_MIN_WIDTH}, 4], got {self.width}"
            raise UsageError(msg)
        if not 0 <= self.dropout < 1:
            msg = f"dropout must lie in [0, 1), got {self.dropout}"
            raise UsageError(msg)

    def scaled(self, channels: int) -> int:
        """``channels`` times ``width``, at least one."""
        return max(1, round(channels * self.width))


class ConvNorm(nn.Module):
    """Convolution, in ``groups`` of channels, batch norm and, where asked for, ReLU; a causal one looks back only."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: Triple,
        stride: Triple = (1, 1, 1),
        relu: bool = True,
        bias: bool = False,
        groups: int = 1,
        eps: float = NORM_EPS,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.conv = make_conv(inputs, outputs, kernel=kernel, stride=stride, bias=bias, groups=groups, causal=causal)
        self.norm: nn.Module = nn.BatchNorm3d(outputs, eps=eps)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, inputs, T, H, W] to [N, outputs, T', H', W']."""
        x = self.norm(self.conv(x))
        return functional.relu(x) if self.relu else x


def make_conv(
    inputs: int,
    outputs: int,
    *,
    kernel: Triple,
    stride: Triple = (1, 1, 1),
    bias: bool = False,
    groups: int = 1,
    causal: bool = False,
) -> nn.Conv3d:
    """A convolution that is padded by half its kernel, in time on the left alone where it is causal."""
    time, height, width = (side // 2 for side in kernel)
    if causal and kernel[0] > 1:
        return CausalConv3d(inputs, outputs, kernel, stride, (0, height, width), groups=groups, bias=bias)
    return nn.Conv3d(inputs, outputs, kernel, stride, (time, height, width), groups=groups, bias=bias)


class SeparatedConv(nn.Module):
    """A t×k×k convolution as one in space (1×k×k) and one in time (t×1×1), each with batch norm and ReLU.

    Args:
        inputs: channels of what comes in.
        middle: channels between the two.
        outputs: channels of what goes out.
        kernel: t, k and k.
        stride: that in time is taken by the convolution in time.
        relu: whether a ReLU follows the second one.
        eps: of the norm in space and of that in time.
    """

    def __init__(
        self,
        inputs: int,
        middle: int,
        outputs: int,
        *,
        kernel: Triple,
        stride: Triple = (1, 1, 1),
        relu: bool = True,
        eps: tuple[float, float] = (NORM_EPS, NORM_EPS),
    ) -> None:
        super().__init__()
        (time, *space), (step, *steps) = kernel, stride
        in_space, in_time = (1, space[0], space[1]), (time, 1, 1)
        self.spatial = ConvNorm(inputs, middle, kernel=in_space, stride=(1, steps[0], steps[1]), eps=eps[0])
        self.temporal = ConvNorm(middle, outputs, kernel=in_time, stride=(step, 1, 1), relu=relu, eps=eps[1])

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, inputs, T, H, W] to [N, outputs, T', H', W']."""
        out: Tensor = self.temporal(self.spatial(x))
        return out


class Residual(nn.Module):
    """``relu(branch(x) + shortcut(x))``; the last step of ``branch`` has no ReLU of its own."""

    def __init__(self, *branch: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, C, T, H, W] to what ``branch`` makes of it."""
        return functional.relu(self.branch(x) + self.shortcut(x))


class PooledHead(nn.Module):
    """Global average pooling, dropout and a linear classifier."""

    def __init__(self, channels: int, num_classes: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits [N, K] of features [N, C, T, H, W], weighed by ``mask`` [N, 1, 1, H, W].

        The mask is one for all frames, so ``mean(mask · F) = mean_hw(mask · mean_t F)``: the product is taken once
        and not in every frame.
        """
        pooled = features.mean((2, 3, 4)) if mask is None else (features.mean(2) * mask.squeeze(2)).mean((2, 3))
        logits: Tensor = self.fc(self.dropout(pooled))
        return logits


class Backbone(nn.Module):
    """A 3D ConvNet with a stem, four stages and a head; all that the saliency modules know of it.

    A subclass sets ``stem``, ``stages`` and ``head`` (called with features and a mask or None) and ``shapes``.
    """

    stem: nn.Module
    stages: nn.ModuleList
    head: nn.Module
    shapes: tuple[StageShape, StageShape, StageShape, StageShape]
    """Of F1..F4, for the clip that the network was built for."""
    is_causal: bool = False
    """Whether no feature map at a frame depends on later ones, so that a network may step."""

    def forward_stages(self, clip: Tensor) -> list[Tensor]:
        """The feature maps F1..F4 of clips [N, 3, T, H, W]."""
        x, maps = self.stem(clip), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def forward_head(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits [N, K] of F4, weighed by ``mask`` [N, 1, 1, H4, W4] where there is one."""
        logits: Tensor = self.head(features, mask)
        return logits


def halved(size: int) -> int:
    """What a padded stride of 2 makes of ``size``: half of it, rounded up."""
    return (size + 1) // 2


def stage_sizes(first: int) -> list[int]:
    """Sizes of four stages, each half the one before, rounded up."""
    sizes = [first]
    for _ in range(3):
        sizes.append(halved(sizes[-1]))
    return sizes


def init_convolutions(module: nn.Module) -> None:
    """He initialization by fan-out, as the published 3D ResNets and I3D have it."""
    for child in module.modules():
        if isinstance(child, nn.Conv3d):
            nn.init.kaiming_normal_(child.weight, mode="fan_out", nonlinearity="relu")
            if child.bias is not None:
                nn.init.zeros_(child.bias)


def start_as_shortcuts(module: nn.Module) -> None:
    """Zeroes the last norm of every residual branch, so that each block begins as its shortcut (Goyal et al., 2017)."""
    for child in module.modules():
        last = child.branch[-1] if isinstance(child, Residual) else None
        if isinstance(last, ConvNorm) and isinstance(last.norm, nn.BatchNorm3d):
            nn.init.zeros_(last.norm.weight)

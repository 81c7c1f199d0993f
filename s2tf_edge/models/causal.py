"""Layers that look back only, so that a network may see one frame after the other and no frame twice.

``forward`` of a whole clip starts from zeros, as padding on the left does. Within ``remembering`` each layer goes on
from what it saw before, and leaves what it will want to know: the last ``taps - 1`` frames of its input. Both are the
same code over other frames, so what they give is the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = [
    "CausalConv3d",
    "ClipMean",
    "LastFrames",
    "Past",
    "SlidingMean",
    "beginning_at",
    "count_past",
    "find_past_shapes",
    "find_pasts",
    "remembering",
]


Triple = tuple[int, int, int]


class Past(nn.Module):
    """Puts what was seen before in front of what comes: ``taps - 1`` frames, zeros where nothing was.

    It has no weights and no state of its own. What it remembers between calls is held by whoever steps the network.
    """

    def __init__(self, taps: int) -> None:
        super().__init__()
        self.taps = taps

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, C, T, H, W] to [N, C, taps - 1 + T, H, W], the latest last."""
        if self.taps == 1:
            return x
        memory = _MEMORY.get()
        if memory is None:
            return functional.pad(_without_unborn(x), (0, 0, 0, 0, self.taps - 1, 0))
        return memory.extend(self, x)


class CausalConv3d(nn.Conv3d):
    """A convolution whose output at a frame depends on that frame and the ``kernel_size[0] - 1`` before it.

    Weights are named and shaped as those of ``nn.Conv3d``; stride in time is 1, and padding 0.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int, int], *arguments: Any, **options: Any
    ) -> None:
        super().__init__(inputs, outputs, kernel, *arguments, **options)
        self.past = Past(kernel[0])

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, inputs, T, H, W] to [N, outputs, T, H', W']."""
        return super().forward(self.past(x))


class ClipMean(nn.Module):
    """The mean of all frames, of a network that is not causal."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, C, T, H, W] to [N, C, 1, H, W]."""
        return x.mean(2, keepdim=True)


class SlidingMean(nn.Module):
    """The mean of each frame and the ``taps - 1`` before it, or of as many as there were."""

    def __init__(self, taps: int) -> None:
        super().__init__()
        self.past = Past(taps)
        self.count = Past(taps)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape [N, C, T, H, W]; before the frame that a clip begins at, it is zero."""
        window = (self.past.taps, 1, 1)
        ones = x.new_ones((x.shape[0], 1, x.shape[2], 1, 1))
        share = functional.avg_pool3d(self.count(ones), window, stride=1)
        return functional.avg_pool3d(self.past(x), window, stride=1) / (share + (share == 0))


class LastFrames(Past):
    """The last ``taps`` frames of all that came."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps [N, C, T, H, W] to [N, C, taps, H, W], the latest last; what was before the first is zero."""
        if _MEMORY.get() is not None or x.shape[2] < self.taps:
            x = super().forward(x)
        return x[:, :, -self.taps :]


class _Memory:
    """What the layers of a network know, before a call and after it."""

    def __init__(self, before: Mapping[Past, Tensor]) -> None:
        self._before = before
        self.after: dict[Past, Tensor] = {}

    def extend(self, past: Past, x: Tensor) -> Tensor:
        """``x`` behind what ``past`` had; its last frames are kept."""
        joined = torch.cat([self._before[past], x], dim=2)
        self.after[past] = joined[:, :, 1 - past.taps :]
        return joined


_MEMORY: ContextVar[_Memory | None] = ContextVar("_MEMORY", default=None)


@contextmanager
def remembering(before: Mapping[Past, Tensor]) -> Iterator[dict[Past, Tensor]]:
    """Within it, layers go on from ``before``; what they will go on from next is in what it yields."""
    memory = _Memory(before)
    token = _MEMORY.set(memory)
    try:
        yield memory.after
    finally:
        _MEMORY.reset(token)


_BEGINNINGS: ContextVar[Tensor | None] = ContextVar("_BEGINNINGS", default=None)


@contextmanager
def beginning_at(frames: Tensor) -> Iterator[None]:
    """Within it, each clip of a batch begins at a frame of its own: what is before is as if it had not been.

    Args:
        frames: int64 [N], the first frame of each.
    """
    token = _BEGINNINGS.set(frames)
    try:
        yield
    finally:
        _BEGINNINGS.reset(token)


def _without_unborn(x: Tensor) -> Tensor:
    """[N, C, T, H, W] with zeros before the frame that each clip begins at, as is before the first of any clip."""
    beginnings = _BEGINNINGS.get()
    if beginnings is None:
        return x
    is_there = torch.arange(x.shape[2], device=x.device) >= beginnings[:, None]
    return x * is_there[:, None, :, None, None]


def find_pasts(module: nn.Module) -> dict[str, Past]:
    """All that remember something, by the names of what they are part of."""
    named = ((name, child) for name, child in module.named_modules() if isinstance(child, Past) and child.taps > 1)
    return {name.removesuffix(".past"): child for name, child in named}


def count_past(module: nn.Module) -> int:
    """How many frames before the latest a module looks at, whose layers come one after the other."""
    return sum(past.taps - 1 for past in find_pasts(module).values())


def find_past_shapes(network: nn.Module, clip: Triple) -> dict[str, tuple[int, ...]]:
    """What layers remember where they see clips of T, H and W: [C, taps - 1, H', W'], by their names.

    It is found on the "meta" device, so nothing is computed.
    """
    shadow = copy.deepcopy(network).to("meta").eval()
    found: dict[str, tuple[int, ...]] = {}

    def note(name: str, past: Past, x: Tensor) -> None:
        found[name] = (x.shape[1], past.taps - 1, *x.shape[3:])

    for name, past in find_pasts(shadow).items():
        past.register_forward_pre_hook(lambda module, inputs, name=name: note(name, module, inputs[0]))
    dtype = next(network.parameters()).dtype
    with torch.no_grad():
        shadow(torch.empty(1, 3, *clip, device="meta", dtype=dtype))
    return found

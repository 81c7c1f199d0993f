"""Fast gradients of depthwise convolutions on a CPU, where most of an X3D's training time goes.

Forward, oneDNN has a fast kernel for them; backward it has none, and takes some ten times as long for the gradient of
the input and as long again for that of the weights, on one core whatever there are. Both are depthwise convolutions
themselves, which the fast kernel computes: with stride 1,

    gradient of the input    the gradient of the output, with the kernel reversed
    gradient of the weights  the input, with the gradient of the output as the kernel
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv3d
from torch.overrides import TorchFunctionMode

__all__ = ["DepthwiseGradients"]

_ONE: Final = (1, 1, 1)


class DepthwiseGradients(TorchFunctionMode):
    """Within it, 3D depthwise convolutions of stride 1 on the CPU get their gradients by this module.

    They are the same up to rounding, wherever the backward pass is called.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls ``func``, or what stands for it where it is such a convolution."""
        del types
        if func is torch.conv3d and torch.is_grad_enabled():
            return _convolve(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = _ONE,
    padding: Any = 0,
    dilation: Any = _ONE,
    groups: int = 1,
) -> Tensor:
    is_depthwise = groups == len(weight) == x.shape[1] and groups > 1
    if not is_depthwise or x.device.type != "cpu" or stride != _ONE or dilation != _ONE or not _fits(padding, weight):
        return conv3d(x, weight, bias, stride, padding, dilation, groups)
    if torch.is_autocast_enabled("cpu"):
        kind = torch.get_autocast_dtype("cpu")
        x, weight, bias = x.to(kind), weight.to(kind), None if bias is None else bias.to(kind)
    y: Tensor = _DepthwiseConvolution.apply(x, weight, padding)  # type: ignore[no-untyped-call]
    return y if bias is None else y + bias.view(-1, 1, 1, 1)


def _fits(padding: object, weight: Tensor) -> bool:
    """Whether no output lies in the padding alone."""
    sides = weight.shape[2:]
    return isinstance(padding, tuple) and all(pad < side for pad, side in zip(padding, sides, strict=True))


class _DepthwiseConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: tuple[int, int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        return conv3d(x, weight, padding=padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):
            of_x = _gradient_of_input(gradient, weight, ctx.padding) if ctx.needs_input_grad[0] else None
            of_weight = _gradient_of_weight(gradient, x, ctx.padding) if ctx.needs_input_grad[1] else None
        return of_x, of_weight, None


def _gradient_of_input(gradient: Tensor, weight: Tensor, padding: tuple[int, int, int]) -> Tensor:
    rest = tuple(side - 1 - pad for side, pad in zip(weight.shape[2:], padding, strict=True))
    return conv3d(gradient, weight.flip(2, 3, 4), padding=rest, groups=len(weight))


def _gradient_of_weight(gradient: Tensor, x: Tensor, padding: tuple[int, int, int]) -> Tensor:
    clips, channels = x.shape[:2]
    groups = clips * channels
    images, kernels = x.reshape(1, groups, *x.shape[2:]), gradient.reshape(groups, 1, *gradient.shape[2:])
    each = conv3d(images, kernels, padding=padding, groups=groups)
    return each.reshape(clips, channels, 1, *each.shape[2:]).sum(0)

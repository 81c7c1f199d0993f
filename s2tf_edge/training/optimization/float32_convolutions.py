"""Convolutions that must not be computed in bfloat16 on a CPU.

There oneDNN gives a wrong gradient of the weights (zero, infinite, NaN; it may also write beyond its memory), where a
kernel is longer than what it moves over; seen with torch 2.13, for kernels of 3 over 2 frames and of 7 over 2 pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["Float32Convolutions"]


class Float32Convolutions(TorchFunctionMode):
    """Within it, 3D convolutions on the CPU whose kernel is longer than their input in any axis run in float32.

    Their backward pass does as well, wherever it is called. Without autocast nothing changes.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls ``func``, with autocast off where it is such a convolution."""
        del types
        if func is not torch.conv3d or not _is_longer_than_input(*args[:2]):
            return func(*args, **(kwargs or {}))
        with torch.autocast("cpu", enabled=False):
            return func(*(_widen(value) for value in args), **(kwargs or {}))


def _is_longer_than_input(x: Tensor, weight: Tensor) -> bool:
    return x.device.type == "cpu" and any(size < side for size, side in zip(x.shape[2:], weight.shape[2:], strict=True))


def _widen(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) else value

"""Adaptive average pools of a PyTorch network as pools of fixed kernels."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["fix_adaptive_pools"]

_Kernel = tuple[int, int, int]


def fix_adaptive_pools(network: nn.Module, clip_shape: Sequence[int]) -> list[str]:
    """Replaces, in place, adaptive average pools that are plain ones for clips of ``clip_shape``.

    ONNX has no adaptive pooling, and the exporter refuses ``nn.AdaptiveAvgPool3d`` but for an output of one value.
    Where the output's sides divide the input's, all windows have the same size. Others, and modules that are called
    with inputs of several sizes, stay; adaptive max pools need no help.

    Args:
        network: called with one clip.
        clip_shape: [N, 3, T, H, W]; nothing is computed.

    Returns:
        Paths of the modules that were replaced.
    """
    kernels = _kernels(network, clip_shape)
    for path, kernel in kernels.items():
        parent, _, name = path.rpartition(".")
        setattr(network.get_submodule(parent), name, nn.AvgPool3d(kernel))
    return list(kernels)


def _kernels(network: nn.Module, clip_shape: Sequence[int]) -> dict[str, _Kernel]:
    """The kernel of every pool that has one, found by running a copy on the "meta" device."""
    shadow = copy.deepcopy(network).to("meta").eval()
    seen: dict[str, set[_Kernel | None]] = {}

    def remember(path: str, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        sides, outs = inputs[0].shape[-3:], output.shape[-3:]
        time, height, width = (side // out for side, out in zip(sides, outs, strict=True))
        divides = all(side % out == 0 for side, out in zip(sides, outs, strict=True))
        seen.setdefault(path, set()).add((time, height, width) if divides else None)

    for path, module in shadow.named_modules():
        if isinstance(module, nn.AdaptiveAvgPool3d):
            module.register_forward_hook(lambda _, inputs, output, path=path: remember(path, inputs, output))
    dtype = next((value.dtype for value in shadow.parameters()), torch.float32)
    with torch.no_grad():
        shadow(torch.empty(tuple(clip_shape), device="meta", dtype=dtype))
    found = {path: next(iter(kernels)) for path, kernels in seen.items() if len(kernels) == 1}
    return {path: kernel for path, kernel in found.items() if kernel is not None}

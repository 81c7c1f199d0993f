"""The inference form of a network: the same logits for less work, by exact identities.

- Batch norm folds into the convolution before it.
- Taps of a kernel that only ever meet padding are cut off: where a stage has one frame, a 3-tap temporal kernel is
  its center tap.

The network itself already pools the mask into the head and treats saliency frame by frame (see ``saliency``).
``VideoNetwork.to_inference`` makes both edits, to a copy.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from s2tf_edge.models.blocks import ConvNorm
from s2tf_edge.models.causal import CausalConv3d

__all__ = ["fold_norms", "trim_taps"]


def fold_norms(model: nn.Module) -> None:
    """Folds every batch norm that follows a convolution into it."""
    for module in model.modules():
        if isinstance(module, ConvNorm) and isinstance(module.norm, nn.BatchNorm3d):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()


def trim_taps(model: nn.Module, clip_shape: Sequence[int]) -> None:
    """Cuts off the taps that only ever meet padding, in time, height and width.

    Args:
        model: gives the same for clips of ``clip_shape`` afterwards, and something else for others.
        clip_shape: [N, 3, T, H, W].
    """
    shapes = _input_shapes(model, clip_shape)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv3d) and name in shapes:
            for axis, size in enumerate(shapes[name]):
                if axis == 0 and isinstance(module, CausalConv3d):
                    continue  # in a stream all of its taps meet frames
                _trim_axis(module, axis, size)


def _input_shapes(model: nn.Module, clip_shape: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """[T, H, W] of every convolution's input; on the "meta" device, so nothing is computed."""
    shapes: dict[str, tuple[int, ...]] = {}
    shadow = copy.deepcopy(model).to("meta")

    def remember(name: str, x: Tensor) -> None:
        shapes[name] = tuple(x.shape[2:])

    for name, module in shadow.named_modules():
        if isinstance(module, nn.Conv3d):
            module.register_forward_pre_hook(lambda _, inputs, name=name: remember(name, inputs[0]))
    with torch.no_grad():
        shadow(torch.empty(tuple(clip_shape), device="meta", dtype=next(model.parameters()).dtype))
    return shapes


def _trim_axis(conv: nn.Conv3d, axis: int, size: int) -> None:
    """Keeps the taps i that meet a value, ``0 ≤ o · stride - padding + i < size``, for some output o."""
    kernel, stride, padding = (int(values[axis]) for values in (conv.kernel_size, conv.stride, conv.padding))
    outputs = (size + 2 * padding - kernel) // stride + 1
    starts = [output * stride - padding for output in range(outputs)]
    used = [tap for tap in range(kernel) if any(0 <= start + tap < size for start in starts)]
    first, count = used[0], len(used)
    # Padding is the same at both ends, so a cut that would need two different ones is left out.
    left = padding - first
    if count == kernel or (size + 2 * left - count) // stride + 1 != outputs:
        return
    conv.weight = nn.Parameter(conv.weight.narrow(axis + 2, first, count).clone())
    conv.kernel_size = _replaced(conv.kernel_size, axis, count)
    conv.padding = _replaced(conv.padding, axis, left)  # type: ignore[arg-type]


def _replaced(values: tuple[int, ...], axis: int, value: int) -> tuple[int, ...]:
    return (*values[:axis], value, *values[axis + 1 :])

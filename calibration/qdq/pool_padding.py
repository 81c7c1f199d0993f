"""A graph pass that lets max-pools do their own padding.

PyTorch's exporter writes a padded max-pool as Pad, with minus infinity, and MaxPool without; other exporters pad with
the smallest float. No scale can quantize that, so that the two would stay in floating point between integer layers, and
in float16 it overflows; MaxPool's own padding is the same.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

__all__ = ["MergePads"]

_LOWEST: Final = float(np.finfo(np.float16).min)
"""What is as low as this, the lowest float16, stands for minus infinity: no activation is."""


class MergePads(ir.passes.InPlacePass):
    """Merges a Pad with minus infinity, or a number that stands for it, into the MaxPool that reads it."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Merges where the sum of both paddings is one that MaxPool allows."""
        modified = False
        for pool in model.graph:
            pad = pool.inputs[0].producer() if pool.op_type == "MaxPool" and pool.inputs[0] else None
            pads = None if pad is None or pad.op_type != "Pad" else _merge(pad, pool)
            if pad is not None and pads is not None:
                pool.attributes["pads"] = ir.AttrInt64s("pads", pads)
                pool.replace_input_with(0, pad.inputs[0])
                modified = True
        RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, modified)


def _merge(pad: ir.Node, pool: ir.Node) -> list[int] | None:
    """The sum of both paddings, beginnings of all spatial axes and then ends; None where MaxPool cannot have it."""
    kernel = pool.attributes["kernel_shape"].as_ints()
    sides = len(kernel)
    outer = _find_infinite_pads(pad, rank=sides + 2)
    if outer is None or len(outer) != 2 * (sides + 2) or any(outer[:2]) or any(outer[sides + 2 : sides + 4]):
        return None
    # Rounding up and automatic padding start from the size of the input, which Pad has changed.
    if pool.attributes.get_int("ceil_mode", 0) or pool.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return None
    inner = pool.attributes.get_ints("pads", [0] * 2 * sides)
    spatial = (*outer[2 : sides + 2], *outer[sides + 4 :])
    pads = [a + b for a, b in zip(inner, spatial, strict=True)]
    fits = all(0 <= side < size for side, size in zip(pads, [*kernel, *kernel], strict=True))
    return pads if fits else None


def _find_infinite_pads(pad: ir.Node, *, rank: int) -> list[int] | None:
    """What a Pad with minus infinity adds, beginnings of all axes and then ends; None of any other Pad."""
    given = [value for value in pad.inputs[1:] if value is not None]
    tensors = [ir.convenience.get_const_tensor(value) for value in given]
    constants = [tensor.numpy() for tensor in tensors if tensor is not None]
    is_whole = len(constants) == len(pad.inputs) - 1 and len(constants) in {2, 3}
    if not is_whole or pad.attributes.get_string("mode", "constant") != "constant" or (constants[1] > _LOWEST).any():
        return None
    axes = constants[2] if len(constants) > 2 else np.arange(rank)
    pads = np.zeros((2, rank), int)
    pads[:, axes] = constants[0].reshape(2, -1)
    return [int(side) for side in pads.reshape(-1)]

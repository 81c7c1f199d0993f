"""A graph pass that lets max-pools do their own padding.

PyTorch's exporter writes a padded max-pool as Pad, with minus infinity, and MaxPool without. No scale can quantize what
is infinite, so that the two would stay in floating point between integer layers; MaxPool's own padding is the same.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

__all__ = ["MergePads"]


class MergePads(ir.passes.InPlacePass):
    """Merges a Pad with minus infinity into the MaxPool that reads it."""

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
    outer, kernel = _find_infinite_pads(pad), pool.attributes["kernel_shape"].as_ints()
    sides = len(kernel)
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


def _find_infinite_pads(pad: ir.Node) -> list[int] | None:
    """What a Pad with minus infinity adds, beginnings of all axes and then ends; None of any other Pad."""
    constants = [None if value is None else ir.convenience.get_const_tensor(value) for value in pad.inputs[1:]]
    if len(constants) != 2 or pad.attributes.get_string("mode", "constant") != "constant":
        return None
    pads, value = constants
    if pads is None or value is None or not np.isneginf(value.numpy()).all():
        return None
    return [int(side) for side in pads.numpy()]

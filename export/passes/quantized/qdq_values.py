"""What QuantizeLinear and DequantizeLinear nodes say: their integers, scales and zero points."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from s2tf_edge.export.passes.graph_edits import constant_input

__all__ = ["DEQUANTIZE", "MICROSOFT", "QUANTIZE", "dequantize_constant", "integers_of", "is_qdq", "zero_point_of"]

QUANTIZE: Final = "QuantizeLinear"
DEQUANTIZE: Final = "DequantizeLinear"
MICROSOFT: Final = "com.microsoft"
"""Domain of ONNX Runtime's own operators, among them these two as they were before opset 21."""


def is_qdq(node: ir.Node | None, op_type: str) -> bool:
    """Whether a node is that one of the two, of either domain."""
    return node is not None and node.op_type == op_type and node.domain in {"", MICROSOFT}


def integers_of(node: ir.Node) -> ir.DataType:
    """The type that a node gives or takes: uint8 where nothing says otherwise, as ONNX has it."""
    quantizes = node.op_type == QUANTIZE
    value = node.outputs[0] if quantizes else node.inputs[0]
    if value is not None and value.dtype is not None:
        return value.dtype
    # From opset 21 on, which has no need of a zero point to say so.
    if quantizes and (asked := node.attributes.get_int("output_dtype", 0)):
        return ir.DataType(asked)
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    return (None if zero is None else zero.dtype) or ir.DataType.UINT8


def zero_point_of(node: ir.Node) -> NDArray[Any] | None:
    """The zero points of a node: zero, of the type of its integers, where it has none; None where they are computed."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return np.zeros((), integers_of(node).numpy())
    return constant_input(node, 2)


def dequantize_constant(node: ir.Node) -> NDArray[np.float32] | None:
    """What a DequantizeLinear makes of constant integers, in float32; None where something of it is computed.

    Scales are one for a tensor, one for each index of an axis or, from opset 21 on, one for each block of an axis.
    """
    integers, scale, zero = constant_input(node, 0), constant_input(node, 1), zero_point_of(node)
    if integers is None or scale is None or zero is None:
        return None
    axis = node.attributes.get_int("axis", 1) % max(integers.ndim, 1)
    block = node.attributes.get_int("block_size", 0)
    spread_scale, spread_zero = (_spread(each, integers.shape, axis=axis, block=block) for each in (scale, zero))
    values = (integers.astype(np.float64) - spread_zero.astype(np.float64)) * spread_scale.astype(np.float64)
    return np.asarray(values, np.float32)


def _spread(values: NDArray[Any], shape: tuple[int, ...], *, axis: int, block: int) -> NDArray[Any]:
    """Scales or zero points so that they go with integers of ``shape``."""
    if values.size == 1:
        return values.reshape(())
    if block:
        return np.repeat(values, block, axis=axis).take(np.arange(shape[axis]), axis=axis)
    return values.reshape([-1 if index == axis else 1 for index in range(len(shape))])

"""A graph pass that takes a quantized graph back to floating point.

    x ─ QuantizeLinear ─ DequantizeLinear ─ Conv          x ─ Conv
        int8 constant ─ DequantizeLinear ──┘                  │
                                                float32 constant

Between the two may be what only moves or picks integers, a Transpose or a MaxPool, which does the same to floats.

Integers that begin at zero make zero of all that is below. ONNX Runtime's quantizer leaves out the ReLU before them, so
one comes back where nothing else keeps values from being negative:

    Conv ─ QuantizeLinear (uint8, zero point 0) ─ …       Conv ─ Relu ─ …
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.passes.graph_edits import GraphEditor, layer_of
from s2tf_edge.export.passes.quantized.qdq_values import (
    DEQUANTIZE,
    QUANTIZE,
    dequantize_constant,
    is_qdq,
    zero_point_of,
)

__all__ = ["FloatBiases", "StripQdq"]

_MOVING: Final = frozenset(
    [
        *("Concat", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "Split", "Squeeze"),
        *("Tile", "Transpose", "Unsqueeze"),
    ]
)
"""Operators that may stand between QuantizeLinear and DequantizeLinear, and do to floats what they do to integers."""


_KEEPING_SIGNS: Final = frozenset(
    [
        *("AveragePool", "Dropout", "Expand", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "Identity", "MaxPool"),
        *("ReduceMean", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"),
    ]
)
_NEVER_NEGATIVE: Final = frozenset(["Abs", "HardSigmoid", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt"])


class StripQdq(ir.passes.InPlacePass):
    """Removes QuantizeLinear and DequantizeLinear; constant integers become float32.

    Raises:
        UnsupportedError: a DequantizeLinear takes integers that no QuantizeLinear gave.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Strips the main graph."""
        graph, editor = model.graph, GraphEditor(model.graph)
        last = [node for node in graph if is_qdq(node, DEQUANTIZE)]
        moved = _find_moved(last)
        for node in last:
            editor.replace(node, _dequantized(node, editor) or _given(node))
        for node in [node for node in graph if is_qdq(node, QUANTIZE)]:
            editor.replace(node, _rectified(node, editor) if _begins_at_zero(node) else _given(node))
        for value in moved:
            value.type = ir.TensorType(ir.DataType.FLOAT)
        RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, modified=bool(last))


class FloatBiases(ir.passes.InPlacePass):
    """Puts constants of 32-bit integers, which biases are, in float32: no compiler but ONNX Runtime's wants them."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Replaces the DequantizeLinear nodes of such constants."""
        editor = GraphEditor(model.graph)
        nodes = [node for node in model.graph if is_qdq(node, DEQUANTIZE) and _is_wide(node.inputs[0])]
        for node in nodes:
            value = _dequantized(node, editor)
            if value is not None:
                editor.replace(node, value)
        RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, modified=bool(nodes))


def _is_wide(value: ir.Value | None) -> bool:
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return tensor is not None and tensor.dtype == ir.DataType.INT32


def _dequantized(node: ir.Node, editor: GraphEditor) -> ir.Value | None:
    """A new constant with what a DequantizeLinear makes of one; None where it is given no constant."""
    values = dequantize_constant(node)
    if values is None:
        return None
    source = str(node.inputs[0].name) if node.inputs[0] is not None else str(node.name)
    return editor.constant(ir.tensor(values), name=f"{source}/float")


def _given(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None
    return value


def _begins_at_zero(node: ir.Node) -> bool:
    zero = zero_point_of(node)
    return zero is not None and np.issubdtype(zero.dtype, np.integer) and bool((zero == np.iinfo(zero.dtype).min).all())


def _rectified(node: ir.Node, editor: GraphEditor) -> ir.Value:
    """What a QuantizeLinear takes, zero where it is negative."""
    value = _given(node)
    if _is_never_negative(value):
        return value
    return editor.insert(node, "Relu", [value], layer=layer_of(value.producer()), dtype=value.dtype, shape=value.shape)


def _is_never_negative(value: ir.Value | None) -> bool:
    producer = None if value is None else value.producer()
    while producer is not None and producer.op_type in _KEEPING_SIGNS:
        value = producer.inputs[0]
        producer = None if value is None else value.producer()
    if producer is None:
        # Weights are rounded about zero; what comes in is as it comes.
        return value is not None and ir.convenience.get_const_tensor(value) is not None
    return producer.op_type in _NEVER_NEGATIVE


def _find_moved(nodes: list[ir.Node]) -> list[ir.Value]:
    """Integers on the way from a QuantizeLinear to those nodes, which will be floats."""
    moved: dict[ir.Value, None] = {}
    for node in nodes:
        waiting = [] if dequantize_constant(node) is not None else [_given(node)]
        while waiting:
            value = waiting.pop()
            producer = value.producer()
            if is_qdq(producer, QUANTIZE) or value in moved:
                continue
            if producer is None or producer.op_type not in _MOVING or producer.domain:
                raise _no_origin(node, producer)
            moved[value] = None
            # Shapes and indices come behind what is moved, but for a Concat, which has none.
            count = None if producer.op_type == "Concat" else 1
            waiting += [each for each in producer.inputs[:count] if each is not None]
    return list(moved)


def _no_origin(node: ir.Node, producer: ir.Node | None) -> UnsupportedError:
    source = "an input or a constant that is moved about" if producer is None else f"{producer.op_type} {producer.name}"
    return UnsupportedError(
        f"DequantizeLinear {node.name} takes the integers of {source}, which no QuantizeLinear gave, so that it cannot "
        "be stripped; export the network from its framework before it is quantized"
    )

"""A graph of half precision in float32 throughout: inputs, outputs, weights and all between them.

What an export starts from is float32; a target's precision is made from that. float16 and bfloat16 values are float32
values too, so that weights are what they were, and only the rounding in between is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import onnx_ir as ir

__all__ = ["Float32"]

_HALVES: Final = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_TYPE_ATTRIBUTES: Final = ("to", "dtype", "output_dtype", "softmax_precision", "stash_type")
"""Attributes that say what type an operator computes in or gives."""
_GRAPHS: Final = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


class Float32(ir.passes.InPlacePass):
    """Turns every float16 and bfloat16 type into float32, in subgraphs and functions too."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Converts in place; a graph that has no such type stays as it is."""
        count = sum(_widen_weight(value) for graph in model.graphs() for value in graph.initializers.values())
        graphs: list[ir.Graph | ir.Function] = [*model.graphs(), *model.functions.values()]
        count += sum(_widen_type(value) for graph in graphs for value in _values(graph))
        nodes = [*model.graph.all_nodes(), *(node for each in model.functions.values() for node in each.all_nodes())]
        count += sum(_widen_attribute(node, attribute) for node in nodes for attribute in [*node.attributes.values()])
        return ir.passes.PassResult(model, modified=count > 0)


def _values(graph: ir.Graph | ir.Function) -> Iterator[ir.Value]:
    yield from (*graph.inputs, *graph.outputs)
    for node in graph:
        yield from node.outputs


def _widen_weight(value: ir.Value) -> bool:
    tensor = value.const_value
    if tensor is None or tensor.dtype not in _HALVES:
        return False
    value.const_value = _widen(tensor)
    value.dtype = ir.DataType.FLOAT
    return True


def _widen(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(np.float32), name=tensor.name)


def _widen_type(value: ir.Value) -> bool:
    if value.dtype not in _HALVES:
        return False
    value.dtype = ir.DataType.FLOAT
    return True


def _widen_attribute(node: ir.Node, attribute: ir.Attr) -> bool:
    if attribute.is_ref() or attribute.type in _GRAPHS:
        return False
    if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in _HALVES:
        node.attributes.add(ir.AttrTensor(attribute.name, _widen(attribute.as_tensor())))
        return True
    if attribute.name in _TYPE_ATTRIBUTES and attribute.type == ir.AttributeType.INT and attribute.as_int() in _HALVES:
        node.attributes.add(ir.AttrInt64(attribute.name, ir.DataType.FLOAT.value))
        return True
    return False

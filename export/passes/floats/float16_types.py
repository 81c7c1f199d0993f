"""What ONNX's own operator schemas say of types: which inputs may be float16, and what type comes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import onnx
import onnx_ir as ir

__all__ = ["NodeTypes", "constant_tensor"]

_TENSOR: Final = "tensor("


class NodeTypes:
    """The types that a node's operator allows.

    Args:
        node: of a graph or of a function's body.
        opsets: versions of the operator sets in force there, by domain.
    """

    def __init__(self, node: ir.Node, opsets: Mapping[str, int]) -> None:
        self._node = node
        self._schema = _schema(node, opsets)

    @property
    def is_known(self) -> bool:
        """Whether ONNX knows the operator."""
        return self._schema is not None

    def takes_half(self, index: int) -> bool:
        """Whether input ``index`` may be float16."""
        formal = self._formal_input(index)
        return formal is not None and f"{_TENSOR}float16)" in formal.types

    def outputs(self, types: Mapping[ir.Value, ir.DataType]) -> list[ir.DataType | None]:
        """Types of the outputs, for inputs of the given ``types``; None where nothing tells."""
        bound: dict[str, ir.DataType] = {}
        for index, value in enumerate(self._node.inputs):
            formal = self._formal_input(index)
            if formal is not None and value is not None and value in types:
                bound.setdefault(formal.type_str, types[value])
        return [self._output(index, value, bound) for index, value in enumerate(self._node.outputs)]

    def _output(self, index: int, value: ir.Value, bound: Mapping[str, ir.DataType]) -> ir.DataType | None:
        formals = [] if self._schema is None else self._schema.outputs
        text = formals[min(index, len(formals) - 1)].type_str if formals else ""
        if text in bound:
            return bound[text]
        if text.startswith(_TENSOR):
            return ir.DataType[text.removeprefix(_TENSOR).removesuffix(")").upper()]
        return _attribute_type(self._node) or value.dtype

    def _formal_input(self, index: int) -> onnx.defs.OpSchema.FormalParameter | None:
        """The parameter at ``index``, of which the last may stand for any number."""
        formals = [] if self._schema is None else self._schema.inputs
        return formals[min(index, len(formals) - 1)] if formals else None


def constant_tensor(value: ir.Value) -> ir.TensorProtocol | None:
    """The tensor of an initializer or of a Constant node, but for one whose value is an attribute of the function."""
    producer = value.producer()
    if value.is_graph_input() or (producer is not None and any(each.is_ref() for each in producer.attributes.values())):
        return None
    return ir.convenience.get_const_tensor(value)


def _schema(node: ir.Node, opsets: Mapping[str, int]) -> onnx.defs.OpSchema | None:
    version = opsets.get(node.domain)
    if version is None or not onnx.defs.has(node.op_type, node.domain):
        return None
    try:
        return onnx.defs.get_schema(node.op_type, version, node.domain)
    except onnx.defs.SchemaError:
        return None


def _attribute_type(node: ir.Node) -> ir.DataType | None:
    """What a Cast, a Constant and other operators without a float input say of their output's type."""
    for name in ("to", "dtype"):
        if name in node.attributes and not node.attributes[name].is_ref():
            return ir.DataType(node.attributes[name].as_int())
    if node.op_type == "Constant":
        tensor = constant_tensor(node.outputs[0])
        if tensor is not None:
            return tensor.dtype
        return ir.DataType.FLOAT if {"value_float", "value_floats"} & set(node.attributes) else ir.DataType.INT64
    return None

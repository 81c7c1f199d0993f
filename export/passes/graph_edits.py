"""What graph passes share: constants that nodes are given, and new nodes with names like those around them.

Nodes and their results are named ``<path of the layer>/<operator>``, numbered from the second on, which is what
``--exclude`` matches and what reports show; a pass keeps to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.convenience import get_const_tensor

__all__ = ["GraphEditor", "constant_input", "layer_of"]


def layer_of(node: ir.Node | None) -> str:
    """Path of the layer that a node belongs to; empty where its name has none."""
    return "" if node is None else (node.name or "").rpartition("/")[0]


def constant_input(node: ir.Node, index: int) -> NDArray[Any] | None:
    """What a node is given there; None where it is given nothing, or what the graph computes."""
    value = node.inputs[index] if len(node.inputs) > index else None
    tensor = None if value is None else get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


class GraphEditor:
    """Adds nodes and constants to one graph, or to one function's body, under names that are free there."""

    def __init__(self, graph: ir.Graph | ir.Function) -> None:
        self._graph = graph
        nodes = list(graph.all_nodes())
        values = [*graph.inputs, *(output for node in nodes for output in node.outputs)]
        self._taken = {node.name for node in nodes} | {value.name for value in values}
        if isinstance(graph, ir.Graph):
            self._taken |= set(graph.initializers)

    def free_name(self, name: str) -> str:
        """``name``, or with ``_2``, ``_3``, … behind it where that is taken; it is taken from now on."""
        number, free = 1, name
        while free in self._taken:
            number += 1
            free = f"{name}_{number}"
        self._taken.add(free)
        return free

    def insert(
        self,
        before: ir.Node | None,
        op_type: str,
        inputs: Sequence[ir.Value],
        *,
        layer: str,
        attributes: Mapping[str, Any] | None = None,
        dtype: ir.DataType | None = None,
        shape: ir.Shape | None = None,
    ) -> ir.Value:
        """Adds a node of one output.

        Args:
            before: the node that it precedes; None to put it last.
            op_type: standard operator.
            inputs: what it reads.
            layer: path that its name begins with.
            attributes: numbers, strings, lists of them, or tensors.
            dtype: of the output, where known.
            shape: likewise.

        Returns:
            Its output, named like the node.
        """
        name = self.free_name(f"{layer}/{op_type}" if layer else op_type)
        node = ir.node(op_type, inputs, attributes or {}, name=name)
        output = node.outputs[0]
        output.name, output.shape = name, shape
        output.type = None if dtype is None else ir.TensorType(dtype)
        if before is None:
            self._graph.append(node)
        else:
            self._graph.insert_before(before, node)
        return output

    def replace(self, node: ir.Node, value: ir.Value) -> None:
        """Puts ``value`` in place of the only output of ``node``, which is removed.

        An output of the graph keeps its name: ``value``, which a node must have computed then, takes it over.
        """
        output = node.outputs[0]
        value.type, value.shape = value.type or output.type, value.shape or output.shape
        name = output.name if output.is_graph_output() else None
        output.replace_all_uses_with(value, replace_graph_outputs=True)
        self._graph.remove(node, safe=True)
        if name is not None:
            value.name = name

    def constant(self, tensor: ir.TensorProtocol, *, name: str, before: ir.Node | None = None) -> ir.Value:
        """Adds a constant under ``name`` or one like it: an initializer or, as functions have none, a Constant node.

        Args:
            tensor: its value.
            name: where that is free.
            before: in a function, the node that reads it.
        """
        if isinstance(self._graph, ir.Function):
            layer = name.rpartition("/")[0]
            return self.insert(before, "Constant", (), layer=layer, attributes={"value": tensor})
        value = ir.Value(name=self.free_name(name), const_value=tensor)
        value.type, value.shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.numpy().shape)
        self._graph.register_initializer(value)
        return value

"""A float32 graph's types as float16, for compilers that compute in exactly the types that a graph is written in.

TensorRT 11 and TensorRT-RTX build strongly typed networks only: half precision is then a property of the graph. The
converters that exist (``onnxruntime.transformers.float16``, onnxconverter-common) choose by operator, not by layer, and
know nothing of model-local functions, so this one works on the IR: types flow through the graph in order, ONNX's own
operator schemas say which inputs may be float16, and a cast stands only where two types meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.passes.floats.float16_extremes import saturate_extremes
from s2tf_edge.export.passes.floats.float16_rules import keeps_float32
from s2tf_edge.export.passes.floats.float16_types import NodeTypes, constant_tensor
from s2tf_edge.export.passes.graph_edits import GraphEditor, layer_of

__all__ = ["Float16", "Keep"]

Keep = Callable[[ir.Node, str], bool]
"""Whether a node computes in float32; the second argument names the function that it lies in, empty in the graph."""

_Types = Sequence["ir.DataType | None"]

_FLOAT, _HALF = ir.DataType.FLOAT, ir.DataType.FLOAT16
_FLOATS: Final = (_FLOAT, _HALF)
_MOVES: Final = (
    *("Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "SpaceToDepth"),
    *("Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"),
)
"""Operators that only move values about: in float16 where what they move is float16 already."""
_ANY_TYPE: Final = ("Cast", "CastLike", "Shape", "Size")
"""Operators that take each input as it is."""
_GRAPHS: Final = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


class Float16(ir.passes.InPlacePass):
    """Computes in float16 wherever ``keep`` does not ask for float32.

    Inputs and outputs of the graph keep their types. Weights become float16 but for those that only float32 nodes read.
    Functions in the file are converted with the graph: a function's features take the types that its first node is
    called with, its weights those that their use in the body asks for, and further calls the same. Integers and
    booleans are never cast. Nodes of unknown operators, and subgraphs of control flow, stay in float32.
    """

    def __init__(self, keep: Keep = keeps_float32) -> None:
        self._keep = keep

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Converts in place.

        Raises:
            UnsupportedError: a weight does not fit into float16, and does not stand for infinity.
        """
        kept = saturate_extremes(model)
        functions = _Functions(model, lambda node, function: node in kept or self._keep(node, function))
        body = _Body(model.graph, functions, name="")
        modified = body.convert([value.dtype for value in model.graph.inputs])
        body.restore_outputs()
        if modified:
            RemoveUnusedNodesPass()(model)
            body.take_over_names()
        return ir.passes.PassResult(model, modified)


class _Functions:
    """The functions of a model, each converted at its first call."""

    def __init__(self, model: ir.Model, keep: Keep) -> None:
        self.keep = keep
        self.opsets = model.opset_imports
        self._functions = model.functions
        self._converted: dict[ir.OperatorIdentifier, tuple[_Types, _Types]] = {}

    def has(self, node: ir.Node) -> bool:
        return node.op_identifier() in self._functions

    def signature(self, node: ir.Node, arguments: _Types) -> tuple[_Types, _Types]:
        """Types of the inputs and outputs of the function that ``node`` calls.

        Args:
            node: a call.
            arguments: types of its inputs; None for float32 weights, which can become either.
        """
        identifier = node.op_identifier()
        if identifier not in self._converted:
            function = self._functions[identifier]
            inputs = [
                self._weight_type(value, function.name) if dtype is None else dtype
                for value, dtype in zip(function.inputs, arguments, strict=False)
            ]
            body = _Body(function, self, name=function.name)
            body.convert(inputs)
            self._converted[identifier] = inputs, [body.types.get(value) for value in function.outputs]
        return self._converted[identifier]

    def _weight_type(self, value: ir.Value, function: str) -> ir.DataType:
        return _FLOAT if any(self.keep(node, function) for node in value.consumers()) else _HALF


class _Body:
    """One graph or function while its types change."""

    def __init__(self, graph: ir.Graph | ir.Function, functions: _Functions, *, name: str) -> None:
        self.types: dict[ir.Value, ir.DataType] = {}
        self._graph = graph
        self._functions = functions
        self._name = name
        self._editor = GraphEditor(graph)
        self._casts: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}
        self._output_types = [value.dtype for value in graph.outputs]
        self._opsets = {**functions.opsets, **graph.opset_imports}
        self._modified = False

    def convert(self, inputs: _Types) -> bool:
        """Gives every value its type, from inputs of the given types; tells whether anything changed."""
        self._know(zip(self._graph.inputs, inputs, strict=False))
        if isinstance(self._graph, ir.Graph):
            self._know((value, value.dtype) for value in self._graph.initializers.values())
        nodes = list(self._graph)
        for node, following in zip(nodes, [*nodes[1:], None], strict=True):
            if self._functions.has(node):
                self._convert_call(node)
            else:
                self._convert_node(node)
            self._serve_subgraphs(node, before=following)
        return self._modified

    def _know(self, types: Iterable[tuple[ir.Value, ir.DataType | None]]) -> None:
        self.types.update((value, dtype) for value, dtype in types if dtype is not None)

    def _convert_call(self, node: ir.Node) -> None:
        inputs, outputs = self._functions.signature(node, [self._argument_type(value) for value in node.inputs])
        for index, dtype in enumerate(inputs[: len(node.inputs)]):
            self._feed(node, index, dtype)
        self._set_types(node, outputs)

    def _argument_type(self, value: ir.Value | None) -> ir.DataType | None:
        if value is None or (self.types.get(value) == _FLOAT and constant_tensor(value) is not None):
            return None
        return self.types.get(value)

    def _convert_node(self, node: ir.Node) -> None:
        allowed = NodeTypes(node, self._opsets)
        wanted = self._choose_type(node) if allowed.is_known else _FLOAT
        if node.op_type not in _ANY_TYPE:
            for index in range(len(node.inputs)):
                self._feed(node, index, wanted if allowed.takes_half(index) else _FLOAT)
        self._set_types(node, allowed.outputs(self.types))

    def _choose_type(self, node: ir.Node) -> ir.DataType:
        has_subgraph = any(each.type in _GRAPHS for each in node.attributes.values())
        if has_subgraph or self._functions.keep(node, self._name):
            return _FLOAT
        if node.op_type in _MOVES:
            moved = [value for value in node.inputs if value is not None and constant_tensor(value) is None]
            return _FLOAT if any(self.types.get(value) == _FLOAT for value in moved) else _HALF
        return _HALF

    def _feed(self, node: ir.Node, index: int, dtype: ir.DataType | None) -> None:
        """Makes input ``index`` of ``node`` a value of ``dtype`` where it is a float of the other type."""
        value = node.inputs[index]
        if value is None or dtype not in _FLOATS or self.types.get(value) not in _FLOATS:
            return
        if self.types[value] != dtype:
            node.replace_input_with(index, self._as(value, dtype, before=node))
            self._modified = True

    def _as(self, value: ir.Value, dtype: ir.DataType, *, before: ir.Node | None) -> ir.Value:
        """``value`` in the other type: one cast or constant serves all that come after."""
        key = (value, dtype)
        if key not in self._casts:
            tensor = constant_tensor(value)
            if tensor is None:
                self._casts[key] = self._cast(value, dtype, before=before)
            else:
                name = f"{value.name}/{dtype.name.lower()}"
                self._casts[key] = self._editor.constant(
                    _convert_tensor(tensor, dtype, before), name=name, before=before
                )
            self.types[self._casts[key]] = dtype
        return self._casts[key]

    def _cast(self, value: ir.Value, dtype: ir.DataType, *, before: ir.Node | None) -> ir.Value:
        producer, source = value.producer(), _cast_from(value)
        if source is not None and self.types.get(source) == dtype == _HALF:
            return source
        if source is not None and self.types.get(source) not in _FLOATS:
            # From an integer at once, rather than by way of the other type.
            value = source
        return self._editor.insert(
            before,
            "Cast",
            [value],
            layer=layer_of(producer or before),
            attributes={"to": dtype.value},
            dtype=dtype if isinstance(self._graph, ir.Graph) else None,
            shape=value.shape,
        )

    def _set_types(self, node: ir.Node, types: _Types) -> None:
        self._know(zip(node.outputs, types, strict=False))
        for value in node.outputs:
            is_written = value.type is not None or isinstance(self._graph, ir.Graph)
            if is_written and value in self.types and value.dtype != self.types[value]:
                value.dtype = self.types[value]
                self._modified = True

    def _serve_subgraphs(self, node: ir.Node, *, before: ir.Node | None) -> None:
        """Gives control flow in float32 what it reads of this graph."""
        graph = self._graph.graph if isinstance(self._graph, ir.Function) else self._graph
        for value in node.outputs:
            readers = [use for use in value.uses() if use.node.graph is not graph]
            if readers and self.types.get(value) == _HALF:
                whole = self._as(value, _FLOAT, before=before)
                for reader, index in readers:
                    reader.replace_input_with(index, whole)

    def restore_outputs(self) -> None:
        """Casts outputs of the graph back to the types they had, under the names they had."""
        outputs = self._graph.outputs
        for index, (value, dtype) in enumerate(zip(list(outputs), self._output_types, strict=True)):
            if dtype in _FLOATS and self.types.get(value) in _FLOATS and self.types[value] != dtype:
                name = value.name
                value.name = self._editor.free_name(f"{name}/{self.types[value].name.lower()}")
                outputs[index] = self._as(value, dtype, before=None)
                outputs[index].name = name

    def take_over_names(self) -> None:
        """Gives converted weights the names of those that nothing reads any more."""
        for (value, _), converted in self._casts.items():
            producer = value.producer()
            is_gone = not value.is_initializer() if producer is None else producer.graph is None
            if converted.is_initializer() and is_gone:
                converted.name = value.name


def _cast_from(value: ir.Value) -> ir.Value | None:
    """What ``value`` was cast from."""
    producer = value.producer()
    return producer.inputs[0] if producer is not None and producer.op_type == "Cast" else None


def _convert_tensor(tensor: ir.TensorProtocol, dtype: ir.DataType, reader: ir.Node | None) -> ir.TensorProtocol:
    array = tensor.numpy()
    with np.errstate(over="ignore"):
        converted = array.astype(dtype.numpy())
    finite = np.isfinite(array)
    if not np.isfinite(converted[finite]).all():
        layer = layer_of(reader) or (reader.name if reader else None) or tensor.name
        msg = (
            f"layer {layer} has a weight of {np.abs(array[finite]).max():g}, but float16 ends at "
            f"{np.finfo(np.float16).max:g}; export with `precision='fp32'`"
        )
        raise UnsupportedError(msg)
    return ir.tensor(converted)

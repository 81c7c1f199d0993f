"""Where QuantizeLinear and DequantizeLinear go in a graph.

For a compiler (TensorRT, OpenVINO) inputs of layers are quantized, once for all of a value's readers, and no results:
it fuses what follows a convolution into its kernel and rounds once, at the next layer's input. Into a residual sum goes
one convolution's result as it is, for the sum is fused with it; the other input, the shortcut, is quantized, so that
the kernel reads integers (TensorRT's developer guide, "Q/DQ Placement Recommendations").

    x ─ Q/DQ ┬ Conv ─ Relu ─ Q/DQ ─ Conv ─ Add ─ Relu ─ Q/DQ ─ …
             └──────────────────────────────┘

For integer kernels (ONNX Runtime) results of convolutions and sums are quantized too, behind the ReLU that is fused
with them:

    x ─ Q/DQ ─ Conv ─ Relu ─ Q/DQ ─ Conv ─ Q/DQ ─ Add ─ Relu ─ Q/DQ ─ …

Pools, paddings and concatenations whose readers are all quantized are quantized in either case. What leaves values as
they are has one scale on both sides, and the inputs of a concatenation have one in common. Products of two activations,
as in attention, stay in floating point beside their softmax.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import onnx_ir as ir

from s2tf_edge.calibration.qdq.styles import Style
from s2tf_edge.errors import UsageError

__all__ = ["Kept", "Placement", "before_layers", "place", "weight_axis"]

_LAYERS: Final = ("Conv", "Gemm", "MatMul")
_PASSING: Final = ("MaxPool", "AveragePool", "Concat", "Pad")
_SAME_SCALE: Final = ("MaxPool", "Concat", "Pad")
"""Operators that give no value that they did not get, or zero."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A layer that stays in floating point."""

    name: str
    operator: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Placement:
    """What is quantized."""

    layers: tuple[ir.Node, ...]
    """Convolutions and matrix products whose weights become integers."""
    edges: tuple[tuple[ir.Node, int], ...]
    """Nodes, and which of their inputs are quantized."""
    results: tuple[ir.Value, ...]
    """Values that are quantized for all of their readers, graph outputs included."""
    groups: tuple[tuple[ir.Value, ...], ...]
    """Values that share a scale; every value of ``edges`` and ``results`` is in one group."""
    kept: tuple[Kept, ...]

    @property
    def values(self) -> list[ir.Value]:
        """The activations that are quantized."""
        return [value for group in self.groups for value in group]


def place(graph: ir.Graph, style: Style, *, exclude: Sequence[str] = ()) -> Placement:
    """Decides what of a float graph is quantized.

    Args:
        graph: in order of computation, functions inlined.
        style: for what.
        exclude: regular expressions, searched in nodes' names; what matches stays in floating point.

    Raises:
        UsageError: an expression matches no convolution or matrix product.
    """
    placer = _Placer(graph, style, excluded=_excluded(graph, exclude))
    return placer.place()


def before_layers(graph: ir.Graph) -> set[ir.Value]:
    """Inputs of the graph and what is computed from them before the first convolution or matrix product."""
    before = set(graph.inputs)
    for node in graph:
        if node.op_type not in _LAYERS and all(value in before or _is_constant(value) for value in node.inputs):
            before |= set(node.outputs)
    return before


def weight_axis(layer: ir.Node) -> int:
    """The axis of a layer's weight that counts its outputs."""
    if layer.op_type == "Conv" or (layer.op_type == "Gemm" and layer.attributes.get_int("transB", False)):
        return 0
    return 1


def _excluded(graph: ir.Graph, expressions: Sequence[str]) -> set[ir.Node]:
    layers = [node.name or "" for node in graph if node.op_type in _LAYERS]
    for expression in expressions:
        if not any(re.search(expression, name) for name in layers):
            msg = f"`exclude` {expression!r} matches none of the {len(layers)} layers, such as {', '.join(layers[:4])}"
            raise UsageError(msg)
    return {node for node in graph if any(re.search(expression, node.name or "") for expression in expressions)}


@dataclass(kw_only=True)
class _Found:
    """What a placement is collected in."""

    layers: list[ir.Node] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    edges: dict[tuple[ir.Node, int], None] = field(default_factory=dict)
    results: dict[ir.Value, None] = field(default_factory=dict)
    passing: list[ir.Node] = field(default_factory=list)


class _Placer:
    def __init__(self, graph: ir.Graph, style: Style, *, excluded: set[ir.Node]) -> None:
        self._nodes = [node for node in graph if node.domain == ""]
        self._order = {node: index for index, node in enumerate(graph)}
        self._style = style
        self._excluded = excluded
        self._leading = _leading_to_layers(graph)
        self._found = _Found()

    def place(self) -> Placement:
        for node in self._nodes:
            self._place_layer(node)
        for node in self._nodes:
            self._place_sum(node)
        for node in reversed(self._nodes):
            self._place_passing(node)
        found = self._found
        values = [edge[0].inputs[edge[1]] for edge in found.edges]
        return Placement(
            layers=tuple(found.layers),
            edges=tuple(found.edges),
            results=tuple(found.results),
            groups=_groups([value for value in values if value is not None] + list(found.results), found.passing),
            kept=tuple(found.kept),
        )

    def _place_layer(self, node: ir.Node) -> None:
        if node.op_type not in _LAYERS:
            return
        reason = self._reason_to_keep(node)
        if reason:
            self._found.kept.append(Kept(name=node.name or "", operator=node.op_type, reason=reason))
            return
        self._found.layers.append(node)
        self._found.edges[node, 0] = None
        if self._needs_integer_result(node):
            self._found.results[_activated(node.outputs[0])] = None

    def _reason_to_keep(self, node: ir.Node) -> str:
        if node in self._excluded:
            return "excluded"
        weight = node.inputs[1]
        tensor = None if weight is None else ir.convenience.get_const_tensor(weight)
        if tensor is None:
            return "its operands are activations" if node.op_type == "MatMul" else "its weights are computed"
        if tensor.dtype != ir.DataType.FLOAT or (node.op_type != "Conv" and len(tensor.shape) != 2):
            return "its weights are not a float32 kernel or matrix"
        if node.op_type == "Gemm" and not _is_plain_gemm(node):
            return "its operands are transposed or scaled"
        if self._needs_integer_result(node) and node not in self._leading:
            return "its result is the network's, and integers would end where those of the calibration clips do"
        return ""

    def _needs_integer_result(self, node: ir.Node) -> bool:
        """Whether the kernel gives integers; those of matrix products may give floating point."""
        return self._style.integer_kernels and node.op_type == "Conv"

    def _place_sum(self, node: ir.Node) -> None:
        if node.op_type != "Add" or node in self._excluded or any(map(_is_constant, node.inputs)):
            return
        if self._style.integer_kernels:
            if any(value in self._found.results for value in node.inputs):
                self._found.edges |= {(node, 0): None, (node, 1): None}
                self._found.results[_activated(node.outputs[0])] = None
            return
        turns = [self._fusing_turn(value) for value in node.inputs]
        if max(turns) >= 0:
            # Of two convolutions the later one takes the sum: it finds the other's result ready.
            self._found.edges[node, turns.index(min(turns))] = None

    def _fusing_turn(self, value: ir.Value | None) -> int:
        """When the quantized convolution runs into whose kernel a sum of ``value`` can be fused; -1 for none."""
        producer = None if value is None else value.producer()
        if value is None or producer is None or producer.op_type != "Conv" or (producer, 0) not in self._found.edges:
            return -1
        is_free = len(value.uses()) == 1 and not value.is_graph_output()
        return self._order[producer] if is_free else -1

    def _place_passing(self, node: ir.Node) -> None:
        if node.op_type not in _PASSING or node in self._excluded or not self._is_read_as_integer(node.outputs[0]):
            return
        if any(other.op_type == "Pad" and not _pads_zeros(other) for other in (node, *node.predecessors())):
            return
        self._found.passing.append(node)
        count = len(node.inputs) if node.op_type == "Concat" else 1
        self._found.edges |= {(node, index): None for index in range(count) if not _is_constant(node.inputs[index])}

    def _is_read_as_integer(self, value: ir.Value) -> bool:
        uses = [(use.node, use.idx) for use in value.uses()]
        return bool(uses) and not value.is_graph_output() and all(use in self._found.edges for use in uses)


def _leading_to_layers(graph: ir.Graph) -> set[ir.Node]:
    """Nodes with a convolution or matrix product somewhere behind them."""
    leading: set[ir.Node] = set()
    for node in reversed(list(graph)):
        if any(reader.op_type in _LAYERS or reader in leading for reader in node.successors()):
            leading.add(node)
    return leading


def _activated(value: ir.Value) -> ir.Value:
    """The value, or what its only reader, a ReLU that is fused with it, makes of it."""
    readers = [use.node for use in value.uses()]
    if len(readers) == 1 and readers[0].op_type == "Relu" and not value.is_graph_output():
        return readers[0].outputs[0]
    return value


def _is_constant(value: ir.Value | None) -> bool:
    return value is None or ir.convenience.get_const_tensor(value) is not None


def _is_plain_gemm(node: ir.Node) -> bool:
    scales = [node.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    return scales == [1, 1] and not node.attributes.get_int("transA", False)


def _pads_zeros(node: ir.Node) -> bool:
    value = node.inputs[2] if len(node.inputs) > 2 else None
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    is_zero = value is None or (tensor is not None and not np.any(tensor.numpy()))
    return is_zero and node.attributes.get_string("mode", "constant") == "constant"


def _groups(values: Sequence[ir.Value], passing: Sequence[ir.Node]) -> tuple[tuple[ir.Value, ...], ...]:
    """``values`` by the scale that they share."""
    groups = {value: [value] for value in values}
    for node in passing:
        if node.op_type in _SAME_SCALE:
            joined = [groups[value] for value in (*node.inputs, *node.outputs) if value in groups]
            for group in joined[1:]:
                if group is not joined[0]:
                    joined[0].extend(group)
                    groups |= dict.fromkeys(group, joined[0])
    return tuple(tuple(group) for group in {id(group): group for group in groups.values()}.values())

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

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import onnx_ir as ir

from s2tf_edge.calibration.qdq.styles import Style
from s2tf_edge.errors import UsageError

__all__ = ["COMPUTED", "PRODUCT", "ExcludedLayer", "Placement", "before_layers", "place", "weight_axis"]

_LAYERS: Final = ("Conv", "Gemm", "MatMul")
_PASSING: Final = ("MaxPool", "AveragePool", "Concat", "Pad")
PRODUCT: Final = "its operands are activations"
COMPUTED: Final = "its weights are computed in the graph"
"""Why a product of two activations is left out here; NNCF quantizes it."""
_SAME_SCALE: Final = ("MaxPool", "Concat", "Pad")
"""Operators that give no value that they did not get, or zero."""


@dataclass(frozen=True, kw_only=True)
class ExcludedLayer:
    """A layer that stays in floating point."""

    name: str
    operator: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Which tensors get Q/DQ, which of them share a scale, and which layers were left out and why."""

    layers: tuple[ir.Node, ...]
    """Convolutions and matrix products whose weights become integers."""
    edges: tuple[tuple[ir.Node, int], ...]
    """Nodes, and which of their inputs are quantized."""
    results: tuple[ir.Value, ...]
    """Values that are quantized for all of their readers, graph outputs included."""
    groups: tuple[tuple[ir.Value, ...], ...]
    """Values that share a scale; every value of ``edges`` and ``results`` is in one group."""
    excluded: tuple[ExcludedLayer, ...]

    @property
    def values(self) -> list[ir.Value]:
        """The activations that are quantized."""
        return [value for group in self.groups for value in group]


def place(graph: ir.Graph, style: Style, *, excluded: Collection[str] = ()) -> Placement:
    """Decides what of a float graph is quantized.

    Args:
        graph: in order of computation, functions inlined.
        style: for what.
        excluded: names of nodes that stay in floating point.

    Raises:
        UsageError: the graph has no node of such a name.
    """
    placer = _Placer(graph, style, excluded=_find_nodes(graph, excluded))
    return placer.place()


def before_layers(graph: ir.Graph) -> set[ir.Value]:
    """The input of pixels and what is computed from it before the first convolution or matrix product.

    It is the first input; what a network that steps remembers, the others, has been through layers.
    """
    before = set(graph.inputs[:1])
    for node in graph:
        if node.op_type not in _LAYERS and all(value in before or _is_constant(value) for value in node.inputs):
            before |= set(node.outputs)
    return before


def weight_axis(layer: ir.Node) -> int:
    """The axis of a layer's weight that counts its outputs."""
    if layer.op_type == "Conv" or (layer.op_type == "Gemm" and layer.attributes.get_int("transB", False)):
        return 0
    return 1


def _find_nodes(graph: ir.Graph, names: Collection[str]) -> set[ir.Node]:
    known = [node.name for node in graph if node.name]
    for name in names:
        if name not in known:
            msg = f"the graph has no node {name!r} to exclude; it has {len(known)}, such as {', '.join(known[:4])}"
            raise UsageError(msg)
    return {node for node in graph if node.name in names}


@dataclass(kw_only=True)
class _PlacementParts:
    """A placement in the making; dictionaries without values are sets that keep their order."""

    layers: list[ir.Node] = field(default_factory=list)
    excluded: list[ExcludedLayer] = field(default_factory=list)
    edges: dict[tuple[ir.Node, int], None] = field(default_factory=dict)
    results: dict[ir.Value, None] = field(default_factory=dict)
    passing: list[ir.Node] = field(default_factory=list)


class _Placer:
    """Decides node by node."""

    def __init__(self, graph: ir.Graph, style: Style, *, excluded: set[ir.Node]) -> None:
        self._nodes = [node for node in graph if node.domain == ""]
        self._order = {node: index for index, node in enumerate(graph)}
        self._style = style
        self._excluded = excluded
        self._leading = _find_leading_to_layers(graph)
        self._parts = _PlacementParts()

    def place(self) -> Placement:
        """Layers first, for sums go by the layers before them; pools last and backwards, for they go by their readers.

        Both convolutions read integers; so Pad is read as integers only, and reads them; and so does MaxPool:

            Conv ─ Relu ─ MaxPool ─ Pad ─ Conv
            1             3         2     1
        """
        for node in self._nodes:
            self._place_layer(node)
        for node in self._nodes:
            self._place_sum(node)
        for node in reversed(self._nodes):
            self._place_passing(node)
        parts = self._parts
        values = [edge[0].inputs[edge[1]] for edge in parts.edges]
        return Placement(
            layers=tuple(parts.layers),
            edges=tuple(parts.edges),
            results=tuple(parts.results),
            groups=_group_by_scale(
                [value for value in values if value is not None] + list(parts.results), parts.passing
            ),
            excluded=tuple(parts.excluded),
        )

    def _place_layer(self, node: ir.Node) -> None:
        if node.op_type not in _LAYERS:
            return
        reason = self._find_reason_to_exclude(node)
        if reason:
            self._parts.excluded.append(ExcludedLayer(name=node.name or "", operator=node.op_type, reason=reason))
            return
        self._parts.layers.append(node)
        self._parts.edges[node, 0] = None
        if self._needs_integer_result(node):
            self._parts.results[_follow_relu(node.outputs[0])] = None

    def _find_reason_to_exclude(self, node: ir.Node) -> str:
        if node in self._excluded:
            return "excluded"
        weight = node.inputs[1]
        tensor = None if weight is None else ir.convenience.get_const_tensor(weight)
        if tensor is None:
            return PRODUCT if node.op_type == "MatMul" else COMPUTED
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
            # The kernel takes integers on both sides and gives them: worth it where one side has them anyway.
            if any(value in self._parts.results for value in node.inputs):
                self._parts.edges |= {(node, 0): None, (node, 1): None}
                self._parts.results[_follow_relu(node.outputs[0])] = None
            return
        turns = [self._find_fusing_turn(value) for value in node.inputs]
        if max(turns) >= 0:
            # Of two convolutions the later one takes the sum: it finds the other's result ready. The input that is
            # quantized is the other one, the shortcut:
            #
            #     node        Conv a   Conv b   Add (b, a)
            #     order            3        7
            #     turns                     [7, 3]    input 1 has the lowest turn: edge (Add, 1)
            self._parts.edges[node, turns.index(min(turns))] = None

    def _find_fusing_turn(self, value: ir.Value | None) -> int:
        """When the quantized convolution runs into whose kernel a sum of ``value`` can be fused; -1 for none."""
        producer = None if value is None else value.producer()
        if value is None or producer is None or producer.op_type != "Conv" or (producer, 0) not in self._parts.edges:
            return -1
        # What somebody else reads as well has to be written out before the sum.
        is_free = len(value.uses()) == 1 and not value.is_graph_output()
        return self._order[producer] if is_free else -1

    def _place_passing(self, node: ir.Node) -> None:
        if node.op_type not in _PASSING or node in self._excluded or not self._is_read_as_integer(node.outputs[0]):
            return
        # Padding that is not zero, such as minus infinity before a pool, lies outside of any range worth its scale.
        if any(other.op_type == "Pad" and not _pads_zeros(other) for other in (node, *node.predecessors())):
            return
        self._parts.passing.append(node)
        count = len(node.inputs) if node.op_type == "Concat" else 1
        self._parts.edges |= {(node, index): None for index in range(count) if not _is_constant(node.inputs[index])}

    def _is_read_as_integer(self, value: ir.Value) -> bool:
        uses = [(use.node, use.idx) for use in value.uses()]
        return bool(uses) and not value.is_graph_output() and all(use in self._parts.edges for use in uses)


def _find_leading_to_layers(graph: ir.Graph) -> set[ir.Node]:
    """Nodes with a convolution or matrix product somewhere behind them."""
    leading: set[ir.Node] = set()
    for node in reversed(list(graph)):
        if any(reader.op_type in _LAYERS or reader in leading for reader in node.successors()):
            leading.add(node)
    return leading


def _follow_relu(value: ir.Value) -> ir.Value:
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


def _group_by_scale(values: Sequence[ir.Value], passing: Sequence[ir.Node]) -> tuple[tuple[ir.Value, ...], ...]:
    """``values`` by the scale that they share.

    Every value begins alone, and operators that keep values as they are join groups; a list is one group, and all of
    its values point to it:

        a ─ MaxPool ─ b ┐
                        Concat ─ d        {a: [a, b, c, d], b: same, c: same, d: same}
                    c ──┘
    """
    groups = {value: [value] for value in values}
    for node in passing:
        if node.op_type in _SAME_SCALE:
            joined = [groups[value] for value in (*node.inputs, *node.outputs) if value in groups]
            for group in joined[1:]:
                if group is not joined[0]:
                    joined[0].extend(group)
                    groups |= dict.fromkeys(group, joined[0])
    # Each list once: lists that are equal are the same one, as a value is in one group only.
    return tuple(tuple(group) for group in {id(group): group for group in groups.values()}.values())

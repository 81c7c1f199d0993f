"""Multiply-accumulates (MACs) of a graph, as a measure of what it costs that no machine enters into."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, ShapeInferencePass

__all__ = ["count_macs"]

logger = logging.getLogger(__name__)


def count_macs(model: ir.Model | onnx.ModelProto) -> dict[str, int]:
    """Counts the MACs of convolutions, matrix products and contractions, by operator.

    Functions in the file are counted by what is in them. Additions of a bias count nothing, as everywhere in the field.
    Nodes of unknown shape are left out, and a warning says how many of which operator were.

    Args:
        model: stays as it is.

    Returns:
        MACs of Conv, Einsum, Gemm and MatMul, those that the graph has, for one clip where the number of clips is free.
    """
    graph = _with_shapes(model)
    counts: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for node in graph.all_nodes():
        if node.domain == "" and node.op_type in _MACS:
            macs = _node_macs(node)
            counts[node.op_type] += macs or 0
            unknown[node.op_type] += macs is None
    if +unknown:
        logger.warning("the MACs of these nodes are not known and not counted: %s", dict(+unknown))
    return dict(sorted(counts.items()))


def _with_shapes(model: ir.Model | onnx.ModelProto) -> ir.Graph:
    """A copy of the graph, inlined, with a shape for every value, symbols taken as 1."""
    copy = ir.from_proto(model) if isinstance(model, onnx.ModelProto) else model.clone()
    InlinePass()(copy)
    for value in _values(copy.graph):
        if value.shape is not None:
            value.shape = value.shape.evaluate(dict.fromkeys(value.shape.free_symbols(), 1))
    ShapeInferencePass(strict_mode=False)(copy)
    return copy.graph


def _values(graph: ir.Graph) -> list[ir.Value]:
    return [*graph.inputs, *(output for node in graph.all_nodes() for output in node.outputs)]


def _node_macs(node: ir.Node) -> int | None:
    inputs = [_sides(value) for value in node.inputs[:2]]
    output = _sides(node.outputs[0])
    if output is None or None in inputs:
        return None
    return _MACS[node.op_type](node, [sides or () for sides in inputs], output)


def _sides(value: ir.Value | None) -> tuple[int, ...] | None:
    shape = None if value is None else value.shape
    sides = () if shape is None else tuple(side for side in shape if isinstance(side, int))
    return sides if shape is not None and len(sides) == len(shape) else None


_Sides = tuple[int, ...]


def _conv(_node: ir.Node, inputs: list[_Sides], output: _Sides) -> int:
    """The weight is [outputs, inputs / groups, *kernel]."""
    return math.prod(output) * math.prod(inputs[1][1:])


def _matmul(_node: ir.Node, inputs: list[_Sides], output: _Sides) -> int:
    return math.prod(output) * inputs[0][-1]


def _gemm(node: ir.Node, inputs: list[_Sides], output: _Sides) -> int:
    return math.prod(output) * inputs[0][0 if node.attributes.get_int("transA", 0) else 1]


def _einsum(node: ir.Node, inputs: list[_Sides], _output: _Sides) -> int | None:
    """One for each combination of indices; of two operands without an ellipsis only."""
    terms = node.attributes["equation"].as_string().replace(" ", "").partition("->")[0].split(",")
    if len(terms) != 2 or "." in "".join(terms):
        return None
    sides = {
        label: side for term, shape in zip(terms, inputs, strict=True) for label, side in zip(term, shape, strict=True)
    }
    return math.prod(sides.values())


_MACS: Final[Mapping[str, Callable[[ir.Node, list[_Sides], _Sides], int | None]]] = {
    "Conv": _conv,
    "Einsum": _einsum,
    "Gemm": _gemm,
    "MatMul": _matmul,
}

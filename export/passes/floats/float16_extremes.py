"""Numbers beyond float16 that only stand for infinity, such as the float32 minimum in a mask: made to stay harmless.

float16 ends at 65504. A smallest float that pads a max-pool, or marks what a softmax is to ignore, is no weight: what
counts is that nothing is smaller. Where a maximum or a bound is taken at once, the number becomes float16's own
extreme; where it is computed with first, all is computed in float32 up to the operator that brings it back into range.
Anything else would overflow, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.passes.floats.float16_rules import keeps_float32
from s2tf_edge.export.passes.floats.float16_types import constant_tensor
from s2tf_edge.export.passes.graph_edits import GraphEditor, layer_of

__all__ = ["HALF_MAX", "saturate_extremes"]

HALF_MAX: Final = 65504.0
"""The largest float16."""
_BOUNDS: Final = {("Max", -1), ("Min", 1)}
"""Operators that a constant of that sign is a bound in: float16 values cannot be beyond it."""
_CLIP_BOUNDS: Final = {1: -1, 2: 1}
"""Inputs of Clip, and the sign for which they clip nothing."""
_EXTREMES: Final = {
    -1: frozenset(["MaxPool", "GlobalMaxPool", "ReduceMax", "Max", "Relu"]),
    1: frozenset(["ReduceMin", "Min"]),
}
"""Operators that choose something else wherever there is anything else, by the sign of what they leave."""
_MOVES: Final = frozenset(
    [
        *("Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "Split", "Squeeze"),
        *("Tile", "Transpose", "Unsqueeze"),
    ]
)
_COMPUTES: Final = _MOVES | {"Add", "Cast", "Div", "Mul", "Neg", "Sub", "Where"}
"""What may be done with such a number in float32 before it is gone."""
_BOUNDED: Final = frozenset(
    [
        *("Softmax", "Sigmoid", "HardSigmoid", "Tanh", "Erf", "Clip"),
        *("ArgMax", "ArgMin", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "IsInf", "IsNaN"),
    ]
)
_ENDS: Final = {-1: _BOUNDED | _EXTREMES[-1] | {"Exp", "LogSoftmax"}, 1: _BOUNDED | _EXTREMES[1]}
"""Operators whose results are back in the range of float16, by the sign of what they are given."""


def saturate_extremes(model: ir.Model) -> set[ir.Node]:
    """Makes constants beyond float16 harmless where they stand for infinity; ``model``, in float32, is changed.

    Returns:
        Nodes that are to compute in float32.

    Raises:
        UnsupportedError: such a constant goes where float16 would overflow; the message names the layer.
    """
    kept: set[ir.Node] = set()
    graphs: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for graph in graphs:
        editor = GraphEditor(graph)
        for node in list(graph):
            for index, value in enumerate(node.inputs):
                array = None if value is None or node in kept else _extreme_constant(value)
                if array is not None:
                    kept |= _treat(node, index, array, editor)
    return kept


def _extreme_constant(value: ir.Value) -> NDArray[Any] | None:
    """A constant with finite numbers at or beyond float16's ends: an initializer, or what ConstantOfShape repeats."""
    tensor, producer = constant_tensor(value), value.producer()
    if tensor is None and producer is not None and producer.op_type == "ConstantOfShape":
        attribute = producer.attributes.get("value")
        tensor = None if attribute is None or attribute.is_ref() else attribute.as_tensor()
    if tensor is None or tensor.dtype != ir.DataType.FLOAT:
        return None
    array = tensor.numpy()
    return array if (_is_extreme(array)).any() else None


def _is_extreme(array: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(array) & (np.abs(array) >= HALF_MAX))


def _treat(node: ir.Node, index: int, array: NDArray[Any], editor: GraphEditor) -> set[ir.Node]:
    """Mends one use of a constant; gives the nodes that are to compute in float32 for it."""
    if keeps_float32(node):
        return set()
    signs = set(np.sign(array[_is_extreme(array)]).astype(int).tolist())
    value = node.inputs[index]
    is_constant = value is not None and constant_tensor(value) is not None
    if value is not None and is_constant and all(_is_bound(node, index, sign) for sign in signs):
        saturated = ir.tensor(np.clip(array, -HALF_MAX, HALF_MAX))
        node.replace_input_with(index, editor.constant(saturated, name=f"{value.name}/float16", before=node))
        return set()
    regions = [_region(node, index, sign) for sign in signs]
    if all(region is not None for region in regions):
        return {each for region in regions if region for each in region}
    if float(np.abs(array[_is_extreme(array)]).max()) > HALF_MAX:
        raise _overflow(node, array)
    return set()


def _is_bound(node: ir.Node, index: int, sign: int) -> bool:
    """Whether a number beyond float16 does there what float16's own extreme does."""
    if (node.op_type, sign) in _BOUNDS or (node.op_type == "Clip" and _CLIP_BOUNDS.get(index) == sign):
        return True
    if node.op_type == "Pad" and index == 2:
        return _ends_in(node, _EXTREMES[sign])
    return node.op_type == "Where" and index > 0 and _ends_in(node, _EXTREMES[sign])


def _ends_in(node: ir.Node, operators: frozenset[str]) -> bool:
    """Whether all that reads a result, moved about or not, is one of ``operators``."""
    readers = list(_readers(node))
    return bool(readers) and all(
        reader is not None
        and (reader.op_type in operators or (reader.op_type in _MOVES and _ends_in(reader, operators)))
        for reader in readers
    )


def _readers(node: ir.Node) -> Iterator[ir.Node | None]:
    """Nodes that read a result, None for an output of the graph."""
    if any(output.is_graph_output() for output in node.outputs):
        yield None
    yield from (reader for reader, _ in _uses(node))


def _uses(node: ir.Node) -> list[tuple[ir.Node, int]]:
    """Where results are read; but in control flow, which computes in float32 anyway."""
    uses = [use for output in node.outputs for use in output.uses()]
    return [(use.node, use.idx) for use in uses if use.node.graph is node.graph]


def _region(node: ir.Node, index: int, sign: int) -> set[ir.Node] | None:
    """The nodes that a number of that sign goes through, from its reader to where it ends; None where it goes on."""
    seen: set[tuple[ir.Node, int]] = set()
    waiting = [(node, index, sign)]
    while waiting:
        each, at, now = waiting.pop()
        if (each, now) in seen:
            continue
        seen.add((each, now))
        if each.op_type in _ENDS[now] or keeps_float32(each):
            continue
        is_output = any(output.is_graph_output() for output in each.outputs)
        if each.op_type not in _COMPUTES or each.domain or is_output:
            return None
        after = -now if each.op_type == "Neg" or (each.op_type == "Sub" and at == 1) else now
        waiting += [(reader, place, after) for reader, place in _uses(each)]
    return {each for each, _ in seen}


def _overflow(node: ir.Node, array: NDArray[Any]) -> UnsupportedError:
    largest = float(np.abs(array[np.isfinite(array)]).max())
    return UnsupportedError(
        f"layer {layer_of(node) or node.name} has a weight of {largest:g}, but float16 ends at {HALF_MAX:g}, and no "
        "maximum, bound or softmax takes it back; export with `precision='fp32'`"
    )

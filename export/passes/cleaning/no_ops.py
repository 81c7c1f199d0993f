"""Nodes that change nothing, as exporters leave them behind: found by what they are given, not by what they are for.

- Identity, Cast to the same type, Dropout outside training;
- Reshape, Flatten, Squeeze, Unsqueeze, Expand and Tile to the shape that a value has; Transpose in the given order;
- Slice of the whole, Pad by nothing, pools of one value, Concat and Sum of one;
- Scatter of nothing; plus or minus 0, times or by 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import onnx_ir as ir

from s2tf_edge.export.passes.graph_edits import constant_input

__all__ = ["NO_OPS", "passed_input"]


def passed_input(node: ir.Node) -> ir.Value | None:
    """The input that a standard node passes on as its first output unchanged; None where it may change something."""
    find = _PASSED.get(node.op_type)
    return None if find is None or node.domain else find(node)


def _first(node: ir.Node) -> ir.Value | None:
    return node.inputs[0]


def _first_if(is_idle: Callable[[ir.Node], bool]) -> Callable[[ir.Node], ir.Value | None]:
    return lambda node: node.inputs[0] if is_idle(node) else None


def _keeps_shape(node: ir.Node) -> bool:
    """Whether the first output has the shape of the first input, as far as both are known."""
    return node.inputs[0] is not None and _is_same_shape(node.inputs[0], node.outputs[0])


def _is_same_shape(a: ir.Value, b: ir.Value) -> bool:
    if a.shape is None or b.shape is None or len(a.shape) != len(b.shape):
        return False
    return all(_is_same_side(one, other) for one, other in zip(a.shape, b.shape, strict=True))


def _is_same_side(a: int | ir.SymbolicDim, b: int | ir.SymbolicDim) -> bool:
    # Two sides without a name may be any two.
    return a == b and (isinstance(a, int) or a.value is not None)


def _is_idle_dropout(node: ir.Node) -> bool:
    """Whether it is in inference mode, which an input says from opset 12 on, and nothing reads its mask."""
    mode = node.inputs[2] if len(node.inputs) > 2 else None
    given = constant_input(node, 2)
    is_idle = mode is None or (given is not None and not given.any())
    return is_idle and not any(mask.uses() or mask.is_graph_output() for mask in node.outputs[1:])


def _is_idle_cast(node: ir.Node) -> bool:
    to = node.attributes.get("to")
    x = node.inputs[0]
    return x is not None and to is not None and not to.is_ref() and x.dtype == ir.DataType(to.as_int())


def _is_whole_slice(node: ir.Node) -> bool:
    """Of the length of the whole, and not backward: then it begins at the beginning."""
    steps = constant_input(node, 4)
    has_steps = len(node.inputs) > 4 and node.inputs[4] is not None
    return _keeps_shape(node) and (not has_steps or (steps is not None and bool((steps > 0).all())))


def _is_empty_pad(node: ir.Node) -> bool:
    """By nothing at any side; what is added here and taken away there leaves the shape too."""
    attribute = node.attributes.get("pads")
    if attribute is not None:
        return not attribute.is_ref() and not any(attribute.as_ints())
    pads = constant_input(node, 1)
    return pads is not None and not pads.any()


def _is_kept_order(node: ir.Node) -> bool:
    order = node.attributes.get("perm")
    return order is not None and not order.is_ref() and list(order.as_ints()) == list(range(len(order.as_ints())))


def _is_pool_of_one(node: ir.Node) -> bool:
    kernel = node.attributes.get("kernel_shape")
    is_one = kernel is not None and not kernel.is_ref() and set(kernel.as_ints()) == {1}
    pads = node.attributes.get("pads")
    is_padded = pads is not None and (pads.is_ref() or any(pads.as_ints()))
    return is_one and not is_padded and _keeps_shape(node) and len(node.outputs) == 1


def _is_alone(node: ir.Node) -> bool:
    return len(node.inputs) == 1


def _scatters_nothing(node: ir.Node) -> bool:
    updates = node.inputs[2]
    return updates is not None and updates.shape is not None and 0 in updates.shape.dims


def _beside(number: int, *, either: bool) -> Callable[[ir.Node], ir.Value | None]:
    """The operand beside a constant of nothing but ``number``, where that does not widen it."""

    def find(node: ir.Node) -> ir.Value | None:
        for own, other in ((0, 1), (1, 0)) if either else ((0, 1),):
            value, constant = node.inputs[own], constant_input(node, other)
            is_neutral = constant is not None and constant.size > 0 and bool((constant == number).all())
            if value is not None and is_neutral and _is_same_shape(value, node.outputs[0]):
                return value
        return None

    return find


_PASSED: Final[Mapping[str, Callable[[ir.Node], ir.Value | None]]] = {
    "Identity": _first,
    "Cast": _first_if(_is_idle_cast),
    "Dropout": _first_if(_is_idle_dropout),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile"), _first_if(_keeps_shape)),
    "Transpose": _first_if(_is_kept_order),
    "Slice": _first_if(_is_whole_slice),
    "Pad": _first_if(_is_empty_pad),
    **dict.fromkeys(("AveragePool", "MaxPool"), _first_if(_is_pool_of_one)),
    **dict.fromkeys(("Concat", "Sum", "Mean", "Max", "Min"), _first_if(_is_alone)),
    **dict.fromkeys(("ScatterND", "ScatterElements", "Scatter"), _first_if(_scatters_nothing)),
    "Add": _beside(0, either=True),
    "Sub": _beside(0, either=False),
    "Mul": _beside(1, either=True),
    "Div": _beside(1, either=False),
}
NO_OPS: Final = frozenset(_PASSED)
"""Operators that may change nothing."""

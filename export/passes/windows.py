"""Windows of pools and transposed convolutions said by ``pads`` alone, which all compilers understand alike.

Rounding up (``ceil_mode``), padding that the operator works out for itself (``auto_pad``) and a size asked for
(``output_shape``) all come down to how far the last windows reach beyond the end. Where sizes are known that is a
number, and whoever reads it has nothing left to decide: which windows are left out, what an average is divided by, on
which side of an odd padding the larger half goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from s2tf_edge.export.passes.graph_edits import GraphEditor, layer_of

__all__ = ["DropWindows", "PadPools", "PadTransposes", "asks_for_size", "pads_dilated_by_itself", "rounds_up"]

_POOLS: Final = ("AveragePool", "LpPool", "MaxPool")
_ITSELF: Final = ("SAME_UPPER", "SAME_LOWER")
_Sides = tuple[int, ...]


def rounds_up(node: ir.Node) -> bool:
    """Whether the last windows of a pool may reach beyond its padding."""
    # An operator that pads by itself gives as many windows as strides fit, and rounds nothing.
    return bool(node.attributes.get_int("ceil_mode", 0)) and _auto_pad(node) not in _ITSELF


def asks_for_size(node: ir.Node) -> bool:
    """Whether the padding of a transposed convolution follows from the size of its result."""
    return "output_shape" in node.attributes or _auto_pad(node) in _ITSELF


def pads_dilated_by_itself(node: ir.Node) -> bool:
    """Whether an operator with dilations works its padding out."""
    return any(step != 1 for step in node.attributes.get_ints("dilations", ())) and _auto_pad(node) in _ITSELF


class PadPools(ir.passes.InPlacePass):
    """Pools that round up, as pools that round down over as much padding.

        positions     p 0 1 2 3 4 p .        kernel 3, stride 2, padding 1; p is padding, "." beyond it
        windows      [    ] [    ]
                         [    ] [    ]       the last only where it is rounded up

    A maximum and a sum do not see what is beyond. An average that counts padding counts p, but not what is beyond: p
    becomes zeros of a Pad before it, and what is beyond becomes padding that is not counted. A window that would begin
    in the padding behind the end is left out.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites pools whose sizes are known, and leaves the rest."""
        editor = GraphEditor(model.graph)
        found = [each for node in model.graph if (each := _pool_windows(node)) is not None]
        for windows in found:
            _pad_pool(windows, editor)
            _set_sides(windows.node, windows.results)
        return ir.passes.PassResult(model, bool(found))


class DropWindows(ir.passes.InPlacePass):
    """The same for pools of which a window is left out, as those of PyTorch are where they round up.

    ONNX's own inference of shapes counts that window (up to onnx 1.23 at least), and then contradicts the shapes that
    PyTorch wrote into the file, or what comes after.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """One after the other, as each changes the shapes behind it."""
        modified = False
        declared = {output: output.shape for output in model.graph.outputs}
        while any(rounds_up(node) for node in model.graph if node.op_type in _POOLS):
            ShapeInferencePass(strict_mode=False)(model)
            windows = next((each for node in model.graph if (each := _pool_windows(node)) and each.drops), None)
            if windows is None:
                break
            _pad_pool(windows, GraphEditor(model.graph))
            _forget_shapes_after(windows.node, declared)
            modified = True
        return ir.passes.PassResult(model, modified)


def _forget_shapes_after(node: ir.Node, declared: Mapping[ir.Value, ir.Shape | None]) -> None:
    """All but those of the graph's outputs that the file declares."""
    changed = list(node.outputs)
    seen: set[ir.Value] = set()
    while changed:
        value = changed.pop()
        if value in seen:
            continue
        seen.add(value)
        value.shape = declared.get(value)
        changed.extend(output for reader, _ in value.uses() for output in reader.outputs)


class PadTransposes(ir.passes.InPlacePass):
    """Transposed convolutions whose result is to have a certain size, with the padding that gives it.

    It is divided as ONNX Runtime does, where an odd one is larger in front unless ``auto_pad`` is SAME_UPPER.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites those whose sizes are known and need no more than padding, and leaves the rest."""
        modified = [_pad_transpose(node) for node in model.graph if _is_transpose(node) and asks_for_size(node)]
        return ir.passes.PassResult(model, any(modified))


@dataclass(frozen=True, kw_only=True)
class _Windows:
    """A pool that rounds up, and its sizes; one number an axis."""

    node: ir.Node
    sides: _Sides
    results: _Sides
    """Windows."""
    front: _Sides
    back: _Sides
    drops: bool
    """Whether a window is left out that would see nothing but padding."""
    reach: _Sides
    """How far the last window reaches beyond the input; negative where it ends before."""


def _pool_windows(node: ir.Node) -> _Windows | None:
    """None of what is no pool that rounds up, or of one whose sizes are not known."""
    if node.domain or node.op_type not in _POOLS or not rounds_up(node):
        return None
    sides, kernel = _sides(node), node.attributes.get_ints("kernel_shape", ())
    if sides is None or len(sides) != len(kernel):
        return None
    strides, dilations = _steps(node, "strides", len(sides)), _steps(node, "dilations", len(sides))
    spans = tuple((size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True))
    pads = tuple(node.attributes.get_ints("pads", [0] * 2 * len(sides)))
    front, back = pads[: len(sides)], pads[len(sides) :]
    fitting = [_last(*axis) for axis in zip(sides, spans, strides, front, back, strict=True)]
    # The last may see nothing but padding.
    ends = zip(fitting, strides, sides, front, strict=True)
    steps = [step - 1 if step * stride >= side + before else step for step, stride, side, before in ends]
    axes = zip(steps, strides, spans, sides, front, strict=True)
    reach = tuple(step * stride + span - side - before for step, stride, span, side, before in axes)
    if node.op_type == "AveragePool" and any(end >= size for end, size in zip(reach, kernel, strict=True)):
        # Too far to be padding of its own, and what is not its own would count.
        return None
    results = tuple(step + 1 for step in steps)
    drops = steps != fitting
    return _Windows(node=node, sides=sides, results=results, front=front, back=back, drops=drops, reach=reach)


def _last(side: int, span: int, stride: int, front: int, back: int) -> int:
    """Number of the last window, from 0, rounded up."""
    return -((side + front + back - span) // -stride)


def _pad_pool(windows: _Windows, editor: GraphEditor) -> None:
    node, front = windows.node, windows.front
    ends = tuple(max(0, reach) for reach in windows.reach)
    beyond = tuple(max(0, reach - back) for reach, back in zip(windows.reach, windows.back, strict=True))
    counts = node.op_type == "AveragePool" and bool(node.attributes.get_int("count_include_pad", 0))
    if counts and not any(beyond):
        ends = windows.back
    elif counts:
        _pad_before(windows, editor, back=windows.back, value=0.0)
        node.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 0)
        front, ends = (0,) * len(front), beyond
    kernel = node.attributes.get_ints("kernel_shape", ())
    if any(end >= size for end, size in zip(ends, kernel, strict=True)):
        # No pool may pad by its whole kernel, which one with dilations can need.
        _pad_before(windows, editor, back=ends, value=-np.inf if node.op_type == "MaxPool" else 0.0)
        front, ends = (0,) * len(front), (0,) * len(ends)
    for name in ("ceil_mode", "auto_pad"):
        node.attributes.pop(name, None)
    node.attributes["pads"] = ir.AttrInt64s("pads", [*front, *ends])


def _pad_before(windows: _Windows, editor: GraphEditor, *, back: _Sides, value: float) -> None:
    """Puts the padding into a Pad of its own, where there is any."""
    node, x = windows.node, windows.node.inputs[0]
    if x is None or x.shape is None or not any((*windows.front, *back)):
        return
    layer, dtype = layer_of(node), x.dtype or ir.DataType.FLOAT
    pads = np.array([0, 0, *windows.front, 0, 0, *back], np.int64)
    fill = ir.tensor(np.asarray(value, dtype.numpy()))
    inputs = [x, editor.constant(ir.tensor(pads), name=f"{layer}/pads"), editor.constant(fill, name=f"{layer}/fill")]
    sides = [sum(axis) for axis in zip(windows.front, windows.sides, back, strict=True)]
    shape = ir.Shape([*x.shape[:2], *sides])
    node.replace_input_with(0, editor.insert(node, "Pad", inputs, layer=layer, dtype=x.dtype, shape=shape))


def _is_transpose(node: ir.Node) -> bool:
    return node.domain == "" and node.op_type == "ConvTranspose"


def _pad_transpose(node: ir.Node) -> bool:
    sides, weight = _sides(node), node.inputs[1]
    kernel = () if weight is None or weight.shape is None else _known(weight.shape[2:])
    if sides is None or len(sides) != len(kernel):
        return False
    attributes, count = node.attributes, len(sides)
    strides, dilations = _steps(node, "strides", count), _steps(node, "dilations", count)
    more = attributes.get_ints("output_padding", [0] * count)
    wanted = attributes.get_ints("output_shape", [side * step for side, step in zip(sides, strides, strict=True)])
    axes = zip(sides, kernel, strides, dilations, more, wanted[-count:], strict=True)
    spare = [(side - 1) * s + extra + (size - 1) * d + 1 - out for side, size, s, d, extra, out in axes]
    more = [extra + max(0, -each) for extra, each in zip(more, spare, strict=True)]
    if any(extra >= max(steps) for extra, *steps in zip(more, strides, dilations, strict=True)):
        return False
    smaller = [max(0, each) // 2 for each in spare]
    larger = [max(0, each) - half for each, half in zip(spare, smaller, strict=True)]
    pads = [*smaller, *larger] if _auto_pad(node) == "SAME_UPPER" else [*larger, *smaller]
    for name in ("output_shape", "auto_pad"):
        attributes.pop(name, None)
    attributes["pads"] = ir.AttrInt64s("pads", pads)
    attributes["output_padding"] = ir.AttrInt64s("output_padding", more)
    _set_sides(node, wanted[-count:])
    return True


def _sides(node: ir.Node) -> _Sides | None:
    """Lengths of the axes that windows move along; None where they are not known."""
    x = node.inputs[0]
    sides = () if x is None or x.shape is None else x.shape[2:]
    return _known(sides) or None


def _known(sides: Sequence[int | ir.SymbolicDim]) -> _Sides:
    """The lengths; none at all where one is not known."""
    known = tuple(side for side in sides if isinstance(side, int))
    return known if len(known) == len(sides) else ()


def _set_sides(node: ir.Node, sides: Sequence[int]) -> None:
    """ONNX's own inference of shapes errs on operators that work their windows out."""
    x, output = node.inputs[0], node.outputs[0]
    weight = node.inputs[1] if _is_transpose(node) else None
    if x is None or x.shape is None:
        return
    channels = x.shape[1]
    if weight is not None and weight.shape is not None and isinstance(weight.shape[1], int):
        channels = weight.shape[1] * node.attributes.get_int("group", 1)
    output.shape = ir.Shape([x.shape[0], channels, *sides])


def _steps(node: ir.Node, name: str, count: int) -> _Sides:
    return tuple(node.attributes.get_ints(name, [1] * count))


def _auto_pad(node: ir.Node) -> str:
    return node.attributes.get_string("auto_pad", "NOTSET")

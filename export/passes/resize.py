"""Resizes that compilers lack, as products with constant matrices; and pads that go round, as a choice of positions.

Both work on one axis after the other, so that what they do to each is a matrix of constants where sizes are known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from s2tf_edge.export.passes.graph_edits import GraphEditor, constant_input, layer_of
from s2tf_edge.export.passes.rewrites import NodeRewrite
from s2tf_edge.extras import require

__all__ = ["ResizeToMatMul", "WrapToGather", "counts_axes_from_the_end", "is_rare_resize"]

_RARE: Final = ("half_pixel_symmetric", "tf_crop_and_resize")
_INPUTS: Final = ("x", "roi", "scales", "sizes")
_Matrix = NDArray[np.float32]


def is_rare_resize(node: ir.Node) -> bool:
    """Whether a resize counts positions as few do, or looks at more pixels where it shrinks."""
    attributes = node.attributes
    how = attributes.get_string("coordinate_transformation_mode", "half_pixel")
    return how in _RARE or bool(attributes.get_int("antialias", 0))


def counts_axes_from_the_end(node: ir.Node) -> bool:
    """Whether an axis to resize is given by a negative number."""
    return any(axis < 0 for axis in node.attributes.get_ints("axes", ()))


class ResizeToMatMul(NodeRewrite):
    """A rare resize as one matrix for each axis, and axes counted from the front in any other.

    What matrices those are is asked of ONNX Runtime, which resizes an identity matrix: so the product computes what it
    does, to the order of summation. Where a cut leaves the picture, only zeros can be put in.
    """

    operators = frozenset(["Resize"])

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> ir.Value | None:
        """The last product, in the shape of the result."""
        x, shape = node.inputs[0], node.outputs[0].shape
        if x is None or x.shape is None or shape is None:
            return None
        _count_from_the_front(node, len(x.shape))
        if not is_rare_resize(node) or node.attributes.get_float("extrapolation_value", 0.0) != 0.0:
            return None
        sides, wanted = _known(x.shape), _known(shape)
        given = _given(node)
        if sides is None or wanted is None or given is None:
            return None
        axes = list(node.attributes.get_ints("axes", range(len(x.shape))))
        matrices = [
            (axis, _matrix(node, given, place, side=sides[axis - 1], wanted=wanted[axis - 1]))
            for place, axis in enumerate(axes)
            if axis > 0 and not _is_idle(given, place, axes, side=sides[axis - 1], wanted=wanted[axis - 1])
        ]
        return _multiply(x, matrices, [*sides], node, editor) if matrices else x


def _count_from_the_front(node: ir.Node, rank: int) -> None:
    if counts_axes_from_the_end(node):
        axes = [axis % rank for axis in node.attributes.get_ints("axes", ())]
        node.attributes["axes"] = ir.AttrInt64s("axes", axes)


def _known(shape: ir.Shape) -> tuple[int, ...] | None:
    """All sides but the first, which may be any number of clips; None where one is not known."""
    known = tuple(side for side in shape[1:] if isinstance(side, int))
    return known if len(known) == len(shape) - 1 else None


def _given(node: ir.Node) -> dict[str, NDArray[Any]] | None:
    """The inputs besides the picture, by name; None where one is no constant."""
    given = {}
    for name, value in zip(_INPUTS[1:], node.inputs[1:], strict=False):
        if value is None or (value.shape is not None and 0 in value.shape.dims):
            continue
        tensor = ir.convenience.get_const_tensor(value)
        if tensor is None:
            return None
        given[name] = tensor.numpy()
    return given


def _is_idle(given: dict[str, NDArray[Any]], place: int, axes: Sequence[int], *, side: int, wanted: int) -> bool:
    """Whether an axis stays as it is."""
    roi = given.get("roi")
    is_whole = roi is None or (roi[place], roi[place + len(axes)]) == (0.0, 1.0)
    scale = float(given["scales"][place]) if "scales" in given else wanted / side
    return is_whole and scale == 1.0


def _matrix(node: ir.Node, given: dict[str, NDArray[Any]], place: int, *, side: int, wanted: int) -> _Matrix:
    """[wanted, side]: what ONNX Runtime makes of the last axis of [1, side, 1, side] where the rest is 1."""
    runtime: Any = require("onnxruntime", extra="export", purpose="rewriting a resize")
    attributes = {name: each.value for name, each in node.attributes.items() if name != "axes"}
    inputs: dict[str, NDArray[Any]] = {}
    if "roi" in given:
        begin, end = given["roi"][place], given["roi"][place + len(given["roi"]) // 2]
        inputs["roi"] = np.array([0, 0, 0, begin, 1, 1, 1, end], np.float32)
    if "scales" in given:
        inputs["scales"] = np.array([1, 1, 1, given["scales"][place]], np.float32)
    else:
        inputs["sizes"] = np.array([1, side, 1, wanted], np.int64)
    names = ["x", *(name if name in inputs else "" for name in _INPUTS[1:])]
    while not names[-1]:
        names.pop()
    resize = onnx.helper.make_node("Resize", names, ["y"], **attributes)
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ("x", "y")]
    constants = [onnx.numpy_helper.from_array(value, name) for name, value in inputs.items()]
    graph = onnx.helper.make_graph([resize], "resize", ends[:1], ends[1:], constants)
    version = node.version or (node.graph.opset_imports.get("") if node.graph else None) or 18
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", version)], ir_version=8)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (columns,) = session.run(["y"], {"x": np.eye(side, dtype=np.float32).reshape(1, side, 1, side)})
    return np.ascontiguousarray(columns.reshape(side, wanted).T)


def _multiply(
    x: ir.Value, matrices: Sequence[tuple[int, _Matrix]], sides: list[int], node: ir.Node, editor: GraphEditor
) -> ir.Value:
    """[N, …] times each matrix along its axis: folded to three axes, of which it is the middle one."""
    layer, dtype = layer_of(node), x.dtype or ir.DataType.FLOAT
    for axis, matrix in matrices:
        behind = math.prod(sides[axis:])
        folded = _reshape(x, (-1, sides[axis - 1], behind), node, editor)
        constant = editor.constant(ir.tensor(matrix.astype(dtype.numpy())), name=f"{layer}/matrix")
        x = editor.insert(node, "MatMul", [constant, folded], layer=layer, dtype=dtype)
        sides[axis - 1] = len(matrix)
    return _reshape(x, (-1, *sides), node, editor)


def _reshape(x: ir.Value, sides: tuple[int, ...], node: ir.Node, editor: GraphEditor) -> ir.Value:
    layer = layer_of(node)
    shape = editor.constant(ir.tensor(np.array(sides, np.int64)), name=f"{layer}/shape")
    return editor.insert(node, "Reshape", [x, shape], layer=layer, dtype=x.dtype)


class WrapToGather(NodeRewrite):
    """A Pad that goes on at the other end, as a choice of positions along each axis that it widens or cuts."""

    operators = frozenset(["Pad"])

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> ir.Value | None:
        """One Gather for each such axis."""
        x, pads = node.inputs[0], constant_input(node, 1)
        if node.attributes.get_string("mode", "constant") != "wrap" or x is None or x.shape is None or pads is None:
            return None
        rank, layer = len(x.shape), layer_of(node)
        axes = constant_input(node, 3) if len(node.inputs) > 3 and node.inputs[3] is not None else np.arange(rank)
        if axes is None:
            return None
        widths = {int(axis) % rank: (int(a), int(b)) for axis, a, b in zip(axes, *np.split(pads, 2), strict=True)}
        widths = {axis: width for axis, width in widths.items() if any(width)}
        if not all(isinstance(x.shape[axis], int) for axis in widths):
            return None
        result = x
        for axis, (front, back) in widths.items():
            chosen = _positions(int(x.shape[axis]), front, back)  # type: ignore[arg-type]  # seen just above
            index = editor.constant(ir.tensor(chosen), name=f"{layer}/positions", before=node)
            result = editor.insert(
                node, "Gather", [result, index], layer=layer, attributes={"axis": axis}, dtype=x.dtype
            )
        return editor.insert(node, "Identity", [x], layer=layer, dtype=x.dtype) if result is x else result


def _positions(side: int, front: int, back: int) -> NDArray[np.int64]:
    """What is cut off goes first, and what is left goes round."""
    kept = np.arange(max(0, -front), side - max(0, -back))
    return np.pad(kept, (max(0, front), max(0, back)), mode="wrap").astype(np.int64)

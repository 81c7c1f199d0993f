"""Gives a graph from elsewhere the input that all exported graphs have: ``clip``, float32 [N, 3, T, H, W], in RGB.

What ``s2tf_edge.input_form`` does to arrays is done here in nodes before each of the graph's own inputs, so that all
that comes after, on every target, knows of one form alone:

    clip ─┬─ Gather frames ─ Gather channels ─ Unsqueeze views ─ Transpose ─ Reshape ─ Cast ─ slow
          └─ …                                                                             ─ fast
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from s2tf_edge.export.passes.graph_edits import GraphEditor
from s2tf_edge.input_form import AxisLayout, TensorForm

__all__ = ["make_canonical"]

_CLIP: Final = "NCTHW"
_AXES_ARE_INPUT: Final = 13
"""The opset from which Squeeze and Unsqueeze read their axes."""
_MOVING: Final = {"Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
"""Operators that only arrange values, whatever their type."""


def make_canonical(model: ir.Model, forms: Mapping[str, TensorForm], *, frames: int, size: int) -> ir.Value:
    """Puts one input ``clip`` in place of the graph's own.

    Args:
        model: changed; its shapes are to be inferred anew.
        forms: what each input of the graph takes, by name.
        frames: of a clip.
        size: side of a clip's pictures in pixels.

    Returns:
        The new input; the graph's own where that takes the clip as it is.
    """
    values = {str(value.name): value for value in model.graph.inputs}
    if len(forms) == 1:
        ((name, form),) = forms.items()
        if form.is_plain and values[name].dtype == ir.DataType.FLOAT:
            return values[name]
    clip = ir.Value(name="clip_of_all", type=ir.TensorType(ir.DataType.FLOAT))
    clip.shape = ir.Shape((None, 3, frames, size, size))
    first = model.graph[0]
    for name, form in forms.items():
        bridge = _Bridge(model.graph, first, layer=name, form=form, sides=form.sides(frames=frames, size=size))
        bridge.feed(clip, values[name])
    model.graph.inputs[:] = [clip]
    return clip


class _Bridge:
    """Nodes from the clip to one input of the graph."""

    def __init__(
        self, graph: ir.Graph, first: ir.Node, *, layer: str, form: TensorForm, sides: Mapping[str, int]
    ) -> None:
        self._editor = GraphEditor(graph)
        self._opset = graph.opset_imports.get("", _AXES_ARE_INPUT)
        self._first, self._layer = first, layer
        self._form, self._sides = form, sides

    def feed(self, clip: ir.Value, value: ir.Value) -> None:
        """Puts the clip in place of ``value``, an input of the graph."""
        fed = self._choose(clip)
        dtype = value.dtype
        if dtype == ir.DataType.UINT8:
            fed = self._to_pixels(fed)
            # TensorRT moves no bytes: they are floats until the graph itself makes them floats.
            if _may_be_floats(value):
                _make_floats(value)
                dtype = ir.DataType.FLOAT
        fed = self._arrange(fed, self._form.layout)
        if dtype is not None and dtype != ir.DataType.FLOAT:
            fed = self._insert("Cast", fed, to=dtype.value)
            fed.type = ir.TensorType(dtype)
        value.replace_all_uses_with(fed, replace_graph_outputs=True)

    def _choose(self, clip: ir.Value) -> ir.Value:
        if self._form.frames is not None:
            clip = self._insert("Gather", clip, self._numbers(self._form.frames, "frames"), axis=2)
        if self._form.channels == "BGR":
            clip = self._insert("Gather", clip, self._numbers((2, 1, 0), "channels"), axis=1)
        return clip

    def _to_pixels(self, clip: ir.Value) -> ir.Value:
        most = self._editor.constant(ir.tensor(np.asarray(255, np.float32)), name=f"{self._layer}/most")
        return self._insert("Round", self._insert("Mul", clip, most))

    def _arrange(self, clip: ir.Value, layout: AxisLayout) -> ir.Value:
        letters = _CLIP
        if "V" in layout.letters:
            letters, clip = "NVCTHW", self._with_axes("Unsqueeze", clip, 1)
            if self._sides["V"] > 1:
                copies = self._numbers((1, self._sides["V"], 1, 1, 1, 1), "views")
                clip = self._insert("Expand", clip, copies)
        if "N" not in layout.letters:
            letters, clip = letters[1:], self._with_axes("Squeeze", clip, 0)
        order = [letters.index(letter) for letter in layout.letters]
        if order != sorted(order):
            clip = self._insert("Transpose", clip, perm=order)
        if len(layout.axes) < len(letters):
            clip = self._insert("Reshape", clip, self._numbers([*map(self._length, layout.axes)], "shape"))
        return clip

    def _length(self, axis: str) -> int:
        return -1 if "N" in axis else math.prod(self._sides[letter] for letter in axis)

    def _numbers(self, values: Sequence[int], name: str) -> ir.Value:
        return self._editor.constant(ir.tensor(np.asarray(values, np.int64)), name=f"{self._layer}/{name}")

    def _with_axes(self, op_type: str, clip: ir.Value, axis: int) -> ir.Value:
        if self._opset < _AXES_ARE_INPUT:
            return self._insert(op_type, clip, axes=(axis,))
        return self._insert(op_type, clip, self._numbers((axis,), f"{op_type.lower()}_axis"))

    def _insert(self, op_type: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        return self._editor.insert(
            self._first, op_type, inputs, layer=self._layer, attributes=attributes, dtype=inputs[0].dtype
        )


def _may_be_floats(value: ir.Value) -> bool:
    """Whether all that reads bytes does as well with floats: it moves them about, until it casts them to floats."""
    return not value.is_graph_output() and all(_takes_floats(node, value) for node, _ in value.uses())


def _takes_floats(node: ir.Node, value: ir.Value) -> bool:
    if node.op_type == "Cast":
        return ir.DataType(node.attributes["to"].as_int()) in {ir.DataType.FLOAT, ir.DataType.FLOAT16}
    moves = node.op_type in _MOVING and node.inputs[0] is value and not node.domain
    return moves and all(map(_may_be_floats, node.outputs))


def _make_floats(value: ir.Value) -> None:
    # Not its dtype alone: a copy of the graph may share the type.
    value.type = ir.TensorType(ir.DataType.FLOAT)
    for node, _ in value.uses():
        if node.op_type in _MOVING:
            for output in node.outputs:
                _make_floats(output)

"""Normalization and layout inside the graph, so that an artifact takes the bytes of a clip as they were decoded."""

from __future__ import annotations

import dataclasses
import json
from typing import Final

import numpy as np
import onnx_ir as ir

from s2tf_edge.export.passes.graph_edits import GraphEditor
from s2tf_edge.runtime.session import STEP_INPUT
from s2tf_edge.spec import ClipSpec

__all__ = ["U8Input"]

_LAYER = "input"
_AXES: Final[dict[str | None, int]] = {"clip": 5, STEP_INPUT: 4}
"""Of the input of pixels, by its name."""


class U8Input(ir.passes.InPlacePass):
    """Turns the input ``clip`` from float32 [N, 3, T, S, S] into uint8 [N, T, S, S, 3], ``frames`` of a step alike.

    The new nodes compute what ``s2tf_edge.preprocess.normalize`` computes, in the same order of arithmetic: cast to
    float32, minus 255 mean, divided by 255 std, then channels first. The cast comes first because TensorRT refuses to
    transpose bytes.
    """

    def __init__(self, spec: ClipSpec) -> None:
        self._spec = spec

    def requires(self, model: ir.Model) -> None:
        """The graph has an input ``clip`` of five axes, or ``frames`` of four.

        Raises:
            PreconditionError: it has not.
        """
        clip = _clip(model)
        if clip is None or clip.shape is None or len(clip.shape) != _AXES[clip.name]:
            got = [str(each) for each in model.graph.inputs]
            msg = f"the graph must have an input 'clip' [N, 3, T, S, S] or 'frames' [N, 3, S, S], got {got}"
            raise ir.passes.PreconditionError(msg)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Changes the input, and the clip spec in the graph's metadata where there is one."""
        clip = _clip(model)
        if clip is None or clip.dtype == ir.DataType.UINT8:
            return ir.passes.PassResult(model, modified=False)
        self._replace_input(model.graph, clip)
        if "clip" in model.metadata_props:
            spec = dataclasses.replace(self._spec, layout="NTHWC", dtype="uint8")
            model.metadata_props["clip"] = json.dumps(spec.to_dict())
        return ir.passes.PassResult(model, modified=True)

    def _replace_input(self, graph: ir.Graph, clip: ir.Value) -> None:
        channels_first = ir.Shape(clip.shape or ())
        batch, channels, *sides = channels_first
        channels_last = ir.Shape((batch, *sides, channels))
        first, editor = graph[0], GraphEditor(graph)
        pixels = ir.Value(name=clip.name, type=ir.TensorType(ir.DataType.UINT8), shape=channels_last)

        def insert(op_type: str, *inputs: ir.Value, shape: ir.Shape = channels_last, **attributes: object) -> ir.Value:
            return editor.insert(
                first, op_type, inputs, layer=_LAYER, attributes=attributes, dtype=ir.DataType.FLOAT, shape=shape
            )

        # As in normalize: the factor of 255 is applied in float32.
        mean, std = (
            editor.constant(ir.tensor(np.asarray(values, np.float32) * 255), name=f"{_LAYER}/{name}")
            for name, values in (("mean", self._spec.mean), ("std", self._spec.std))
        )
        floats = insert("Cast", pixels, to=ir.DataType.FLOAT.value)
        scaled = insert("Div", insert("Sub", floats, mean), std)
        moved = insert("Transpose", scaled, shape=channels_first, perm=_channels_first(len(channels_first)))
        clip.replace_all_uses_with(moved)
        graph.inputs[graph.inputs.index(clip)] = pixels


def _clip(model: ir.Model) -> ir.Value | None:
    return next((value for value in model.graph.inputs if value.name in _AXES), None)


def _channels_first(axes: int) -> tuple[int, ...]:
    return (0, axes - 1, *range(1, axes - 1))

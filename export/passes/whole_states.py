"""All slices of a state in one tensor, for hosts that hand a step's outputs back as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import onnx_ir as ir

from s2tf_edge.export.passes.graph_edits import GraphEditor
from s2tf_edge.step_spec import StateSpec, StepSpec

__all__ = ["WholeStates", "next_name", "past_name", "whole_shape"]

_CHANNELS: Final = 1
"""The axis that slices are put together on: no fifth axis, and those of one stream lie one behind the other."""


def past_name(state: StateSpec) -> str:
    """What the graph calls the state that a step takes, of all slots.

    Triton pairs inputs and outputs of states by their places in the alphabet (server issue 8586): what tells the two
    apart stands in front, so that both are in the order of the layers' names.
    """
    return f"past.{state.name}"


def next_name(state: StateSpec) -> str:
    """What the graph calls the state that it gives, to be handed in as ``past_name`` says in the step after."""
    return f"next.{state.name}"


def whole_shape(state: StateSpec, *, streams: int) -> tuple[int, int, int, int]:
    """The shape of both, for so many streams side by side."""
    channels, height, width = state.shape
    return streams, state.slots * channels, height, width


class WholeStates(ir.passes.InPlacePass):
    """Puts one input and one output of one shape in place of the single slices of each state of a step.

    Here a state of three slots, a frame a step; slices are told apart by their age, ``|`` is the axis of channels:

        past.stem = p0 | p1 | p2   →  Split  →  the graph as it was  →  n  →  next.stem = p1 | p2 | n

    It has no loop, and computes no index. Slices are copied in every step, which rings of single slices need not.
    """

    def __init__(self, step: StepSpec) -> None:
        self._step = step

    def requires(self, model: ir.Model) -> None:
        """The graph has all slices as inputs and outputs.

        Raises:
            PreconditionError: it has not.
        """
        inputs, outputs = _by_name(model.graph.inputs), _by_name(model.graph.outputs)
        lacks = [
            name
            for state in self._step.states
            for there, names in ((inputs, state.inputs), (outputs, state.outputs))
            for name in names
            if name not in there
        ]
        if lacks:
            msg = f"the graph has no input or output {lacks[0]!r}, which its description has"
            raise ir.passes.PreconditionError(msg)

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Leaves all other inputs and outputs as they are."""
        for state in self._step.states:
            _join(model.graph, state)
        return ir.passes.PassResult(model, modified=True)


def _join(graph: ir.Graph, state: StateSpec) -> None:
    inputs, outputs = _by_name(graph.inputs), _by_name(graph.outputs)
    past, fresh = [inputs[name] for name in state.inputs], [outputs[name] for name in state.outputs]
    pieces = _split(graph, state, past)
    for slot, piece in zip(past, pieces, strict=True):
        slot.replace_all_uses_with(piece)
        graph.inputs.remove(slot)
    for value in fresh:
        graph.outputs.remove(value)
    graph.outputs.append(_concatenate(graph, state, [*pieces[state.fresh :], *fresh]))


def _split(graph: ir.Graph, state: StateSpec, past: list[ir.Value]) -> list[ir.Value]:
    """The state as one input, and its slices."""
    slot = past[0]
    whole = ir.Value(name=past_name(state), type=slot.type, shape=_times(slot.shape, state.slots))
    graph.inputs.append(whole)
    if state.slots == 1:
        return [whole]
    editor = GraphEditor(graph)
    sizes = editor.constant(ir.tensor(np.full(state.slots, state.shape[0])), name=f"{state.name}/sizes")
    name = editor.free_name(f"{state.name}/Split")
    node = ir.node("Split", [whole, sizes], {"axis": _CHANNELS}, num_outputs=state.slots, name=name)
    for index, piece in enumerate(node.outputs):
        piece.name, piece.type, piece.shape = editor.free_name(f"{name}_{index}"), slot.type, slot.shape
    graph.insert_before(graph[0], node)
    return list(node.outputs)


def _concatenate(graph: ir.Graph, state: StateSpec, pieces: list[ir.Value]) -> ir.Value:
    op_type, attributes = ("Concat", {"axis": _CHANNELS}) if len(pieces) > 1 else ("Identity", {})
    editor, shape = GraphEditor(graph), _times(pieces[-1].shape, state.slots)
    whole = editor.insert(None, op_type, pieces, layer=state.name, attributes=attributes, shape=shape)
    whole.name, whole.type = next_name(state), pieces[-1].type
    return whole


def _times(shape: ir.Shape | None, slots: int) -> ir.Shape:
    assert shape is not None
    return ir.Shape([int(side) * (slots if axis == _CHANNELS else 1) for axis, side in enumerate(shape)])  # type: ignore[arg-type]


def _by_name(values: Sequence[ir.Value]) -> dict[str, ir.Value]:
    return {str(value.name): value for value in values}

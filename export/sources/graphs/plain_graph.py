"""A graph from elsewhere as a network to export: of the export's opset, in float32, its batch set, its nodes named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from s2tf_edge.export.passes.cleaning.eval_mode import EvalMode, FoundNodes, find_random, find_training, untouched_norms
from s2tf_edge.export.passes.floats.float32 import Float32
from s2tf_edge.export.passes.windows import DropWindows
from s2tf_edge.export.sources.graphs.graph_file import ShapeError, graph_errors, infer_shapes, read_graph_file
from s2tf_edge.export.sources.graphs.lifting import lift_opset

__all__ = [
    "LoadedGraph",
    "ShapeError",
    "infer_output",
    "keep_output",
    "load_graph",
    "rename",
    "with_batch",
]

_PROBE_CLIPS: Final = 7
"""Clips that tell whether a graph takes any number: so many that hardly one is fixed to just that."""


@dataclass(frozen=True, kw_only=True)
class LoadedGraph:
    """A graph that was read, and what was found in it."""

    model: ir.Model
    input_types: Mapping[str, ir.DataType | None]
    """Of the inputs in the file as it came, by name."""
    training: FoundNodes
    """Nodes in training mode, before they were switched."""
    random: FoundNodes
    """Nodes that draw random numbers in any mode."""
    untouched: tuple[str, ...]
    """Norms that were switched to the statistics that a network begins with."""
    is_widened: bool
    """Whether it came in half precision, at least in part."""
    runs_as_it_is: bool
    """Whether a runtime takes the file as it came."""
    stays_because: str
    """Why its opset is older than that of the export; empty where it is not."""


def load_graph(path: Path, *, eval_mode: bool = False) -> LoadedGraph:
    """Reads an ONNX file: at opset 18 where it is older and can be converted, in float32.

    Args:
        path: the file.
        eval_mode: whether to switch norms and dropouts that are in training mode to inference.

    Returns:
        A model whose shapes are inferred, and whose weights are no inputs.

    Raises:
        InputFileError: the file is missing, damaged, or no valid ONNX; weights lie outside its folder; its shapes
            contradict each other; or norms have no statistics to switch to.
    """
    file = read_graph_file(path)
    model = file.model
    input_types = {str(value.name): value.dtype for value in model.graph.inputs}
    with graph_errors(path):
        training, random = find_training(model), find_random(model)
        is_switched = eval_mode and EvalMode()(model).modified
        untouched = tuple(untouched_norms(model)) if is_switched else ()
        DropWindows()(model)
        model, stays_because = lift_opset(model)
        is_widened = Float32()(model).modified
        model = infer_shapes(model)
    return LoadedGraph(
        model=model,
        input_types=input_types,
        training=training,
        random=random,
        untouched=untouched,
        is_widened=is_widened,
        runs_as_it_is=file.runs_as_it_is,
        stays_because=stays_because,
    )


def with_batch(model: ir.Model, *, sides: tuple[int, ...], batch: int | None) -> ir.Model:
    """The same graph for another number of clips.

    Args:
        model: with one input and one output, whose first axes count clips; changed.
        sides: the other axes of the input.
        batch: clips at once; None for any number, which is tried with seven.

    Raises:
        ShapeError: the graph is fixed to another number, as by a constant that something is reshaped to.
    """
    clips = batch or _PROBE_CLIPS
    fixed = _reshape(model, (clips, *sides))
    given = _shape(fixed.graph.outputs[0])[0]
    if isinstance(given, int) and given != clips:
        msg = f"{clips} clips give the logits of {given}"
        raise ShapeError(msg)
    return fixed if batch else _reshape(model, ("batch", *sides))


def infer_output(model: ir.Model, shape: tuple[int, ...]) -> tuple[int | None, ...]:
    """The shape of the only output for an only input of ``shape``, as far as it is known; changes ``model``.

    Raises:
        ShapeError: the graph cannot take that shape.
    """
    dims = _shape(_reshape(model, shape).graph.outputs[0])
    return tuple(side if isinstance(side, int) else None for side in dims)


def _reshape(model: ir.Model, shape: tuple[int | str, ...]) -> ir.Model:
    """Shapes inferred anew from that of the input."""
    (clip,), (logits,) = model.graph.inputs, model.graph.outputs
    classes = _shape(logits)[1:]
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        for value in node.outputs:
            value.shape = None
    clip.shape, logits.shape = ir.Shape(shape), ir.Shape([None, *classes])
    model = infer_shapes(model)
    (logits,) = model.graph.outputs
    if not isinstance(_shape(logits)[0], int):
        logits.shape = ir.Shape([shape[0], *classes])
    return model


def _shape(value: ir.Value) -> tuple[int | ir.SymbolicDim, ...]:
    return () if value.shape is None else value.shape.dims


def keep_output(model: ir.Model, output: ir.Value) -> None:
    """Drops every other output, and what only they need."""
    model.graph.outputs[:] = [output]
    RemoveUnusedNodesPass()(model)


def rename(model: ir.Model, value: ir.Value, name: str) -> None:
    """Gives ``value`` that name; another value that has it gets a number behind."""
    taken = {each.name: each for graph in model.graphs() for each in _values(graph)}
    other = taken.get(name, value)
    if other is not value:
        other.name = _free(name, taken)
    value.name = name


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from (*graph.inputs, *graph.initializers.values())
    for node in graph:
        yield from node.outputs


def _free(name: str, taken: dict[str | None, ir.Value]) -> str:
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"

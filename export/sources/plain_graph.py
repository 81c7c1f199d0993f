"""A graph from elsewhere: read with care, brought to the export opset, its batch set, its nodes named.

A file from elsewhere is untrusted input: ONNX's checker has seen every operator and tensor before anything else is done
with it, and weights in files of their own must lie in the same folder.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx_ir.passes.common import RemoveInitializersFromInputsPass, RemoveUnusedNodesPass

from s2tf_edge.errors import InputFileError
from s2tf_edge.export.passes.windows import DropWindows

__all__ = ["ShapeError", "keep_output", "load_graph", "name_nodes", "rename", "with_batch"]

logger = logging.getLogger(__name__)

OPSET: Final = 18
"""The lowest opset that graphs of older ones are converted to: that of the export's own graphs."""
_MAX_BYTES: Final = 2**31 - 1
"""What one protobuf message can hold, weights included."""
_PROBE_CLIPS: Final = 2
"""Clips that tell whether a graph takes any number: the fewest that are not one."""


class ShapeError(ValueError):
    """A graph whose shapes contradict each other."""


def load_graph(path: Path) -> ir.Model:
    """Reads an ONNX file with its weights, converted to opset 18 where it is older and can be.

    Returns:
        A model in memory; shapes are inferred, weights are no inputs.

    Raises:
        InputFileError: the file is missing, damaged, larger than 2 GiB with its weights or no valid ONNX; weights lie
            outside its folder; or shapes contradict each other.
    """
    proto = _convert_opset(_read(path), path)
    try:
        model = ir.from_proto(proto)
        RemoveInitializersFromInputsPass()(model)
        DropWindows()(model)
        return _infer_shapes(model)
    except ir.serde.SerdeError as error:
        raise _invalid(path, error.__cause__ or error) from error
    except ShapeError as error:
        msg = f"{path} has shapes that contradict each other: {error}; export it again"
        raise InputFileError(msg) from error


def _read(path: Path) -> onnx.ModelProto:
    try:
        # Loading also checks where weights in other files lie: in the folder of this one, and not behind a link.
        proto = onnx.load(path, format="protobuf")
        if proto.ByteSize() > _MAX_BYTES:
            msg = f"{path} holds {proto.ByteSize()} bytes with its weights; at most {_MAX_BYTES} fit into one ONNX file"
            raise InputFileError(msg)
        onnx.checker.check_model(proto)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise InputFileError(msg) from error
    except (DecodeError, ValueError, onnx.checker.ValidationError) as error:
        raise _invalid(path, error) from error
    return proto


def _invalid(path: Path, error: BaseException) -> InputFileError:
    return InputFileError(
        f"{path} is not a valid ONNX model, or it is damaged: {_one_line(error)}; copy or export it again"
    )


def _convert_opset(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    opset = next((each.version for each in proto.opset_import if each.domain in {"", "ai.onnx"}), OPSET)
    if opset >= OPSET:
        return proto
    # The converter would drop functions, which have opsets of their own.
    if not proto.functions:
        try:
            return onnx.version_converter.convert_version(proto, OPSET)
        except (RuntimeError, onnx.version_converter.ConvertError) as error:
            logger.debug("not converted to opset %d: %s", OPSET, error)
    logger.warning("%s stays at opset %d, which cannot be converted to %d here", path, opset, OPSET)
    return proto


def _infer_shapes(model: ir.Model) -> ir.Model:
    try:
        proto = onnx.shape_inference.infer_shapes(ir.to_proto(model), check_type=True, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError as error:
        raise ShapeError(_one_line(error)) from error
    return ir.from_proto(proto)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def with_batch(model: ir.Model, *, sides: tuple[int, ...], batch: int | None) -> ir.Model:
    """The same graph for another number of clips.

    Args:
        model: with one input and one output, whose first axes count clips; changed.
        sides: the other axes of the input.
        batch: clips at once; None for any number, which is tried with two.

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


def _reshape(model: ir.Model, shape: tuple[int | str, ...]) -> ir.Model:
    """Shapes inferred anew from that of the input."""
    (clip,), (logits,) = model.graph.inputs, model.graph.outputs
    classes = _shape(logits)[1:]
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        for value in node.outputs:
            value.shape = None
    clip.shape, logits.shape = ir.Shape(shape), ir.Shape([None, *classes])
    model = _infer_shapes(model)
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


def name_nodes(model: ir.Model) -> None:
    """Makes names of nodes unique: nodes without one become ``<OpType>_<k>``, of several of one name one keeps it.

    All others stay as they are: they are what ``--exclude`` matches.
    """
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    taken = {node.name for node in nodes}
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    for node in nodes:
        if not node.name or node.name in seen:
            node.name = _next_name(node.name or node.op_type, counts, taken)
        seen.add(node.name)


def _next_name(base: str, counts: Counter[str], taken: set[str | None]) -> str:
    while True:
        counts[base] += 1
        name = f"{base}_{counts[base]}"
        if name not in taken:
            return name

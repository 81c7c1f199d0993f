"""The output of a graph from elsewhere that holds the logits, brought to float32 [N, K].

Axes of length one are dropped. A network that gives a row of logits for each view of a clip, or for each picture,
leaves the consensus to who calls it: it is their mean, as in TSN and in MMAction2's heads.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from s2tf_edge.clip_file import ClipFile
from s2tf_edge.errors import InputFileError
from s2tf_edge.export.passes.graph_edits import GraphEditor
from s2tf_edge.export.sources.clips.values import dims_of, find_value, name_type, show_dims

__all__ = ["FLOATS", "find_logits", "flatten_logits"]

logger = logging.getLogger(__name__)

FLOATS: Final = {ir.DataType.FLOAT, ir.DataType.FLOAT16}
"""Types of logits."""
_AXES_ARE_INPUT: Final = 18
"""The opset from which ReduceMean reads its axes."""
_PASSING: Final = {"Cast", "Dropout", "Flatten", "GlobalAveragePool", "Identity", "ReduceMean", "Reshape", "Squeeze"}
"""Operators that leave probabilities probabilities."""


def find_logits(model: ir.Model, path: Path, clip_file: ClipFile, *, rows: Collection[int]) -> ir.Value:
    """The output that holds the logits.

    Warns of outputs that will be dropped, and of probabilities in place of logits.

    Args:
        model: with shapes.
        path: its file, for messages.
        clip_file: how many classes there are, and perhaps the name of the output.
        rows: how many rows one clip may give, beside one.

    Raises:
        InputFileError: no output, or more than one, can be logits of as many classes as there are labels.
    """
    logits = _choose(model.graph.outputs, path, clip_file, rows)
    dropped = [str(output.name) for output in model.graph.outputs if output is not logits]
    if dropped:
        logger.warning("%s: output %s is taken as logits; dropped: %s", path, logits.name, ", ".join(dropped))
    if _ends_in_softmax(logits):
        logger.warning("%s ends in a Softmax; scores will be softened twice: export the logits before it", path)
    return logits


def _choose(outputs: Sequence[ir.Value], path: Path, clip_file: ClipFile, rows: Collection[int]) -> ir.Value:
    classes = len(clip_file.labels)
    described = ", ".join(f"{each.name} {name_type(each.dtype)} {show_dims(dims_of(each))}" for each in outputs)
    if clip_file.output is not None:
        named = find_value(outputs, clip_file.output)
        if named is None:
            msg = f"{clip_file.name} names the output {clip_file.output!r}, but {path} has: {described}; correct it"
            raise InputFileError(msg)
        outputs = [named]
    found = [each for each in outputs if _can_be_logits(each, classes, rows)]
    if len(found) == 1:
        return found[0]
    problem = "no output" if not found else "more than one output"
    advice = f'name one as "output" in {clip_file.name}' if found else "export the logits, or give as many labels"
    msg = (
        f"{path} has {problem} that can be the float32 logits [N, {classes}] of the {classes} labels of "
        f"{clip_file.name}; it has: {described}; {advice}"
    )
    raise InputFileError(msg)


def _can_be_logits(value: ir.Value, classes: int, rows: Collection[int]) -> bool:
    """[N, K], with further axes of length 1 or one of rows, or [K]; a K that the graph does not tell shows in a run."""
    dims = dims_of(value)
    if value.dtype not in FLOATS or not dims:
        return False
    if len(dims) == 1:
        return dims == (classes,)
    sides = [side for side in dims[1:] if side != 1]
    return (
        sides in ([classes], [None])
        or (classes == 1 and not sides)
        or (len(sides) == 2 and sides[0] in rows and sides[1] in {classes, None})
    )


def _ends_in_softmax(value: ir.Value) -> bool:
    node = value.producer()
    while node is not None and node.op_type in _PASSING and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node is not None and node.op_type == "Softmax"


def flatten_logits(model: ir.Model, logits: ir.Value, *, rows: int, classes: int) -> ir.Value:
    """``logits`` as float32 [N, K].

    Args:
        model: nodes are added at its end.
        logits: what ``find_logits`` found.
        rows: how many rows of them one clip gives; their mean is taken.
        classes: K.
    """
    editor, rank = GraphEditor(model.graph), len(dims_of(logits))

    def append(op_type: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        return editor.insert(None, op_type, inputs, layer="", attributes=attributes, dtype=ir.DataType.FLOAT)

    def numbers(*values: int) -> ir.Value:
        return editor.constant(ir.tensor(np.asarray(values, np.int64)), name="logits_shape")

    if logits.dtype != ir.DataType.FLOAT:
        logits = append("Cast", logits, to=ir.DataType.FLOAT.value)
    if rows > 1:
        each = append("Reshape", logits, numbers(-1, rows, classes))
        if model.graph.opset_imports.get("", _AXES_ARE_INPUT) < _AXES_ARE_INPUT:
            return append("ReduceMean", each, axes=(1,), keepdims=0)
        return append("ReduceMean", each, numbers(1), keepdims=0)
    if rank == 1:
        return append("Reshape", logits, numbers(1, classes))
    return logits if rank == 2 else append("Flatten", logits, axis=1)

"""Graphs of older opsets, brought to that of the export's own graphs.

ONNX's converter does the work; what it is known to refuse, or to change the meaning of, is rewritten before and after
it. A graph that it cannot take all the way goes as far as it can.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from s2tf_edge.calibration.onnx_files import through_onnx
from s2tf_edge.errors import InputFileError
from s2tf_edge.export.passes.graph_edits import GraphEditor, constant_input, layer_of
from s2tf_edge.words import one_line

__all__ = ["OPSET", "check_lifted", "lift_opset"]

logger = logging.getLogger(__name__)

OPSET: Final = 18
"""The lowest opset that graphs of older ones are converted to: that of the export's own graphs."""
_OLDEST: Final = 7
"""The oldest opset that runtimes still run."""
_NEW_RESIZE: Final = 11
"""Opset whose Resize has attributes for what older ones did without a word."""
_FAILURES: Final = (
    *(RuntimeError, ValueError, TypeError, onnx.version_converter.ConvertError),
    *(onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ir.serde.SerdeError),
)


def lift_opset(model: ir.Model) -> tuple[ir.Model, str]:
    """The graph at opset 18, or as it is where it is newer; functions of an older file are written out.

    Args:
        model: from elsewhere, its norms and dropout in inference mode; changed.

    Returns:
        The graph, and why it stays at an older opset, in the converter's words: empty where it does not.
    """
    given = model.opset_imports.get("", OPSET)
    if given >= OPSET:
        return model, ""
    if model.functions:
        # The converter would drop them, for they have opsets of their own.
        model = through_onnx(model, lambda proto: onnx.inliner.inline_local_functions(proto, convert_version=True))
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    if given < _NEW_RESIZE:
        _write_out_local_norms(model)
    lifted, reason = _convert(model)
    if given < _NEW_RESIZE:
        _keep_resizing(lifted)
    return lifted, reason


def _convert(model: ir.Model) -> tuple[ir.Model, str]:
    """Converted as far as can be, and what stands in the way of the rest."""
    reason = ""
    for opset in range(OPSET, model.opset_imports[""], -1):
        converted, words = _try_opset(model, opset)
        if converted is not None:
            return converted, reason
        reason = reason or words
    return model, reason


def _try_opset(model: ir.Model, opset: int) -> tuple[ir.Model | None, str]:
    try:
        return through_onnx(model, lambda proto: _to_opset(proto, opset)), ""
    except _FAILURES as error:
        logger.debug("not converted to opset %d: %s", opset, error)
        return None, one_line(error)


def _to_opset(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    converted = onnx.version_converter.convert_version(proto, opset)
    # Operators that it knows nothing of come through as they were, which may be against the rules of the new opset.
    onnx.checker.check_model(converted)
    return converted


def check_lifted(opset: int, reason: str, path: Path) -> None:
    """Warns of a graph that stays at an older opset.

    Args:
        opset: of the graph.
        reason: of ``lift_opset``.
        path: the file that it came in.

    Raises:
        InputFileError: that is older than runtimes still run.
    """
    if not reason:
        return
    why = f"{path} stays at opset {opset}, which cannot be converted to {OPSET} here ({reason})"
    if opset < _OLDEST:
        msg = f"{why}, and runtimes start at opset {_OLDEST}; export it again with opset {OPSET} or newer"
        raise InputFileError(msg)
    logger.warning("%s; what needs a newer one will say so", why)


def _keep_resizing(model: ir.Model) -> None:
    """Says what Resize did before it had words for it; the converter leaves it to defaults that are others.

    Positions are scaled without an offset; the nearest one is below, but above where a side shrinks, as ONNX Runtime
    has it.
    """
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        if node.op_type != "Resize" or node.domain:
            continue
        scales = constant_input(node, 2)
        shrinks = scales is not None and bool((scales < 1).any())
        node.attributes.add(ir.AttrString("coordinate_transformation_mode", "asymmetric"))
        node.attributes.add(ir.AttrString("nearest_mode", "ceil" if shrinks else "floor"))


def _write_out_local_norms(model: ir.Model) -> None:
    """Batch norms with statistics for every place (``spatial=0``, up to opset 8) as product and sum."""
    editor = GraphEditor(model.graph)
    for node in list(model.graph):
        if node.op_type != "BatchNormalization" or node.attributes.get_int("spatial", True):
            continue
        arrays = [constant_input(node, index) for index in range(1, 5)]
        x = node.inputs[0]
        if x is None or any(array is None for array in arrays):
            continue
        scale, bias, mean, variance = (array for array in arrays if array is not None)
        factor = scale / np.sqrt(variance + node.attributes.get_float("epsilon", 1e-5))
        layer = layer_of(node) or node.name or node.op_type
        value = x
        for operator, array in (("Mul", factor), ("Add", bias - mean * factor)):
            constant = editor.constant(ir.tensor(array.astype(scale.dtype)), name=f"{layer}/{operator.lower()}")
            value = editor.insert(node, operator, [value, constant], layer=layer, dtype=x.dtype, shape=x.shape)
        editor.replace(node, value)

"""What follows from constants alone, computed once: weights as convolutions are to find them.

Older exporters leave in the graph how weights were made: standardized, transposed, cut out of a larger one. Compilers
would fold that too, but quantizers, norms and rules of a target look at the graph before them. onnxscript does the
folding; here are its bounds: nothing is folded that makes the file much larger, takes long, or must not be, as
quantization and random numbers.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from typing import Any, Final

import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
from onnx_ir.convenience import get_const_tensor
from onnx_ir.passes.common import LiftConstantsToInitializersPass, RemoveUnusedNodesPass
from onnxscript import optimizer

__all__ = ["FoldLimits", "fold_constants"]

logger = logging.getLogger(__name__)

_ROUNDS: Final = 4
"""A round brings constants to nodes of several outputs, and the next goes on from theirs."""
_LEFT: Final = frozenset(
    [
        *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"),
        # Slow in the evaluator, and none of them makes a weight.
        *("Conv", "ConvTranspose", "AveragePool", "LpPool", "MaxPool", "Resize", "GridSample", "NonMaxSuppression"),
        *("Loop", "Scan", "If", "LSTM", "GRU", "RNN"),
        *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        *("Dropout", "BatchNormalization"),
    ]
)
_MOVES: Final = frozenset(["Split"])
"""Operators of several outputs that weights are cut out with."""


class FoldLimits:
    """Decides which nodes are folded, and keeps count.

    Args:
        read_bytes: constants that one node may read.
        grown_bytes: size that a result may have though no constant that it was made of does.
        work_bytes: what may be read and written in all.
    """

    def __init__(self, *, read_bytes: int = 2**28, grown_bytes: int = 2**20, work_bytes: int = 2**33) -> None:
        self._read, self._grown, self._left = read_bytes, grown_bytes, work_bytes

    def allows(self, node: ir.Node) -> bool:
        """Whether to fold a node, all of whose inputs are constant."""
        if node.op_type in _LEFT or node.domain:
            return False
        sizes = [each.const_value.nbytes for each in node.inputs if each is not None and each.const_value is not None]
        written = sum(map(_count_bytes, node.outputs))
        if sum(sizes) > self._read or written > max(self._grown, *sizes, 0) or sum(sizes) + written > self._left:
            return False
        self._left -= int(sum(sizes) + written)
        return True

    def __call__(self, node: ir.Node) -> bool:
        """For onnxscript, which folds nodes of one output."""
        return len(node.outputs) == 1 and self.allows(node)


def _count_bytes(value: ir.Value) -> float:
    """Size of a result; infinite where its shape or type is not known."""
    if value.shape is None or value.dtype is None:
        return math.inf
    sides: list[float] = [side if isinstance(side, int) else math.inf for side in value.shape]
    return math.prod(sides) * value.dtype.itemsize


def fold_constants(model: ir.Model, limits: FoldLimits | None = None) -> ir.Model:
    """The graph with its constant parts computed, as far as ``limits`` allow.

    Args:
        model: shapes are inferred; stays as it is.
        limits: those of ``FoldLimits`` by default.

    Returns:
        A new graph, in which what was folded is an initializer under the name that it had. Nodes that compute with
        clips keep their names.
    """
    limits, folded = limits or FoldLimits(), model.clone()
    names = {node: node.name for node in folded.graph.all_nodes()}
    try:
        for _ in range(_ROUNDS):
            optimizer.fold_constants(
                folded, onnx_shape_inference=True, output_size_limit=sys.maxsize, should_fold=limits
            )
            if not _fold_moves(folded, limits):
                break
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # The graph is valid, whatever the optimizer makes of it: compilers fold for themselves.
        logger.debug("constants are not folded", exc_info=error)
        return model
    for node in folded.graph.all_nodes():
        # Those of a branch that is always taken were named after it.
        node.name = names.get(node, node.name)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(folded)
    RemoveUnusedNodesPass()(folded)
    return folded


def _fold_moves(model: ir.Model, limits: FoldLimits) -> bool:
    """Folds nodes of several outputs, which onnxscript leaves; tells whether there were any."""
    count = 0
    for node in list(model.graph):
        inputs = [None if each is None else get_const_tensor(each) for each in node.inputs]
        is_constant = all(each is None or tensor is not None for each, tensor in zip(node.inputs, inputs, strict=True))
        if node.op_type in _MOVES and is_constant and limits.allows(node):
            _put_constants(node, _evaluate(node, inputs, model.opset_imports))
            count += 1
    return count > 0


def _evaluate(node: ir.Node, inputs: Sequence[ir.TensorProtocol | None], opsets: dict[str, int]) -> Sequence[Any]:
    given = {
        str(value.name): tensor.numpy()
        for value, tensor in zip(node.inputs, inputs, strict=True)
        if value is not None and tensor is not None
    }
    return list(ReferenceEvaluator(ir.to_proto(node), opsets=opsets).run(None, given))


def _put_constants(node: ir.Node, arrays: Sequence[Any]) -> None:
    graph = node.graph
    if not isinstance(graph, ir.Graph) or any(output.is_graph_output() for output in node.outputs):
        return
    for output, array in zip(node.outputs, arrays, strict=True):
        tensor = ir.tensor(array, name=output.name)
        value = ir.Value(name=output.name, const_value=tensor, type=ir.TensorType(tensor.dtype))
        value.shape = ir.Shape(array.shape)
        output.replace_all_uses_with(value)
        output.name = None
        graph.register_initializer(value)
    graph.remove(node, safe=True)

"""Graphs that come quantized already: what they hold, and the form in which a target can keep them.

Whoever trained with quantization, or measured ranges on data of their own, wants those integers and no others. So the
graph is kept as it is for every target, with three exact rewrites at most, and refused where a target would compute
something else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir
from onnx_ir.convenience import get_const_tensor

from s2tf_edge.calibration.audit import Audit, audit_graph
from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.graph.rules import ONNX_RUNTIME, OPENVINO, TENSORRT, TENSORRT_RTX, Compiler
from s2tf_edge.export.passes.quantized.qdq_values import DEQUANTIZE, QUANTIZE, integers_of, is_qdq, zero_point_of
from s2tf_edge.export.passes.quantized.qoperators import INTEGER_OPERATORS, ExpandQOperators
from s2tf_edge.export.passes.quantized.strip_qdq import FloatBiases, StripQdq
from s2tf_edge.export.passes.rewrites import DropIdentities, FoldNorms
from s2tf_edge.words import counted

__all__ = ["Quantization", "find_quantization", "keep_quantized", "strip_quantized"]

_BYTES: Final = frozenset([ir.DataType.INT8, ir.DataType.UINT8])
_WIDE: Final = frozenset([ir.DataType.INT16, ir.DataType.UINT16])
_FLOATS: Final = frozenset(each for each in ir.DataType if each.name.startswith("FLOAT8"))


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """What of a graph is quantized."""

    activations: int
    """QuantizeLinear nodes."""
    weights: int
    """DequantizeLinear nodes of constants, biases included."""
    operators: tuple[str, ...] = ()
    """Operators on integers, without repetition."""

    @property
    def is_storage(self) -> bool:
        """Whether integers only store weights, and all layers compute in floating point."""
        return not (self.activations or self.operators)

    def __str__(self) -> str:
        counts = ((self.activations, "activation"), (self.weights, "constant"))
        parts = [counted(count, noun) for count, noun in counts if count]
        return " and ".join(parts) + (f"{', ' if parts else ''}{', '.join(self.operators)}" if self.operators else "")


def find_quantization(model: ir.Model) -> Quantization | None:
    """What of a graph is quantized; None where nothing is."""
    nodes = list(model.graph.all_nodes())
    activations = sum(is_qdq(node, QUANTIZE) for node in nodes)
    weights = sum(is_qdq(node, DEQUANTIZE) and _is_constant(node.inputs[0]) for node in nodes)
    operators = Counter(node.op_type for node in nodes if (node.domain, node.op_type) in INTEGER_OPERATORS)
    if not (activations or weights or operators):
        return None
    return Quantization(activations=activations, weights=weights, operators=tuple(operators))


def _is_constant(value: ir.Value | None) -> bool:
    return value is not None and get_const_tensor(value) is not None


def keep_quantized(model: ir.Model, compiler: Compiler) -> Audit:
    """Brings a quantized graph to the form in which a compiler takes it; the values stay what they are.

    Args:
        model: changed.
        compiler: what takes it.

    Returns:
        What the graph asks for, layer by layer.

    Raises:
        UnsupportedError: the compiler does not take a node, or computes something else; or no layer is integer.
    """
    ExpandQOperators()(model)
    if compiler in (TENSORRT, TENSORRT_RTX):
        FloatBiases()(model)
    for node, why in _refusals(model, compiler):
        msg = (
            f"{compiler.name} does not keep {node.op_type} {node.name!r} of this graph, which is quantized already: "
            f"{why}; {_REQUANTIZE}"
        )
        raise UnsupportedError(msg)
    audit = audit_graph(ir.to_proto(model))
    if not audit.integer:
        msg = f"the graph is quantized, but no layer of it computes in integers ({audit.explain()}); {_REQUANTIZE}"
        raise UnsupportedError(msg)
    return audit


def strip_quantized(model: ir.Model) -> None:
    """Takes a quantized graph back to floating point.

    Raises:
        UnsupportedError: it holds operators on integers that have no float form here.
    """
    ExpandQOperators()(model)
    left = _left_over(model)
    if left is not None:
        msg = f"{left.op_type} {left.name!r} has no float form here, so this graph cannot be stripped; {_FROM_FLOAT}"
        raise UnsupportedError(msg)
    StripQdq()(model)
    # What was quantized between a layer and its norm kept the two apart.
    DropIdentities()(model)
    FoldNorms()(model)


_FROM_FLOAT: Final = "export the float network from its framework, or quantize it with Q/DQ (QuantFormat.QDQ)"
_REQUANTIZE: Final = "give `requantize=True` to strip its Q/DQ and export it in a precision of your choice"


def _left_over(model: ir.Model) -> ir.Node | None:
    return next((node for node in model.graph if (node.domain, node.op_type) in INTEGER_OPERATORS), None)


def _refusals(model: ir.Model, compiler: Compiler) -> Iterator[tuple[ir.Node, str]]:
    refuse = _RULES.get(compiler)
    left = None if compiler == ONNX_RUNTIME else _left_over(model)
    if left is not None:
        yield left, f"it computes on integers; {_FROM_FLOAT}"
    for node in model.graph if refuse else ():
        if is_qdq(node, QUANTIZE) or is_qdq(node, DEQUANTIZE):
            why = refuse(node) if refuse else None
            if why:
                yield node, why


def _refuse_tensorrt(node: ir.Node) -> str | None:
    kind, zero = integers_of(node), zero_point_of(node)
    if kind == ir.DataType.UINT8:
        return "it is uint8, and TensorRT has int8 alone"
    if kind not in _BYTES | _FLOATS:
        return f"it is {kind.name.lower()}, and TensorRT has int8 alone"
    if zero is None or np.any(zero.astype(np.float32)):
        return "its zero point is not zero, and TensorRT has symmetric integers alone"
    return None


def _refuse_openvino(node: ir.Node) -> str | None:
    kind = integers_of(node)
    if kind in _FLOATS:
        return "OpenVINO computes other values of such 8-bit floats on CPUs"
    if kind in _WIDE and node.op_type == QUANTIZE:
        return "OpenVINO rounds activations of 16 bits to 8"
    return None


_RULES: Final[dict[Compiler, Callable[[ir.Node], str | None]]] = {
    OPENVINO: _refuse_openvino,
    TENSORRT: _refuse_tensorrt,
    TENSORRT_RTX: _refuse_tensorrt,
}
"""What each compiler was found not to take, or to compute in another way; ONNX Runtime takes all."""

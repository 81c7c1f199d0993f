"""A graph pass that writes operators on integers as float operators between DequantizeLinear and QuantizeLinear.

    QLinearConv (x, w, b)       x, w, b ─ DequantizeLinear ─ Conv ─ QuantizeLinear

ONNX Runtime's quantizer gives the first form where it is told QuantFormat.QOperator; compilers take the second, and
ONNX Runtime fuses it to the first again. Both compute the same sums, and round them once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.convenience import get_const_tensor
from onnx_ir.passes.common import RemoveUnusedNodesPass

from s2tf_edge.export.passes.graph_edits import GraphEditor, layer_of
from s2tf_edge.export.passes.quantized.qdq_values import DEQUANTIZE, MICROSOFT, QUANTIZE

__all__ = ["INTEGER_OPERATORS", "ExpandQOperators"]


_ONE: Final = ((), (1,))
"""Shapes of a scale for all of a tensor."""


@dataclass(frozen=True, kw_only=True)
class _Form:
    """What an operator on integers stands for; operands are its input, scale and zero point in a row."""

    operator: str
    operands: tuple[int, ...]
    """Where each begins."""
    result: int
    """Where scale and zero point of the result are."""
    bias: int | None = None
    """Where the bias is: int32 in steps of the product of the operands' scales."""
    drops: tuple[str, ...] = ()
    """Attributes that the float operator does not have."""


_FORMS: Final[Mapping[tuple[str, str], _Form]] = {
    ("", "QLinearConv"): _Form(operator="Conv", operands=(0, 3), result=6, bias=8),
    ("", "QLinearMatMul"): _Form(operator="MatMul", operands=(0, 3), result=6),
    (MICROSOFT, "QGemm"): _Form(operator="Gemm", operands=(0, 3), result=7, bias=6),
    (MICROSOFT, "QLinearAdd"): _Form(operator="Add", operands=(0, 3), result=6),
    (MICROSOFT, "QLinearMul"): _Form(operator="Mul", operands=(0, 3), result=6),
    (MICROSOFT, "QLinearSigmoid"): _Form(operator="Sigmoid", operands=(0,), result=3),
    (MICROSOFT, "QLinearLeakyRelu"): _Form(operator="LeakyRelu", operands=(0,), result=3),
    (MICROSOFT, "QLinearSoftmax"): _Form(operator="Softmax", operands=(0,), result=3, drops=("opset",)),
    (MICROSOFT, "QLinearAveragePool"): _Form(operator="AveragePool", operands=(0,), result=3, drops=("channels_last",)),
    (MICROSOFT, "QLinearGlobalAveragePool"): _Form(
        operator="GlobalAveragePool", operands=(0,), result=3, drops=("channels_last",)
    ),
}
INTEGER_OPERATORS: Final = frozenset(
    [
        *_FORMS,
        *((MICROSOFT, name) for name in ("QLinearConcat", "QLinearConv", "QLinearReduceMean", "QLinearWhere")),
        *((MICROSOFT, name) for name in ("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QAttention")),
        *(("", name) for name in ("ConvInteger", "DynamicQuantizeLinear", "MatMulInteger")),
    ]
)
"""Operators on integers by domain and name, those that have no other form here included."""


class ExpandQOperators(ir.passes.InPlacePass):
    """Expands the operators on integers that have an exact float form; others stay."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Expands those of the main graph."""
        editor = GraphEditor(model.graph)
        nodes = [(node, form) for node in model.graph if (form := _find_form(node))]
        for node, form in nodes:
            _Expansion(editor, node, form).expand()
        for node in model.graph:
            # Of the same meaning in both domains, and all that this one had before opset 21 was wider integers.
            if node.domain == MICROSOFT and node.op_type in {QUANTIZE, DEQUANTIZE}:
                node.domain = ""
        RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, modified=bool(nodes))


def _find_form(node: ir.Node) -> _Form | None:
    """What a node stands for; None where it is another operator, or something of it has no float form."""
    form = _FORMS.get((node.domain, node.op_type))
    if form is None or node.attributes.get_int("channels_last", False) or _operand(node, form.result) is None:
        return None
    if form.bias is not None and _operand(node, form.bias) is not None and _bias_steps(node, form) is None:
        return None
    return form


def _operand(node: ir.Node, place: int) -> ir.Value | None:
    return node.inputs[place] if place < len(node.inputs) else None


def _bias_steps(node: ir.Node, form: _Form) -> NDArray[np.float32] | None:
    """Float32, one or one a channel: the product of both operands' scales; None where one is computed."""
    steps = np.ones(1, np.float32)
    for place in form.operands:
        scale = _operand(node, place + 1)
        tensor = None if scale is None else get_const_tensor(scale)
        if tensor is None:
            return None
        steps = steps * tensor.numpy().reshape(-1)
    return steps


class _Expansion:
    """One node, written out."""

    def __init__(self, editor: GraphEditor, node: ir.Node, form: _Form) -> None:
        self._editor, self._node, self._form = editor, node, form
        self._layer = layer_of(node)

    def expand(self) -> None:
        """Puts the float form in the node's place; the float operator has its name."""
        node, form = self._node, self._form
        operands = [self._dequantize(place) for place in form.operands]
        bias = None if form.bias is None else _operand(node, form.bias)
        if bias is not None:
            operands.append(self._dequantize_bias(bias))
        attributes = {name: each for name, each in node.attributes.items() if name not in form.drops}
        name, node.name = node.name, f"{node.name}/{node.op_type}"
        value = self._insert(form.operator, operands, dtype=ir.DataType.FLOAT, shape=node.outputs[0].shape)
        inner = value.producer()
        assert inner is not None
        inner.name = name
        inner.attributes.update(attributes)
        result = self._insert(QUANTIZE, [value, *self._scale(form.result)], dtype=node.outputs[0].dtype)
        self._editor.replace(node, result)

    def _dequantize(self, place: int) -> ir.Value:
        value = _operand(self._node, place)
        assert value is not None
        scale = self._scale(place + 1)
        has_channels = (
            place != self._form.operands[0] and scale[0].shape is not None and scale[0].shape.dims not in _ONE
        )
        # Of weights, one scale for each output: a row of a kernel, a column of a matrix.
        is_row = self._form.operator == "Conv" or bool(self._node.attributes.get_int("transB", 0))
        axis = {"axis": 0 if is_row else 1} if has_channels else None
        return self._insert(DEQUANTIZE, [value, *scale], dtype=ir.DataType.FLOAT, attributes=axis, shape=value.shape)

    def _dequantize_bias(self, bias: ir.Value) -> ir.Value:
        steps = _bias_steps(self._node, self._form)
        assert steps is not None
        tensor = ir.tensor(steps if steps.size > 1 else steps.reshape(()))
        scale = self._editor.constant(tensor, name=f"{bias.name}/scale")
        axis = {"axis": 0} if steps.size > 1 else None
        return self._insert(DEQUANTIZE, [bias, scale], dtype=ir.DataType.FLOAT, attributes=axis, shape=bias.shape)

    def _scale(self, place: int) -> list[ir.Value]:
        """Scale and, where there is one, zero point."""
        return [value for value in self._node.inputs[place : place + 2] if value is not None]

    def _insert(
        self,
        operator: str,
        inputs: list[ir.Value],
        *,
        dtype: ir.DataType | None,
        attributes: Mapping[str, Any] | None = None,
        shape: ir.Shape | None = None,
    ) -> ir.Value:
        return self._editor.insert(
            self._node, operator, inputs, layer=self._layer, attributes=attributes, dtype=dtype, shape=shape
        )

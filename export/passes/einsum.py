"""Contractions of two tensors as batched matrix products."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from s2tf_edge.export.passes.graph_edits import GraphEditor, layer_of
from s2tf_edge.export.passes.rewrites import NodeRewrite

__all__ = ["EinsumToMatMul"]

_Side = int | ir.SymbolicDim


class _Operand(NamedTuple):
    value: ir.Value
    labels: str


@dataclass(frozen=True, kw_only=True)
class _Product:
    """``left [batch, rows, inner] @ right [batch, inner, columns]``, each a group of indices."""

    left: _Operand
    right: _Operand
    batch: str
    rows: str
    inner: str
    columns: str
    sides: Mapping[str, _Side]


class EinsumToMatMul(NodeRewrite):
    """Einsum as Transpose, Reshape and MatMul, where it is a batched matrix product.

    Attention and non-local blocks written with ``einsum`` contract two tensors. All targets run Einsum, but quantizers
    and the fusions around attention know MatMul only. Left alone are ellipses, sums and diagonals of one operand, outer
    products, and groups of indices where two sizes are free.
    """

    operators = frozenset(["Einsum"])

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> ir.Value | None:
        """The product, its axes in the order that the equation asks for."""
        found = _product(node)
        if found is None:
            return None
        product, result = found
        nodes = _ProductNodes(node, editor, product.sides)
        left = nodes.group(product.left, (product.rows, product.inner), batch=product.batch)
        right = nodes.group(product.right, (product.inner, product.columns), batch=product.batch)
        groups = (product.rows, product.columns)
        matrix = nodes.insert("MatMul", [left, right], nodes.shape(product.batch, groups))
        return nodes.spread(matrix, groups, batch=product.batch, result=result)


def _product(node: ir.Node) -> tuple[_Product, str] | None:
    """The matrix product that an Einsum is, and the order of the result's axes; None if it is none."""
    equation = node.attributes["equation"]
    if equation.is_ref():
        # In a function whose calls say what it is.
        return None
    terms, result = _parse(equation.as_string())
    values = [value for value in node.inputs if value is not None]
    if len(terms) != 2 or any("." in term or len(set(term)) != len(term) for term in terms):
        return None
    sides = _sides(values, terms)
    first, second = (set(term) for term in terms)
    # Labels that one operand alone has, and that the result lacks, are summed before: not a product.
    if sides is None or (first ^ second) - set(result) or not (first & second) - set(result):
        return None
    left, right = (_Operand(*pair) for pair in zip(values, terms, strict=True))
    batch = "".join(label for label in result if label in first & second)
    rows = "".join(label for label in result if label in first - second)
    columns = "".join(label for label in result if label in second - first)
    inner = "".join(label for label in terms[0] if label in (first & second) - set(result))
    if result == batch + columns + rows:
        # (A B)ᵀ = Bᵀ Aᵀ saves the transposition of the result.
        left, right, rows, columns = right, left, columns, rows
    product = _Product(left=left, right=right, batch=batch, rows=rows, inner=inner, columns=columns, sides=sides)
    return (product, result) if _has_shapes(product) else None


def _parse(equation: str) -> tuple[list[str], str]:
    left, arrow, result = equation.replace(" ", "").partition("->")
    if not arrow:
        # Without an arrow: the labels that stand once, in alphabetical order.
        result = "".join(sorted(label for label in set(left) - {","} if left.count(label) == 1))
    return left.split(","), result


def _sides(values: Sequence[ir.Value], terms: Sequence[str]) -> dict[str, _Side] | None:
    """Size of every index; None where ranks do not fit, or a size of 1 is to be repeated."""
    sides: dict[str, _Side] = {}
    for value, term in zip(values, terms, strict=False):
        if value.shape is None or len(value.shape) != len(term):
            return None
        for label, side in zip(term, value.shape, strict=True):
            if sides.setdefault(label, side) != side:
                return None
    return sides


def _has_shapes(product: _Product) -> bool:
    """Whether no reshape has two sizes that are not known when it is written."""
    groups = (product.rows, product.inner, product.columns)
    free = [label for label in "".join(groups) if not isinstance(product.sides[label], int)]
    return len(free) <= 1 or all(len(group) == 1 for group in groups)


class _ProductNodes:
    """Adds the nodes of one product."""

    def __init__(self, node: ir.Node, editor: GraphEditor, sides: Mapping[str, _Side]) -> None:
        self._node = node
        self._editor = editor
        self._layer = layer_of(node)
        self._sides = sides

    def insert(
        self, op_type: str, inputs: Sequence[ir.Value], shape: ir.Shape | None, **attributes: object
    ) -> ir.Value:
        return self._editor.insert(
            self._node,
            op_type,
            inputs,
            layer=self._layer,
            attributes=attributes,
            dtype=self._node.outputs[0].dtype,
            shape=shape,
        )

    def shape(self, batch: str, groups: Sequence[str]) -> ir.Shape:
        return ir.Shape([*(self._sides[label] for label in batch), *(self._size(group) for group in groups)])

    def group(self, operand: _Operand, groups: Sequence[str], *, batch: str) -> ir.Value:
        """The operand as [*batch, size of the first group, size of the second]."""
        order = batch + "".join(groups)
        value = self._transpose(operand.value, operand.labels, order)
        if all(len(group) == 1 for group in groups):
            return value
        return self._reshape(
            value, [0] * len(batch) + [self._size(group) for group in groups], self.shape(batch, groups)
        )

    def spread(self, matrix: ir.Value, groups: Sequence[str], *, batch: str, result: str) -> ir.Value:
        """The reverse: each group's indices again, in the order of ``result``."""
        labels = "".join(groups)
        if not all(len(group) == 1 for group in groups):
            sides = [self._sides[label] for label in labels]
            matrix = self._reshape(matrix, [0] * len(batch) + sides, self.shape(batch + labels, ()))
        return self._transpose(matrix, batch + labels, result)

    def _size(self, group: str) -> _Side:
        sides = [self._sides[label] for label in group]
        if len(sides) == 1:
            return sides[0]
        known = [side for side in sides if isinstance(side, int)]
        return math.prod(known) if len(known) == len(sides) else ir.SymbolicDim(None)

    def _transpose(self, value: ir.Value, labels: str, order: str) -> ir.Value:
        if labels == order:
            return value
        perm = [labels.index(label) for label in order]
        return self.insert("Transpose", [value], self.shape(order, ()), perm=perm)

    def _reshape(self, value: ir.Value, sides: Sequence[_Side], shape: ir.Shape) -> ir.Value:
        """To ``sides``, of which 0 stands for the size that is there, and one may be free."""
        target = ir.tensor(np.array([side if isinstance(side, int) else -1 for side in sides], np.int64))
        constant = self._editor.constant(target, name=f"{self._layer}/shape", before=self._node)
        return self.insert("Reshape", [value, constant], shape)

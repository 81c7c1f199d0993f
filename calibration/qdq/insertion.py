"""A graph pass that makes a float graph an integer one: QuantizeLinear and DequantizeLinear where a placement says.

    activation   x ─ QuantizeLinear ─ DequantizeLinear ─ layer       one pair for all of a value's readers
    weight       int8 constant ─ DequantizeLinear ─ layer            symmetric, one scale for each output channel
    bias         int32 constant ─ DequantizeLinear ─ layer           in steps of the product of the two scales

The arithmetic is that of B. Jacob et al., Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, CVPR 2018, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from s2tf_edge.calibration.qdq.placement import Placement, weight_axis
from s2tf_edge.calibration.qdq.styles import Style
from s2tf_edge.calibration.ranges.ranges import Range

__all__ = ["InsertQdq", "Scale", "scale_of"]

_BIAS_MAX: Final = 2**30
"""Half of what int32 holds: the other half is for the sum that the bias is added to."""


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How a tensor's values become integers: ``x / step + zero_point``, rounded."""

    step: NDArray[np.float32]
    """Float32 [] for a tensor, [C] for one each channel; above zero."""
    zero_point: NDArray[Any]
    """Of the shape of ``step`` and the type of the integers."""


def scale_of(covered: Range, *, signed: bool) -> Scale:
    """The scale of an activation.

    Args:
        covered: the values to cover.
        signed: int8 with zero point 0; else uint8.
    """
    span = covered.magnitude / 127 if signed else (covered.high - covered.low) / 255
    step = np.asarray(span, np.float32)
    if not step > np.finfo(np.float32).tiny:
        # A tensor that is always zero.
        step = np.asarray(1.0, np.float32)
    zero = np.asarray(0, np.int8) if signed else np.asarray(np.clip(np.rint(-covered.low / step), 0, 255), np.uint8)
    return Scale(step=step, zero_point=zero)


class InsertQdq(ir.passes.InPlacePass):
    """Quantizes activations, weights and, for integer kernels, biases."""

    def __init__(
        self, placement: Placement, ranges: Mapping[str, Range], style: Style, *, weight_bits: int = 8
    ) -> None:
        """Takes what was decided and measured.

        Args:
            placement: for the very graph that the pass is called on.
            ranges: of every value of the placement.
            style: that the placement was made for.
            weight_bits: 8, or 7 for kernels that add two products in 16 bits.
        """
        self._placement = placement
        self._style = style
        self._weight_max = 2 ** (weight_bits - 1) - 1
        covered = {value: ranges[str(value.name)] for value in placement.values}
        self._scales = {value: scale_of(each, signed=style.is_signed(each)) for value, each in covered.items()}

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Inserts; names of nodes and values stay, new ones are named after what they quantize."""
        graph = model.graph
        for layer in self._placement.layers:
            activation = self._scales[layer.inputs[0]]  # type: ignore[index]
            one = _LayerQuantizer(graph, layer, activation, weight_max=self._weight_max)
            one.quantize(bias=self._style.integer_kernels)
        readers: dict[ir.Value, list[tuple[ir.Node, int]]] = {value: [] for value in self._placement.values}
        for node, index in self._placement.edges:
            readers[node.inputs[index]].append((node, index))  # type: ignore[index]
        for value in self._placement.results:
            readers[value] = [(use.node, use.idx) for use in value.uses()]
        for value, places in readers.items():
            _quantize_value(graph, value, self._scales[value], readers=places, whole=value in self._placement.results)
        RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, modified=bool(readers))


def _quantize_value(
    graph: ir.Graph, value: ir.Value, scale: Scale, *, readers: Sequence[tuple[ir.Node, int]], whole: bool
) -> None:
    name = str(value.name)
    if whole and value.is_graph_output():
        # The output keeps its name, which goes to the dequantized value; the one inside gets another.
        value.name = f"{name}/float"
    operands = _constants(graph, name, scale)
    quantized = ir.node("QuantizeLinear", [value, *operands], name=f"{name}/QuantizeLinear")
    dequantized = ir.node("DequantizeLinear", [quantized.outputs[0], *operands], name=f"{name}/DequantizeLinear")
    for node, kind in ((quantized, ir.DataType.from_numpy(scale.zero_point.dtype)), (dequantized, value.dtype)):
        _describe(node.outputs[0], name=str(node.name), dtype=kind, shape=value.shape)
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], [quantized, dequantized])
    else:
        graph.insert_after(producer, [quantized, dequantized])
    result = dequantized.outputs[0]
    for node, index in readers:
        node.replace_input_with(index, result)
    if whole and value.is_graph_output():
        outputs = graph.outputs
        outputs[outputs.index(value)] = result
        result.name = name


class _LayerQuantizer:
    """One convolution or matrix product, whose constants become integers."""

    def __init__(self, graph: ir.Graph, node: ir.Node, activation: Scale, *, weight_max: int) -> None:
        self._graph, self._node = graph, node
        self._activation = activation
        self._weight_max = weight_max
        self._axis = weight_axis(node)

    def quantize(self, *, bias: bool) -> None:
        weight = _values(self._node.inputs[1])
        offset = self._bias(weight.shape[self._axis]) if bias else None
        step = self._weight_step(weight, offset)
        spread = np.expand_dims(step, [axis for axis in range(weight.ndim) if axis != self._axis])
        integers = np.clip(np.rint(weight / spread), -self._weight_max, self._weight_max).astype(np.int8)
        self._replace(1, "weight", integers, Scale(step=step, zero_point=np.zeros(step.shape, np.int8)), self._axis)
        if offset is not None:
            unit = step * self._activation.step
            integers = np.rint(offset.astype(np.float64) / unit).astype(np.int32)
            self._replace(2, "bias", integers, Scale(step=unit, zero_point=np.zeros(step.shape, np.int32)), 0)

    def _bias(self, channels: int) -> NDArray[np.float32] | None:
        """The bias, where it is a constant with one value a channel."""
        value = self._node.inputs[2] if len(self._node.inputs) > 2 else None
        tensor = None if value is None else ir.convenience.get_const_tensor(value)
        return tensor.numpy() if tensor is not None and tensor.numpy().shape == (channels,) else None

    def _weight_step(self, weight: NDArray[np.float32], bias: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """By output channel; large enough that the channel's bias, in its own steps, fits its integers."""
        others = tuple(axis for axis in range(weight.ndim) if axis != self._axis)
        step = np.abs(weight).max(axis=others) / self._weight_max
        if bias is not None:
            step = np.maximum(step, np.abs(bias) / (_BIAS_MAX * self._activation.step))
        # A channel without weights: any scale will do.
        return np.where(step > np.finfo(np.float32).tiny, step, 1.0).astype(np.float32)

    def _replace(self, index: int, kind: str, integers: NDArray[Any], scale: Scale, axis: int) -> None:
        name = f"{self._node.name}/{kind}"
        old = self._node.inputs[index]
        constant = _initializer(self._graph, f"{name}/integers", integers)
        node = ir.node(
            "DequantizeLinear",
            [constant, *_constants(self._graph, name, scale)],
            {"axis": axis},
            name=f"{name}/DequantizeLinear",
        )
        _describe(node.outputs[0], name=str(node.name), dtype=ir.DataType.FLOAT, shape=old.shape if old else None)
        self._graph.insert_before(self._node, node)
        self._node.replace_input_with(index, node.outputs[0])


def _values(value: ir.Value | None) -> NDArray[np.float32]:
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    if tensor is None:
        msg = "a placement holds layers with constant weights only"
        raise TypeError(msg)
    return tensor.numpy().astype(np.float32)


def _constants(graph: ir.Graph, name: str, scale: Scale) -> list[ir.Value]:
    return [
        _initializer(graph, f"{name}/scale", scale.step),
        _initializer(graph, f"{name}/zero_point", scale.zero_point),
    ]


def _initializer(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape))
    graph.register_initializer(value)
    return value


def _describe(value: ir.Value, *, name: str, dtype: ir.DataType | None, shape: ir.Shape | None) -> None:
    value.name, value.shape = name, shape
    value.type = None if dtype is None else ir.TensorType(dtype)

"""What loses accuracy in half precision, and so stays in float32.

float16 has 11 significant bits and ends at 65504. Convolutions and matrix products accumulate in float32 inside and
only round their result, so they, ReLU, swish, squeeze-and-excitation and residual sums are float16. Float32 are

- normalizations, softmax, and functions that turn small errors into large ones: exponentials, logarithms, powers and
  roots;
- sums over many values, as a compiler may add them up in the graph's type: 64 additions may be wrong by 64 half units
  of the last place, or 3 %, in the worst case;
- recurrent layers that are told how many steps to take: TensorRT's parser reads these in float32 alone;
- the saliency path but for the convolutions of its miners and edge branches, with their ReLU and residual sums: it is
  cheap, and the mask weighs every feature of the last stage.
"""

from __future__ import annotations

import math
from typing import Final

import onnx_ir as ir

__all__ = ["keeps_float32"]

_ALWAYS: Final = (
    *(
        "Softmax",
        "LogSoftmax",
        "Attention",
        "Exp",
        "Log",
        "Pow",
        "Sqrt",
        "Reciprocal",
        "Erf",
        "Softplus",
        "Mish",
        "CumSum",
    ),
    *("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization"),
    *("MeanVarianceNormalization", "RMSNormalization", "LRN", "LpPool", "GlobalLpPool"),
    *("ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd"),
)
_SUMS: Final = ("ReduceMean", "ReduceSum", "ReduceL1", "GlobalAveragePool", "AveragePool")
_MANY: Final = 64
_SALIENCY_BODIES: Final = ("SaliencyMining", "FeaturePreserving", "TemporalFusion")
_SALIENCY: Final = "saliency"
_HALF_LAYERS: Final = ("saliency.miners.", "saliency.preservers.")
_HALF_BODIES: Final = ("SaliencyMining", "FeaturePreserving")


def keeps_float32(node: ir.Node, function: str = "") -> bool:
    """Whether ``node`` computes in float32 by default.

    Args:
        node: of a float32 graph, named after its layer.
        function: name of the function that it lies in; empty in the graph.
    """
    if _is_in_saliency(node, function):
        return not _is_saliency_convolution(node, function)
    if node.op_type in _ALWAYS or _is_told_its_steps(node):
        return True
    return node.op_type in _SUMS and _count_summands(node) > _MANY


def _is_told_its_steps(node: ir.Node) -> bool:
    lengths = node.inputs[4:5] if node.op_type in {"GRU", "LSTM", "RNN"} else ()
    return any(value is not None for value in lengths)


def _is_in_saliency(node: ir.Node, function: str) -> bool:
    name = node.name or ""
    return function in _SALIENCY_BODIES or (not function and name.startswith((f"{_SALIENCY}.", f"{_SALIENCY}/")))


def _is_saliency_convolution(node: ir.Node, function: str) -> bool:
    """Whether it is a convolution of a miner or an edge branch, or the ReLU or residual sum behind one."""
    if not (function in _HALF_BODIES if function else (node.name or "").startswith(_HALF_LAYERS)):
        return False
    if node.op_type == "Add":
        # The other Add is the shift of the batch norm.
        return any(before.op_type == "Conv" for before in node.predecessors())
    return node.op_type in {"Conv", "Relu"}


def _count_summands(node: ir.Node) -> float:
    """How many values each value of the result is a sum of; infinite where that is unknown."""
    kernel = node.attributes.get("kernel_shape")
    if kernel is not None and not kernel.is_ref():
        return math.prod(kernel.as_ints())
    value = node.inputs[0]
    shape = None if value is None else value.shape
    if shape is None:
        return math.inf
    axes = range(2, len(shape)) if node.op_type.startswith("Global") else _axes(node, len(shape))
    sides = [shape[axis] for axis in axes]
    return math.prod(side if isinstance(side, int) else math.inf for side in sides)


def _axes(node: ir.Node, rank: int) -> list[int]:
    """The axes of a reduction: an input from opset 18 on (sums: 13), an attribute before; all where none are given."""
    attribute = node.attributes.get("axes")
    if attribute is not None and not attribute.is_ref():
        return [int(axis) for axis in attribute.as_ints()]
    given = node.inputs[1] if len(node.inputs) > 1 else None
    tensor = None if given is None else ir.convenience.get_const_tensor(given)
    return list(range(rank)) if tensor is None else [int(axis) for axis in tensor.numpy().reshape(-1)]

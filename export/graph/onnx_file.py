"""The ONNX file: writing and checking a graph, and counting what is in it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import onnx
import onnx.inliner
import onnx_ir as ir

from s2tf_edge.calibration.onnx_files import save_model, through_onnx

__all__ = ["count_operators", "layer_types", "write_graph"]

_COUNTED: Final = {"Conv": "Convolution", "Gemm": "MatMul", "MatMul": "MatMul", "Einsum": "MatMul"}
_SHORT: Final = {ir.DataType.FLOAT: "f32", ir.DataType.FLOAT16: "f16"}


def write_graph(model: ir.Model, path: Path) -> None:
    """Writes a graph and checks it, types and shapes included; with the weights beside it where they are too large."""
    save_model(model, path)


def count_operators(model: ir.Model) -> dict[str, int]:
    """How many nodes of each operator run, the bodies of our own operators counted once a node."""
    counts: Counter[str] = Counter()
    for node in model.graph:
        body = model.functions.get(node.op_identifier())
        counts.update([node.op_type] if body is None else [inner.op_type for inner in body])
    return dict(counts)


def layer_types(graph: Path) -> dict[str, dict[str, int]]:
    """How many convolutions and matrix products a graph has in each type, bodies of functions included.

    ONNX Runtime and TensorRT compute in the types of the graph: that of a layer is that of its weights.
    """
    model = through_onnx(ir.load(graph), _inline)
    counts: dict[str, Counter[str]] = {}
    for node in model.graph:
        if kind := _COUNTED.get(node.op_type):
            weight = node.inputs[-1]
            dtype = None if weight is None else weight.dtype
            counts.setdefault(kind, Counter())[_SHORT.get(dtype, "other") if dtype else "other"] += 1
    return {kind: dict(names) for kind, names in counts.items()}


def _inline(proto: onnx.ModelProto) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(onnx.inliner.inline_local_functions(proto))

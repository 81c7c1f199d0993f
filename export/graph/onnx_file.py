"""The ONNX file: writing and checking a graph, and counting what is in it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import onnx
import onnx.inliner
import onnx_ir as ir

__all__ = ["count_operators", "layer_types", "write_graph"]

_COUNTED: Final = {"Conv": "Convolution", "Gemm": "MatMul", "MatMul": "MatMul", "Einsum": "MatMul"}
_SHORT: Final = {ir.DataType.FLOAT: "f32", ir.DataType.FLOAT16: "f16"}


def write_graph(model: ir.Model, path: Path) -> None:
    """Writes one self-contained file and checks it, types and shapes included."""
    ir.save(model, path)
    onnx.checker.check_model(path, full_check=True)


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
    model = onnx.inliner.inline_local_functions(onnx.load(graph))
    types = _value_types(model)
    counts: dict[str, Counter[str]] = {}
    for node in model.graph.node:
        if kind := _COUNTED.get(node.op_type):
            name = _SHORT.get(ir.DataType(types.get(node.input[-1], 0)), "other")
            counts.setdefault(kind, Counter())[name] += 1
    return {kind: dict(names) for kind, names in counts.items()}


def _value_types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    typed = (*inferred.value_info, *inferred.input, *inferred.output)
    types = {value.name: value.type.tensor_type.elem_type for value in typed}
    return types | {each.name: each.data_type for each in inferred.initializer}

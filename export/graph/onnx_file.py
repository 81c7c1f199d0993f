"""The ONNX file: writing and checking a graph, counting what is in it, and target ``onnx``, which ships it as it is."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Final

import onnx
import onnx.inliner
import onnx_ir as ir

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.graph.unsupported import unsupported_operators
from s2tf_edge.export.targets.base import GRAPH_FILE, Build, BuildRequest
from s2tf_edge.runtime.backends.ort_session import OrtSession
from s2tf_edge.runtime.session import SessionOptions

__all__ = ["build_onnx", "count_operators", "layer_types", "write_graph"]

_INFERENCE: Final = {"fp32": "f32", "fp16": "f16"}
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


def build_onnx(request: BuildRequest) -> Build:
    """Ships ``model.onnx``, once ONNX Runtime has taken it.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        UnsupportedError: ONNX Runtime does not run an operator of the network.
    """
    if request.precision == "int8":
        return _build_int8(request)
    _try_to_open(request)
    shutil.copyfile(request.graph, request.folder / GRAPH_FILE)
    inference = _INFERENCE.get(request.precision, "default")
    return Build(files=(GRAPH_FILE,), inference=inference, obtained=layer_types(request.graph))


def _build_int8(request: BuildRequest) -> Build:
    from s2tf_edge.calibration.audit import audit_onnxruntime
    from s2tf_edge.export.targets.int8 import best_integer_form, obtained_types, qdq_quantizer

    graph = request.folder / GRAPH_FILE
    with best_integer_form(qdq_quantizer(request, style="onnxruntime"), request) as form:
        shutil.copyfile(form.folder / GRAPH_FILE, graph)
    audit = audit_onnxruntime(graph)
    return Build(
        files=(GRAPH_FILE,),
        inference="default",
        obtained=obtained_types(audit),
        options=form.options,
        audit=audit.to_dict(),
        calibration=form.calibration,
    )


def _try_to_open(request: BuildRequest) -> None:
    try:
        with OrtSession(request.graph, request.info, SessionOptions(device="CPU")):
            pass
    except UnsupportedError as error:
        raise unsupported_operators(request.graph, "ONNX Runtime", said=str(error)) from error


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

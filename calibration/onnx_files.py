"""ONNX graphs of any size: written, opened and handed to ONNX's own functions.

One protobuf message ends at 2 GiB. What is larger has its weights in a second file beside the first
(``model.onnx.data``), is opened from files, and goes through ONNX's checker, shape inference and converter without its
weights, which are looked at as they lie in their file and never all in memory.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import onnx
import onnx_ir as ir

__all__ = [
    "IR_VERSION",
    "SINGLE_FILE_BYTES",
    "SMALL_BYTES",
    "copy_model",
    "open_in_onnxruntime",
    "save_model",
    "through_onnx",
    "weights_file",
]

SINGLE_FILE_BYTES: Final = 2**31 - 2**27
"""Weights that one file holds at most: what a protobuf message can, less room for nodes, names and shapes."""
IR_VERSION: Final = 10
"""IR version of written graphs, or the lowest that their opset allows: what ONNX Runtime from 1.18 on reads, and all
TensorRT 10 and OpenVINO of the time."""
SMALL_BYTES: Final = 1024
"""Up to which a tensor may be a shape, axes or pads, whose values ONNX's functions look at."""
_CPU: Final = ["CPUExecutionProvider"]


def weights_file(path: Path) -> Path:
    """The file beside a graph that has its weights, where one file cannot hold all."""
    return path.with_name(f"{path.name}.data")


def _fits_one_file(model: ir.Model) -> bool:
    """Whether one file can hold the weights; those that were left in a file of their own are too large for it."""
    values = (value for graph in model.graphs() for value in graph.initializers.values())
    tensors = [value.const_value for value in values if value.const_value is not None]
    is_inside = not any(isinstance(tensor, ir.ExternalTensor) for tensor in tensors)
    return is_inside and sum(tensor.nbytes for tensor in tensors) <= SINGLE_FILE_BYTES


def save_model(model: ir.Model, path: Path) -> None:
    """Writes a graph with a current IR version and checks it, types and shapes included.

    Args:
        model: what to write; takes the IR version that is written.
        path: where to. Weights that do not fit into one file lie in ``weights_file(path)``.

    Raises:
        onnx.checker.ValidationError: the graph is not valid.
    """
    model.ir_version = _ir_version(model)
    ir.save(model, path, external_data=None if _fits_one_file(model) else weights_file(path).name)
    onnx.checker.check_model(path, full_check=True)


def _ir_version(model: ir.Model) -> int:
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()]
    return max(IR_VERSION, onnx.helper.find_min_ir_version_for(opsets, ignore_unknown=True))


def copy_model(path: Path, to: Path) -> tuple[str, ...]:
    """Copies a graph, and its weights where they lie beside it; gives the names of the copies, the graph's first."""
    shutil.copyfile(path, to)
    weights = weights_file(path)
    if not weights.is_file():
        return (to.name,)
    # The graph has the name of this file in it.
    shutil.copyfile(weights, to.with_name(weights.name))
    return to.name, weights.name


def open_in_onnxruntime(runtime: Any, model: ir.Model, **options: Any) -> Any:
    """An ``InferenceSession`` on the CPU that runs a graph in memory.

    Args:
        runtime: the module ``onnxruntime``.
        model: stays as it is, but for its IR version.
        options: of the session.
    """
    options = {"providers": _CPU} | options
    model.ir_version = _ir_version(model)
    if _fits_one_file(model):
        return runtime.InferenceSession(ir.to_proto(model).SerializeToString(), **options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        ir.save(model, path, external_data=weights_file(path).name)
        return runtime.InferenceSession(path, **options)


def through_onnx(model: ir.Model, call: Callable[[onnx.ModelProto], onnx.ModelProto]) -> ir.Model:
    """What one of ONNX's own functions makes of a graph, which it sees without its weights.

    To ``call`` they are inputs behind those of the graph; what it gives must have them under the same names.

    Args:
        model: weights as initializers and none of them an input; stays as it is.
        call: such as shape inference.

    Returns:
        A new graph with the weights of ``model``.
    """
    graph, inputs, weights = model.graph, len(model.graph.inputs), list(model.graph.initializers.values())
    large = [value for value in weights if not _is_small(value.const_value)]
    for value in large:
        del graph.initializers[str(value.name)]
        graph.inputs.append(value)
    try:
        proto = ir.to_proto(model)
    finally:
        del graph.inputs[inputs:]
        graph.initializers.clear()
        for value in weights:
            graph.register_initializer(value)
    return _with_weights(ir.from_proto(call(proto)), {str(value.name): value for value in large})


def _is_small(tensor: ir.TensorProtocol | None) -> bool:
    return tensor is not None and tensor.nbytes <= SMALL_BYTES and not isinstance(tensor, ir.ExternalTensor)


def _with_weights(model: ir.Model, weights: dict[str, ir.Value]) -> ir.Model:
    graph = model.graph
    found = {str(value.name): value for value in graph.inputs}
    graph.inputs[:] = [value for name, value in found.items() if name not in weights and not value.is_initializer()]
    for name, weight in weights.items():
        value = found[name]
        value.const_value, value.type, value.shape = weight.const_value, weight.type, weight.shape
        graph.register_initializer(value)
    return model

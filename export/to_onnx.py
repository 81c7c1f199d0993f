"""A network as an ONNX graph: the inference form, traced at opset 18, each node named after the layer it came from.

The file has one input ``clip`` and one output ``logits``, and carries the network's name, its labels and its clip spec
as metadata properties (``network``, ``labels`` and ``clip``; the last two as JSON).
"""

from __future__ import annotations

import ast
import json
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import onnx
import onnx_ir as ir
import torch

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.build import Build, BuildRequest

if TYPE_CHECKING:
    from s2tf_edge.models.s2tf import VideoNetwork

__all__ = ["MODEL_FILE", "OPSET", "build_onnx", "write_onnx"]

MODEL_FILE: Final = "model.onnx"
OPSET: Final = 18
"""The exporter's own opset; any other is reached by a converter that inlines functions."""
_SCOPES: Final = "pkg.torch.onnx.name_scopes"


def build_onnx(request: BuildRequest) -> Build:
    """Writes ``model.onnx`` in float32.

    Raises:
        UnsupportedError: an operator of the network has no ONNX form.
    """
    operators = write_onnx(request.network, request.folder / MODEL_FILE, dynamic_batch=request.dynamic_batch)
    return Build(
        files=(MODEL_FILE,),
        inference="f32",
        obtained={
            "Convolution": {"f32": operators.get("Conv", 0)},
            "MatMul": {"f32": operators.get("Gemm", 0) + operators.get("MatMul", 0)},
        },
        options={"opset": OPSET, "operators": operators},
    )


def write_onnx(network: VideoNetwork, path: Path, *, dynamic_batch: bool = False) -> dict[str, int]:
    """Exports a network's inference form to one self-contained file.

    Args:
        network: in eval mode.
        path: where to write.
        dynamic_batch: whether the first axis takes any number of clips; else exactly one.

    Returns:
        How many nodes of each operator the graph has.

    Raises:
        UnsupportedError: an operator of the network has no ONNX form.
    """
    inference = network.to_inference().eval()
    model = _trace(inference, network.spec.input_shape(2 if dynamic_batch else 1), dynamic_batch=dynamic_batch)
    _name_nodes(model)
    _strip_metadata(model)
    model.metadata_props.update(
        network=network.name,
        labels=json.dumps(list(network.labels), ensure_ascii=False),
        clip=json.dumps(network.spec.to_dict()),
    )
    ir.save(model, path)
    onnx.checker.check_model(path, full_check=True)
    return dict(Counter(node.op_type for node in model.graph))


def _trace(inference: VideoNetwork, shape: tuple[int, ...], *, dynamic_batch: bool) -> ir.Model:
    dynamic = ({0: torch.export.Dim("batch", min=1)},) if dynamic_batch else None
    try:
        with _quiet(), torch.inference_mode():
            program = torch.onnx.export(
                inference,
                (torch.zeros(shape),),
                dynamo=True,
                opset_version=OPSET,
                input_names=["clip"],
                output_names=["logits"],
                dynamic_shapes=dynamic,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        msg = f"{type(inference).__name__} cannot be exported to ONNX: {str(error).splitlines()[0]}"
        raise UnsupportedError(msg) from error
    if program is None or inference.training:
        msg = "the exporter left the network in training mode; its batch norms and dropout would be wrong"
        raise UnsupportedError(msg)
    return program.model


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what the exporter says of itself: deprecations inside PyTorch, packages that it does not need."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _name_nodes(model: ir.Model) -> None:
    """Names nodes and their results ``<path of the layer>/<operator>``, which is what ``--exclude`` matches."""
    seen: Counter[str] = Counter()
    for node in model.graph:
        name = "/".join(part for part in (_layer_path(node), node.op_type) if part)
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"
        if len(node.outputs) == 1 and not node.outputs[0].is_graph_output():
            node.outputs[0].name = node.name


def _layer_path(node: ir.Node) -> str:
    scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "[]"))
    return next((scope for scope in reversed(scopes[:-1]) if scope), "")


def _strip_metadata(model: ir.Model) -> None:
    """Removes stack traces, which name files of the machine that exported."""
    for node in model.graph:
        node.metadata_props.clear()
        node.doc_string = None
        for value in (*node.inputs, *node.outputs):
            if value is not None:
                value.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.metadata_props.clear()
    model.graph.metadata_props.clear()

"""A network as an ONNX graph: the inference form, traced at opset 18, each node named after the layer it came from.

The graph carries the network's name, its labels and its clip spec as metadata properties (``network``, ``labels`` and
``clip``; the last two as JSON). Its passes for one target or another follow in ``lowering``.
"""

from __future__ import annotations

import ast
import logging
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import onnx_ir as ir
import torch
from onnx_ir.passes.common import RemoveUnusedNodesPass
from torch import nn

from s2tf_edge.errors import UnsupportedError, UsageError
from s2tf_edge.export.graph.custom_ops import add_bodies, leave_nodes
from s2tf_edge.export.graph.describe import describe
from s2tf_edge.export.passes.adaptive_pools import fix_adaptive_pools
from s2tf_edge.models.step import StepGraph
from s2tf_edge.runtime.session import STEP_INPUT

if TYPE_CHECKING:
    from s2tf_edge.models.s2tf import VideoNetwork

__all__ = ["OPSET", "step_to_onnx", "to_onnx"]

OPSET: Final = 18
"""The exporter's own opset; any other is reached by a converter that inlines functions."""
_SCOPES: Final = "pkg.torch.onnx.name_scopes"
_ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")


def to_onnx(network: VideoNetwork, *, batch: int | None = 1, mask: bool = False) -> ir.Model:
    """Traces a network's inference form in float32, its own modules left as nodes with bodies.

    Args:
        network: in eval mode.
        batch: clips that the graph takes; None for any number.
        mask: whether the saliency mask [N, 1, 1, H', W'] is an output besides the logits.

    Returns:
        A graph of opset ``OPSET`` with input ``clip`` and output ``logits``, and ``mask`` where asked for. Nodes and
        their results are named ``<path of the layer>/<operator>``.

    Raises:
        UnsupportedError: an operator of the network has no ONNX form.
        UsageError: the mask is asked for of a network that has none.
    """
    if mask and network.saliency is None:
        msg = f"{network.name} has no saliency mask to put out; leave out `mask`, or export an ssf_ or s2tf_ network"
        raise UsageError(msg)
    inference = network.to_inference().eval()
    fix_adaptive_pools(inference, network.spec.input_shape())
    leave_nodes(inference)
    free = ({0: "batch"}, None) if batch is None else None
    clips = torch.zeros(network.spec.input_shape(batch or 2))
    outputs = ("logits", "mask") if mask else ("logits",)
    model = _trace(inference, (clips, mask), inputs=("clip",), outputs=outputs, free=free)
    _name_batch(model)
    add_bodies(model)
    model.metadata_props.update(describe(network.name, network.labels, network.spec))
    return model


def step_to_onnx(network: VideoNetwork, *, hop: int, batch: int = 1, mask: bool = False) -> ir.Model:
    """Traces one step of a causal network: standard operators on tensors of four axes.

    Args:
        network: in eval mode.
        hop: frames of a step.
        batch: streams that step side by side.
        mask: whether the saliency mask [N, 1, H', W'] is an output besides the logits.

    Returns:
        A graph of opset ``OPSET`` with input ``frames`` [hop · N, 3, S, S] and output ``logits``, and ``mask`` where
        asked for, and the slices of states as inputs and outputs, named as in ``s2tf_edge.step_spec``.

    Raises:
        UnsupportedError: an operator of the network has no ONNX form.
        UsageError: the network cannot step, or not by so many frames; or it has no mask.
    """
    spec = network.spec
    graph = StepGraph(network.to_inference(), hop=hop, mask=mask)
    frames = torch.zeros(hop * batch, 3, spec.size, spec.size)
    states = graph.states
    past = [torch.zeros(batch, *state.shape) for state in states for _ in state.inputs]
    inputs = (STEP_INPUT, *(name for state in states for name in state.inputs))
    fresh = [name for state in states for name in state.outputs]
    outputs = ("logits", *(["mask"] if mask else []), *fresh)
    model = _trace(graph, (frames, *past), inputs=inputs, outputs=outputs)
    model.metadata_props.update(describe(network.name, network.labels, spec))
    return model


def _trace(
    module: nn.Module,
    arguments: tuple[Any, ...],
    *,
    inputs: tuple[str, ...],
    outputs: tuple[str, ...],
    free: tuple[Any, ...] | None = None,
) -> ir.Model:
    """Standard and custom nodes of a module, named after its layers.

    Args:
        module: in eval mode.
        arguments: to call it with.
        inputs: names of the tensors among them.
        outputs: names of the first of what it returns; what comes after those is for training.
        free: axes of the arguments that may have any length.
    """
    try:
        with _quiet(), torch.inference_mode():
            program = torch.onnx.export(
                module,
                arguments,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(inputs),
                dynamic_shapes=free,
                verbose=False,
            )
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        msg = f"{type(module).__name__} cannot be exported to ONNX: {_reason(error)}; use operators that ONNX has"
        raise UnsupportedError(msg) from error
    if program is None or module.training:
        msg = "the exporter left the network in training mode; its batch norms and dropout would be wrong"
        raise UnsupportedError(msg)
    model = _with_outputs(program.model, outputs)
    _name_nodes(model)
    _strip_metadata(model)
    return model


def _with_outputs(model: ir.Model, names: tuple[str, ...]) -> ir.Model:
    """Keeps the first outputs, under these names."""
    del model.graph.outputs[len(names) :]
    for output, name in zip(model.graph.outputs, names, strict=True):
        output.name = name
    RemoveUnusedNodesPass()(model)
    return model


def _reason(error: BaseException) -> str:
    """The first line of the error that it all began with; those after it only say that tracing failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    # Without the colors that PyTorch puts in.
    return _ANSI.sub("", str(error)).strip().partition("\n")[0]


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
    """Names nodes and their results ``<path of the layer>/<operator>``, which is what ``exclude`` matches."""
    seen: Counter[str] = Counter()
    for node in model.graph:
        name = "/".join(part for part in (_layer_path(node), node.op_type) if part)
        seen[name] += 1
        node.name = name if seen[name] == 1 else f"{name}_{seen[name]}"
        if len(node.outputs) == 1 and not node.outputs[0].is_graph_output():
            node.outputs[0].name = node.name


def _name_batch(model: ir.Model) -> None:
    """Calls the free axis ``batch``, for which the exporter has a name of its own."""
    shape = model.graph.inputs[0].shape
    free = shape[0] if shape is not None else None
    if not isinstance(free, ir.SymbolicDim):
        return
    for value in (*model.graph.inputs, *(output for node in model.graph for output in node.outputs)):
        for axis, side in enumerate(value.shape or ()):
            if side == free:
                value.shape[axis] = "batch"  # type: ignore[index]  # there is a shape, for it has a side


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
    for name, value in list(model.graph.initializers.items()):
        # The modules that leave custom nodes hold what they stand for as ``module``.
        value.name = name.replace(".module.", ".")
    model.graph.metadata_props.clear()

"""What each layer puts out for one clip, by the name of its node in the exported graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from s2tf_edge.calibration.onnx_files import open_in_onnxruntime
from s2tf_edge.export.graph.custom_ops import InlineCustomOps
from s2tf_edge.extras import require
from s2tf_edge.runtime.session import Clips

__all__ = ["LayerMaps", "first_clip", "graph_maps", "repeat_clip"]

LayerMaps = dict[str, NDArray[np.float32]]
"""Layers' outputs by name, in the order in which the layers run."""


def graph_maps(model: ir.Model, clip: Clips, *, names: Sequence[str] | None = None) -> LayerMaps:
    """Runs a graph in ONNX Runtime with layers' outputs exposed: the convolutions' where no ``names`` are given."""
    runtime: Any = require("onnxruntime", extra="export", purpose="searching the layer that differs")
    InlineCustomOps()(model)
    values = {str(node.outputs[0].name): node.outputs[0] for node in model.graph if names or node.op_type == "Conv"}
    wanted = [name for name in values if names is None or name in names]
    model.graph.outputs.extend(values[name] for name in wanted if not values[name].is_graph_output())
    session = open_in_onnxruntime(runtime, model)
    batch = session.get_inputs()[0].shape[0]
    outputs = session.run(wanted, {session.get_inputs()[0].name: repeat_clip(clip, batch)})
    return {name: first_clip(output, batch) for name, output in zip(wanted, outputs, strict=True)}


def repeat_clip(clip: Clips, batch: object) -> Clips:
    """One clip as often as a network of a fixed batch takes clips; once where ``batch`` is no number."""
    return clip.repeat(batch, axis=0) if isinstance(batch, int) else clip


def first_clip(output: NDArray[Any], batch: object) -> NDArray[np.float32]:
    """The part of a layer's output that belongs to the first clip; clips lie in its first axis."""
    rows = max(1, len(output) // batch) if isinstance(batch, int) else len(output)
    return output[:rows].astype(np.float32)

"""Where an artifact leaves its network: the first convolution whose output differs.

Nodes are named after the layers they came from, and OpenVINO keeps the names of ONNX tensors, so that each convolution
of the network is found in the artifact and its output compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.export.targets.base import GRAPH_FILE
from s2tf_edge.extras import require
from s2tf_edge.runtime.artifact import ArtifactMeta
from s2tf_edge.runtime.backends.openvino_session import compile_config
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.session import Clips, SessionOptions

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["Maps", "artifact_maps", "first_difference", "graph_maps"]

Maps = dict[str, NDArray[np.float32]]
"""Layers' outputs by name, in the order in which the layers run."""


def first_difference(got: Maps, expected: Maps, *, tolerance: float) -> str | None:
    """The first layer of ``expected`` that is in ``got`` and differs there.

    Args:
        got: of an artifact.
        expected: of the network, for the same clip.
        tolerance: largest error accepted, as a fraction of a layer's largest value: the range of its output may be
            zero, as that of a mask of one place is.

    Returns:
        The layer's name and its error, or None where every layer agrees.
    """
    for name, reference in expected.items():
        if name in got:
            error = float(np.abs(got[name] - reference).max() / max(float(np.abs(reference).max()), 1e-12))
            if not error <= tolerance:
                return f"{name} (error {error:.2%} of its largest value)"
    return None


def artifact_maps(folder: Path, meta: ArtifactMeta, clip: Clips, names: Sequence[str]) -> Maps:
    """Outputs of an artifact's layers for one clip of the kind that it takes, whatever its batch.

    Of an engine, whose layers are fused beyond recognition, those of the graph that it was built from.
    """
    if meta.target == "openvino":
        return _openvino_maps(folder / meta.model, meta, clip, names)
    import onnx_ir as ir

    return graph_maps(ir.load(folder / GRAPH_FILE), clip, names=names)


def graph_maps(model: ir.Model, clip: Clips, *, names: Sequence[str] | None = None) -> Maps:
    """Runs a graph in ONNX Runtime with layers' outputs exposed: the convolutions' where no ``names`` are given."""
    import onnx_ir as ir

    from s2tf_edge.export.graph.custom_ops import InlineCustomOps

    runtime: Any = require("onnxruntime", extra="export", purpose="searching the layer that differs")
    InlineCustomOps()(model)
    values = {str(node.outputs[0].name): node.outputs[0] for node in model.graph if names or node.op_type == "Conv"}
    wanted = [name for name in values if names is None or name in names]
    model.graph.outputs.extend(values[name] for name in wanted if not values[name].is_graph_output())
    session = runtime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    batch = session.get_inputs()[0].shape[0]
    outputs = session.run(wanted, {session.get_inputs()[0].name: _repeated(clip, batch)})
    return {name: _of_first(output, batch) for name, output in zip(wanted, outputs, strict=True)}


def _repeated(clip: Clips, batch: object) -> Clips:
    """One clip as often as a network of a fixed batch takes clips."""
    return clip.repeat(batch, axis=0) if isinstance(batch, int) else clip


def _of_first(output: NDArray[Any], batch: object) -> NDArray[np.float32]:
    """The part of a layer's output that belongs to the first clip; clips lie in its first axis."""
    rows = max(1, len(output) // batch) if isinstance(batch, int) else len(output)
    return output[:rows].astype(np.float32)


def _openvino_maps(path: Path, meta: ArtifactMeta, clip: Clips, names: Sequence[str]) -> Maps:
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="searching the layer that differs")
    core = openvino.Core()
    network = core.read_model(path)
    known = {name for op in network.get_ordered_ops() for output in op.outputs() for name in output.get_names()}
    wanted = [name for name in names if name in known]
    network.add_outputs(wanted)
    config = compile_config(inference_precision=str(meta.precision["inference"]), options=SessionOptions())
    compiled = core.compile_model(network, "CPU", config)
    batch = meta.inputs["clip"]["shape"][0]
    results = compiled({"clip": _repeated(clip, batch)})
    return {name: _of_first(results[compiled.output(name)], batch) for name in wanted}

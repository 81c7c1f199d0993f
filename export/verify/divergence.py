"""Where an artifact leaves its network: the first convolution whose output differs.

Nodes are named after the layers they came from, and OpenVINO keeps the names of ONNX tensors, so that each convolution
of the network is found in the artifact and its output compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from s2tf_edge.export.graph.layer_maps import LayerMaps, first_clip, graph_maps, repeat_clip
from s2tf_edge.export.targets.registry import TARGETS
from s2tf_edge.runtime.artifact import GRAPH_FILE, ArtifactMeta
from s2tf_edge.runtime.backends.openvino_session import compile_config
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.session import Clips, SessionOptions

__all__ = ["artifact_maps", "first_difference"]


def first_difference(got: LayerMaps, expected: LayerMaps, *, tolerance: float) -> str | None:
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


def artifact_maps(folder: Path, meta: ArtifactMeta, clip: Clips, names: Sequence[str]) -> LayerMaps:
    """Outputs of an artifact's layers for one clip of the kind that it takes, whatever its batch.

    Of an engine, whose layers are fused beyond recognition, those of the graph that it was built from.
    """
    if TARGETS[meta.target].ships_graph:
        return graph_maps(ir.load(folder / GRAPH_FILE), clip, names=names)
    return _openvino_maps(folder / meta.model, meta, clip, names)


def _openvino_maps(path: Path, meta: ArtifactMeta, clip: Clips, names: Sequence[str]) -> LayerMaps:
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="searching the layer that differs")
    core = openvino.Core()
    network = core.read_model(path)
    known = {name for op in network.get_ordered_ops() for output in op.outputs() for name in output.get_names()}
    wanted = [name for name in names if name in known]
    network.add_outputs(wanted)
    config = compile_config(inference_precision=str(meta.precision["inference"]), options=SessionOptions())
    compiled = core.compile_model(network, "CPU", config)
    batch = meta.inputs["clip"]["shape"][0]
    results = compiled({"clip": repeat_clip(clip, batch)})
    return {name: first_clip(results[compiled.output(name)], batch) for name in wanted}

"""Where an artifact leaves its network: the first layer whose output differs.

Results are named after the layers they came from, and OpenVINO keeps the names of ONNX tensors, so that what computes
floating-point numbers in the network is found in the artifact, unless a rewrite has put something else in its place.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from s2tf_edge.export.graph.layer_maps import GraphLayers, LayerMaps, Layers, first_clip, in_portions, repeat_clip
from s2tf_edge.export.targets.registry import TARGETS
from s2tf_edge.runtime.artifact import GRAPH_FILE, ArtifactMeta
from s2tf_edge.runtime.backends.openvino_arm import arm_config, read_facts
from s2tf_edge.runtime.backends.openvino_session import compile_config
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.session import Clips, SessionOptions

__all__ = ["artifact_layers", "find_divergence", "first_difference"]

_SMALL: Final = 1e-12


def find_divergence(got: Layers, expected: GraphLayers, *, tolerance: float) -> str:
    """Says which layer of a network is the first that differs in an artifact.

    Args:
        got: of an artifact.
        expected: of the network, for the same clip.
        tolerance: as for ``first_difference``.

    Returns:
        Words such as ``the first layer that differs is Conv stem/Conv (error 12.00% of its largest value)``; or that
        those agree which both have by name, and how many.
    """
    names = [name for name in expected.kinds if name in got.kinds]
    for portion in in_portions(names, expected):
        found = first_difference(got.maps(portion), expected.maps(portion), kinds=expected.kinds, tolerance=tolerance)
        if found:
            return f"the first layer that differs is {found}"
    return f"each of the {len(names)} layers that both have by name agrees by itself"


def first_difference(got: LayerMaps, expected: LayerMaps, *, kinds: Mapping[str, str], tolerance: float) -> str | None:
    """The first layer of ``expected`` that is in ``got`` and differs there.

    Args:
        got: of an artifact.
        expected: of the network, for the same clip.
        kinds: operators of the layers.
        tolerance: largest error accepted, as a fraction of a layer's largest value: the range of its output may be
            zero, as that of a mask of one place is.

    Returns:
        The layer's operator, name and error, or None where every layer agrees. One of another shape is passed over: it
        does not hold its clips in the first axis.
    """
    for name, reference in expected.items():
        if name in got and got[name].shape == reference.shape:
            error = _relative_error(got[name], reference)
            if not error <= tolerance:
                much = f"error {error:.2%} of its largest value" if math.isfinite(error) else "not finite"
                return f"{kinds[name]} {name} ({much})"
    return None


def _relative_error(got: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    # What is infinite in both, as a pad before a maximum is, is the same; and so is what is no number in both.
    differs = (got != reference) & ~(np.isnan(got) & np.isnan(reference))
    finite = np.abs(reference[np.isfinite(reference)])
    largest = max(float(finite.max(initial=0.0)), _SMALL)
    return float(np.abs(got[differs] - reference[differs]).max(initial=0.0) / largest)


def artifact_layers(folder: Path, meta: ArtifactMeta, clip: Clips) -> Layers:
    """The layers of an artifact, for one clip of the kind that it takes, whatever its batch.

    Of an engine, whose layers are fused beyond recognition, those of the graph that it was built from.
    """
    if TARGETS[meta.target].ships_graph:
        return GraphLayers(ir.load(folder / GRAPH_FILE), clip)
    return _OpenVinoLayers(folder / meta.model, meta, clip)


class _OpenVinoLayers(Layers):
    def __init__(self, path: Path, meta: ArtifactMeta, clip: Clips) -> None:
        openvino: Any = require_without_telemetry(
            "openvino", extra="export", purpose="searching the layer that differs"
        )
        self._core = openvino.Core()
        self._path, self._meta, self._clip = path, meta, clip

    @functools.cached_property
    def kinds(self) -> Mapping[str, str]:
        operations = self._core.read_model(self._path).get_ordered_ops()
        outputs = [(each.get_type_name(), output) for each in operations for output in each.outputs()]
        return {name: kind for kind, output in outputs for name in output.get_names()}

    def maps(self, names: Sequence[str]) -> LayerMaps:
        network = self._core.read_model(self._path)
        network.add_outputs(list(names))
        config = compile_config(inference_precision=str(self._meta.precision["inference"]), options=SessionOptions())
        compiled = self._core.compile_model(network, "CPU", {**config, **arm_config(read_facts(network), "CPU")})
        batch = self._meta.inputs["clip"]["shape"][0]
        results = compiled({"clip": repeat_clip(self._clip, batch)})
        return {name: first_clip(results[compiled.output(name)], batch) for name in names}

"""Where an artifact leaves its network: the first convolution whose output differs.

Nodes are named after the layers they came from, and OpenVINO keeps the names of ONNX tensors, so that each convolution
of the PyTorch network is found in the artifact and its output compared.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from s2tf_edge.extras import require
from s2tf_edge.runtime.artifact import ArtifactMeta
from s2tf_edge.runtime.backends.openvino_session import compile_config
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.session import Clips, SessionOptions

if TYPE_CHECKING:
    from torch import nn

    from s2tf_edge.models.s2tf import VideoNetwork

__all__ = ["first_diverging_layer"]

Maps = dict[str, NDArray[np.float32]]


def first_diverging_layer(
    network: VideoNetwork, folder: Path, *, meta: ArtifactMeta, clip: Clips, tolerance: float
) -> str | None:
    """Runs network and artifact with every convolution's output exposed.

    Args:
        network: in eval mode.
        folder: the artifact, of target onnx or openvino.
        meta: its description.
        clip: one clip, float32 [1, 3, T, S, S].
        tolerance: largest error accepted, as a fraction of the range of a layer's output.

    Returns:
        The layer's path in the network and its error, or None where every convolution agrees.
    """
    expected = _torch_maps(network.to_inference(), clip)
    run = {"onnx": _onnx_maps, "openvino": _openvino_maps}[meta.target]
    got = run(folder / meta.model, meta, clip, list(expected))
    for name, reference in expected.items():
        if name in got:
            error = float(np.abs(got[name] - reference).max() / max(float(np.ptp(reference)), 1e-12))
            if not error <= tolerance:
                return f"{name} (error {error:.2%} of its range)"
    return None


def _torch_maps(network: nn.Module, clip: Clips) -> Maps:
    """Outputs of all convolutions by the name of their node, in the order in which they run."""
    maps: Maps = {}

    def keep(name: str) -> Callable[[nn.Module, Any, torch.Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            maps.setdefault(name, output.numpy().copy())

        return hook

    hooks = [
        module.register_forward_hook(keep(f"{path}/Conv"))
        for path, module in network.named_modules()
        if isinstance(module, torch.nn.Conv3d)
    ]
    try:
        with torch.inference_mode():
            network(torch.from_numpy(clip))
    finally:
        for hook in hooks:
            hook.remove()
    return maps


def _onnx_maps(path: Path, meta: ArtifactMeta, clip: Clips, names: list[str]) -> Maps:
    import onnx

    runtime: Any = require("onnxruntime", extra="export", purpose="searching the layer that differs")
    model = onnx.load(path)
    known = {output for node in model.graph.node for output in node.output}
    wanted = [name for name in names if name in known]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in wanted)
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip(wanted, session.run(wanted, {"clip": clip}), strict=True))


def _openvino_maps(path: Path, meta: ArtifactMeta, clip: Clips, names: list[str]) -> Maps:
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="searching the layer that differs")
    core = openvino.Core()
    network = core.read_model(path)
    known = {name for op in network.get_ordered_ops() for output in op.outputs() for name in output.get_names()}
    wanted = [name for name in names if name in known]
    network.add_outputs(wanted)
    config = compile_config(inference_precision=str(meta.precision["inference"]), options=SessionOptions())
    compiled = core.compile_model(network, "CPU", config)
    results = compiled({"clip": clip})
    return {name: np.array(results[compiled.output(name)]) for name in wanted}

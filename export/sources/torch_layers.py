"""What the layers of a PyTorch network put out, by the name of their node in the exported graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch import nn

from s2tf_edge.export.graph.layer_maps import GraphLayers, LayerMaps
from s2tf_edge.runtime.session import Clips

__all__ = ["TorchLayers", "torch_maps"]


class TorchLayers(GraphLayers):
    """Those of its graph, with convolutions as PyTorch computes them, so that tracing is looked at too."""

    def __init__(self, network: nn.Module, model: ir.Model, clip: Clips) -> None:
        """Takes a network in its inference form, the graph traced of it, which is changed, and one clip."""
        super().__init__(model, clip)
        self._network = network

    def maps(self, names: Sequence[str]) -> LayerMaps:
        """Of the graph first, and over it what PyTorch gives."""
        return super().maps(names) | torch_maps(self._network, self._clip, names)


def torch_maps(network: nn.Module, clip: Clips, names: Sequence[str]) -> LayerMaps:
    """Outputs of those of the named layers that are convolutions, for one clip."""
    maps: LayerMaps = {}

    def keep(name: str) -> Callable[[nn.Module, Any, torch.Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            maps.setdefault(name, output.numpy().copy())

        return hook

    convolutions = {f"{path}/Conv": each for path, each in network.named_modules() if isinstance(each, nn.Conv3d)}
    hooks = [convolutions[name].register_forward_hook(keep(name)) for name in names if name in convolutions]
    try:
        with torch.inference_mode():
            network(torch.from_numpy(clip))
    finally:
        for hook in hooks:
            hook.remove()
    return maps

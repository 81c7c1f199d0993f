"""What each convolution of a PyTorch network puts out, by the name of its node in the exported graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from s2tf_edge.export.graph.layer_maps import LayerMaps
from s2tf_edge.runtime.session import Clips

__all__ = ["torch_maps"]


def torch_maps(network: nn.Module, clip: Clips) -> LayerMaps:
    """Outputs of all convolutions for one clip, in the order in which they run."""
    maps: LayerMaps = {}

    def keep(name: str) -> Callable[[nn.Module, Any, torch.Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            maps.setdefault(name, output.numpy().copy())

        return hook

    hooks = [
        module.register_forward_hook(keep(f"{path}/Conv"))
        for path, module in network.named_modules()
        if isinstance(module, nn.Conv3d)
    ]
    try:
        with torch.inference_mode():
            network(torch.from_numpy(clip))
    finally:
        for hook in hooks:
            hook.remove()
    return maps

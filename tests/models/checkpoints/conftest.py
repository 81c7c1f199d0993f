"""A small network whose weights are named as torchvision names them; the names are written apart from the rules."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from s2tf_edge.models import VideoNetwork, create_model


def _torchvision_name(key: str) -> str:
    key = key.removeprefix("backbone.").replace("head.fc", "fc")
    key = re.sub(r"^stages\.(\d)\.", lambda match: f"layer{int(match[1]) + 1}.", key)
    key = re.sub(r"branch\.(\d)\.", lambda match: f"conv{int(match[1]) + 1}.", key).replace("stem.0.", "stem.")
    return key.replace("shortcut.", "downsample.").replace(".conv.", ".0.").replace(".norm.", ".1.")


@pytest.fixture(scope="session")
def network() -> VideoNetwork:
    """An MC3 with weights and statistics far from those of a new one."""
    torch.manual_seed(3)
    model = create_model("mc3_18?width=0.0625&frames=4&size=32", num_classes=5).eval()
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.rand_like(value), alpha=0.1)
    return model


@pytest.fixture
def published(network: VideoNetwork) -> dict[str, Tensor]:
    """Its weights as torchvision would have saved them."""
    return {_torchvision_name(key): value.clone() for key, value in network.state_dict().items()}


@pytest.fixture(scope="session")
def same_logits(network: VideoNetwork) -> Callable[..., bool]:
    """Whether a network gives the logits of ``network``, within ``tolerance`` of their spread."""
    clip = torch.randn(network.spec.input_shape(), generator=torch.Generator().manual_seed(0))

    @torch.inference_mode()
    def compare(other: VideoNetwork, *, tolerance: float = 0.0) -> bool:
        wanted, got = network(clip), other(clip)
        return bool((got - wanted).abs().max() <= tolerance * wanted.std())

    return compare

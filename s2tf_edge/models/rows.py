"""What a listing of networks says of each."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from s2tf_edge.models.cost import network_cost
from s2tf_edge.models.published import PUBLISHED
from s2tf_edge.models.registry import create_model

__all__ = ["network_row"]


def network_row(name: str, *, classes: int) -> dict[str, Any]:
    """Clips, parameters, multiply-accumulates of each form and published accuracy of a network, ready for JSON.

    Args:
        name: with options where wanted.
        classes: of its classifier.

    Raises:
        UsageError: the name or an option is unknown, or a value is out of range.
    """
    with torch.device("meta"):
        model = create_model(name, num_classes=classes)
    cost = network_cost(model)
    return {
        "name": name,
        "frames": model.spec.frames,
        "size": model.spec.size,
        **dataclasses.asdict(cost),
        "saved": round(cost.saved, 4),
        "published": [dataclasses.asdict(top1) for top1 in PUBLISHED.get(name, ())],
    }

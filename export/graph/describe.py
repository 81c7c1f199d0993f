"""What every exported graph says of itself, in ONNX's metadata properties and in OpenVINO's runtime information."""

from __future__ import annotations

import json
from collections.abc import Sequence

from s2tf_edge.spec import ClipSpec

__all__ = ["describe"]


def describe(network: str, labels: Sequence[str], spec: ClipSpec) -> dict[str, str]:
    """The properties ``network``, ``labels`` and ``clip``, the last two as JSON."""
    return {
        "network": network,
        "labels": json.dumps(list(labels), ensure_ascii=False),
        "clip": json.dumps(spec.to_dict()),
    }

"""OpenVINO on Arm, where 3-D convolutions have reference kernels only, and some integer kernels end in a crash.

Seen with OpenVINO 2026.4 (``tools/check_arm.sh``): 3-D convolutions between integers end the process with a
segmentation fault, and on processors without dot products, such as Cortex-A72, 2-D ones do not compile. Both come from
rewriting FakeQuantize into integers, which can be left out: the network then rounds as it did, and computes in floats.
In float32, for its float16 rounds differently, by 8 and 15 % of the logits' range in two of three networks tried.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s2tf_edge.runtime.hardware import has_dot_products, is_arm

__all__ = ["GraphFacts", "arm_config", "arm_warning", "computes_integers", "read_facts"]

_CONVOLUTIONS: Final = frozenset({"Convolution", "GroupConvolution"})
_IN_FLOATS: Final[Mapping[str, str]] = {"LP_TRANSFORMS_MODE": "NO", "INFERENCE_PRECISION_HINT": "f32"}
"""The first is in no documentation of OpenVINO's: it leaves FakeQuantize as it is."""


@dataclass(frozen=True, kw_only=True)
class GraphFacts:
    """What of a network decides how it runs on Arm."""

    is_quantized: bool
    has_3d: bool
    """Whether it has 3-D convolutions, depthwise ones included."""


def read_facts(network: Any) -> GraphFacts:
    """Looks through the operations of an ``openvino.Model``."""
    operations = network.get_ops()
    return GraphFacts(
        is_quantized=any(op.get_type_name() == "FakeQuantize" for op in operations),
        has_3d=any(op.get_type_name() in _CONVOLUTIONS and _rank(op) == 5 for op in operations),
    )


def computes_integers(facts: GraphFacts, *, on_arm: bool, with_dot_products: bool) -> bool:
    """Whether OpenVINO is to compute a quantized network in integers, as it does where there is nothing against it."""
    return not on_arm or (with_dot_products and not facts.has_3d)


def arm_config(facts: GraphFacts, device: str) -> Mapping[str, str]:
    """Properties that this processor needs to run the network, to be put over all others; elsewhere none.

    Args:
        facts: of the network.
        device: as OpenVINO calls it.
    """
    if not _is_processor(device) or not facts.is_quantized:
        return {}
    runs = computes_integers(facts, on_arm=is_arm(), with_dot_products=has_dot_products())
    return {} if runs else _IN_FLOATS


def arm_warning(facts: GraphFacts, device: str, *, path: Path) -> str | None:
    """What to know before a network runs on this processor, and which artifact to use instead; None for nothing.

    Args:
        facts: of the network.
        device: as OpenVINO calls it.
        path: the file.
    """
    if not is_arm() or not _is_processor(device):
        return None
    convolutions = f"the 3-D convolutions of {path} by reference kernels, which are slow"
    if arm_config(facts, device):
        what = f"{convolutions}, and its int8 in float32" if facts.has_3d else f"the int8 of {path} in float32"
        other = "ONNX Runtime has integer kernels: s2tf-export MODEL --target onnx --precision int8 --calib DATA"
    elif facts.has_3d:
        what, other = convolutions, "ONNX Runtime has faster ones: s2tf-export MODEL --target onnx"
    else:
        return None
    return f"OpenVINO on Arm computes {what}; {other}"


def _is_processor(device: str) -> bool:
    return device.partition(".")[0] == "CPU"


def _rank(op: Any) -> int:
    rank = op.output(0).get_partial_shape().rank
    return int(rank.get_length()) if rank.is_static else 0

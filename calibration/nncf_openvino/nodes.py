"""Finding one's way through OpenVINO networks, quantized or not."""

from __future__ import annotations

from typing import Any, Final

from s2tf_edge.runtime.backends.telemetry import require_without_telemetry

__all__ = [
    "PASSING",
    "is_activation_quantizer",
    "is_weight_quantizer",
    "origin",
    "readers",
    "require_openvino",
    "source",
]

PASSING: Final = frozenset(
    ["MaxPool", "Pad", "Concat", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "StridedSlice", "Split"]
)
"""Operators that only move or pick values: integers stay integers."""
_MOVING: Final = PASSING | {"SpaceToDepth"}


def require_openvino() -> Any:
    """The package that makes and writes networks, which sends no telemetry.

    Raises:
        MissingExtraError: it is not installed.
    """
    return require_without_telemetry("openvino", extra="export", purpose="int8 export")


def source(op: Any, port: int) -> Any:
    """What gives an operand."""
    return op.input_value(port).get_node()


def origin(op: Any, port: int) -> Any:
    """Where an operand comes from, before it was moved about."""
    node = source(op, port)
    while node.get_type_name() in _MOVING:
        node = source(node, 0)
    return node


def readers(op: Any) -> list[Any]:
    """What takes the results of an operator."""
    return [reader.get_node() for output in op.outputs() for reader in output.get_target_inputs()]


def is_weight_quantizer(op: Any) -> bool:
    """Whether it gives a layer weights in integers."""
    return str(op.get_friendly_name()).rpartition("/")[2].startswith("fq_weights")


def is_activation_quantizer(op: Any) -> bool:
    """Whether it rounds what it takes, which is no weight, to 256 values."""
    return op.get_type_name() == "FakeQuantize" and not is_weight_quantizer(op)

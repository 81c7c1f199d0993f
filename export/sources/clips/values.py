"""What messages say of a graph's inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_ir as ir

from s2tf_edge.export.sources.clips.layout_guess import Dims

__all__ = ["dims_of", "find_value", "name_type", "names_of", "show_dims"]


def find_value(values: Iterable[ir.Value], name: str) -> ir.Value | None:
    """The value of that name; None where there is none."""
    return next((value for value in values if value.name == name), None)


def names_of(values: Iterable[ir.Value]) -> str:
    """Their names, for a message."""
    return ", ".join(str(value.name) for value in values) or "none"


def dims_of(value: ir.Value) -> Dims:
    """Lengths of the axes, None where the graph does not fix one; empty where it tells nothing."""
    return () if value.shape is None else tuple(side if isinstance(side, int) else None for side in value.shape)


def show_dims(dims: Dims) -> str:
    """A shape for a message; what the graph leaves open is N in front and ? elsewhere."""
    return f"[{', '.join('N' if not axis and side is None else str(side or '?') for axis, side in enumerate(dims))}]"


def name_type(dtype: ir.DataType | None) -> str:
    """A type for a message: float for float32, as ONNX calls it."""
    return "of no known type" if dtype is None else ir.DataType(dtype).name.lower()

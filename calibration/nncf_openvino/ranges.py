"""Ranges of activations in networks that NNCF quantized, and other forms of them."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from s2tf_edge.calibration.nncf_openvino.nodes import (
    PASSING,
    is_activation_quantizer,
    origin,
    readers,
    require_openvino,
    source,
)

__all__ = ["activation_ranges", "fold_before_quantizing", "make_products_symmetric", "make_symmetric", "widen"]

_LOW, _HIGH = (1, 3), (2, 4)
"""Ports of a FakeQuantize: bounds of what it takes, and of what it gives."""
_LOWEST: Final = 128 / 127
"""A signed byte goes one further down than up."""


def activation_ranges(network: Any) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of every quantized activation, by NNCF's name of its quantizer."""
    ranges = {}
    for op in filter(is_activation_quantizer, network.get_ordered_ops()):
        low, high = (source(op, port).data for port in (1, 2))
        ranges[str(op.get_friendly_name())] = (float(f"{low.min():.6g}"), float(f"{high.max():.6g}"))
    return ranges


def widen(network: Any, factor: float) -> None:
    """Makes the ranges of all activations wider; zero stays where it is among their steps."""
    for op in filter(is_activation_quantizer, network.get_ordered_ops()):
        for port in (*_LOW, *_HIGH):
            _set_bound(op, port, source(op, port).data * np.float32(factor))


def make_symmetric(network: Any) -> None:
    """Makes zero the middle of all activations that have both signs; what is never negative stays unsigned.

    NNCF's performance preset does the same with the same extremes, so that statistics need not be gathered again.
    """
    for op in filter(is_activation_quantizer, network.get_ordered_ops()):
        _center(op)


def make_products_symmetric(network: Any) -> None:
    """The same for what goes into products of two activations, for which OpenVINO has no other integer kernels."""
    for op in network.get_ordered_ops():
        origins = [origin(op, port) for port in (0, 1)] if op.get_type_name() == "MatMul" else []
        if origins and all(map(is_activation_quantizer, origins)):
            for quantizer in origins:
                _center(quantizer)


def fold_before_quantizing(network: Any) -> None:
    """Lets SpaceToDepth take activations in float, and quantizes what it gives.

    OpenVINO folds floats only, and behind a fold of quantized values it has no integer layers.
    """
    for op in network.get_ordered_ops():
        if op.get_type_name() == "SpaceToDepth" and is_activation_quantizer(origin(op, 0)):
            _move_behind(origin(op, 0), op)


def _center(quantizer: Any) -> None:
    """Gives a quantizer a range around zero, or one for each channel, unless it has that or takes nothing negative."""
    low, high = (source(quantizer, port).data for port in (1, 2))
    if low.min() >= 0 or np.allclose(low, -high * _LOWEST):
        return
    bound = np.maximum(-low, high)
    for ports, values in ((_LOW, -bound * _LOWEST), (_HIGH, bound)):
        for port in ports:
            _set_bound(quantizer, port, values)


def _set_bound(quantizer: Any, port: int, values: Any) -> None:
    constant = require_openvino().op.Constant(np.asarray(values, np.float32))
    quantizer.input(port).replace_source_output(constant.output(0))


def _move_behind(quantizer: Any, fold: Any) -> None:
    """Quantizes what comes out behind a fold and the reshapes around it, instead of what goes in."""
    first = last = fold
    while source(first, 0).get_type_name() in PASSING:
        first = source(first, 0)
    while len(readers(last)) == 1 and readers(last)[0].get_type_name() in PASSING:
        (last,) = readers(last)
    taking = list(last.output(0).get_target_inputs())
    bounds = [quantizer.input_value(port) for port in range(1, 5)]
    moved = require_openvino().opset13.fake_quantize(last.output(0), *bounds, quantizer.get_attributes()["levels"])
    moved.set_friendly_name(quantizer.get_friendly_name())
    for reader in taking:
        reader.replace_source_output(moved.output(0))
    first.input(0).replace_source_output(quantizer.input_value(0))

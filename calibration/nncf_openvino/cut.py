"""Networks as NNCF quantizes them for OpenVINO, cut back to integers in some layers.

NNCF puts a FakeQuantize before whatever takes integers, a pool or a transposition included where what reads them does:

    x ─ FakeQuantize ─ MaxPool ─ Convolution ─ Add ─ …
      int8 constant ─ Convert ─ Multiply ┘

A layer that returns to float takes its activations from before the FakeQuantize, its weights from the float network:

    x ─ FakeQuantize      MaxPool ─ Convolution ─ Add ─ …         the pool as well, for nothing else reads it
    └──────────────────────┘  float constant ┘

Nothing is removed: what nobody reads any more is not written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnx

from s2tf_edge.calibration.audit import layer_name
from s2tf_edge.calibration.nncf_openvino.nodes import (
    PASSING,
    is_activation_quantizer,
    is_weight_quantizer,
    origin,
    readers,
    source,
)

__all__ = ["DENSE", "DEPTHWISE", "LAYERS", "cut", "integer_layers", "name_layers"]

DENSE: Final = frozenset(["Convolution", "MatMul"])
DEPTHWISE: Final = frozenset(["GroupConvolution"])
LAYERS: Final = DENSE | DEPTHWISE
"""Operators whose operands become integers."""
_CARRIERS: Final = frozenset(["Parameter", "Result", "Constant", "FakeQuantize"])


def name_layers(network: Any, graph: Path) -> None:
    """Gives layers that OpenVINO calls after an output of the network their own names.

    Args:
        network: an ``openvino.Model``, as OpenVINO read it.
        graph: the ONNX file that it was read from.
    """
    nodes = onnx.load(graph, load_external_data=False).graph.node
    names = {output: node.name for node in nodes for output in node.output}
    for result in network.get_results():
        value = result.input_value(0)
        # What no node gives is a constant: that of a step that only counts its frames.
        if layer := names.get(value.get_any_name()):
            value.get_node().set_friendly_name(layer)


def integer_layers(network: Any, *, operators: Collection[str]) -> tuple[str, ...]:
    """Names of the layers of some kinds whose operands come as integers, in the order in which they run."""
    ops = network.get_ordered_ops()
    return tuple(
        layer_name(op.get_friendly_name()) for op in ops if op.get_type_name() in operators and _is_quantized(op)
    )


def cut(network: Any, original: Any, *, layers: Collection[str], between: bool) -> Any:
    """A copy of a network with integers where they are wanted, and nowhere else.

    Args:
        network: an ``openvino.Model`` as NNCF made it of ``original``.
        original: in float.
        layers: names of those that stay integer.
        between: whether additions, products and means stay quantized where all that they take comes from such layers.
    """
    network = network.clone()
    # By name, which NNCF keeps: the float network is another object.
    originals = {op.get_friendly_name(): op for op in original.get_ordered_ops()}
    takers = _find_integer_takers(network, layers, between=between)
    for op in network.get_ordered_ops():
        if op.get_type_name() in LAYERS and layer_name(op.get_friendly_name()) not in layers:
            _restore_layer(op, originals)
        if op.get_name() not in takers:
            _unquantize(op)
    return network


def _is_quantized(layer: Any) -> bool:
    """Whether both operands come as integers."""
    origins = (origin(layer, port) for port in (0, 1))
    return all(node.get_type_name() == "FakeQuantize" or is_weight_quantizer(node) for node in origins)


def _find_integer_takers(network: Any, layers: Collection[str], *, between: bool) -> set[str]:
    """Names of operators whose activations stay quantized.

    Args:
        network: as NNCF quantizes it.
        layers: those that stay integer.
        between: whether operators that take nothing but results of such layers do so as well.
    """
    ops = [op for op in network.get_ordered_ops() if op.get_type_name() not in _CARRIERS]
    takers = {
        op.get_name() for op in ops if op.get_type_name() in LAYERS and layer_name(op.get_friendly_name()) in layers
    }
    if between:
        _add_operators_between(takers, ops)
    # Backwards, so that of two pools in a row the later one is decided first.
    for op in reversed(ops):
        # A pool or transposition is read as it is written.
        if op.get_type_name() in PASSING and any(reader.get_name() in takers for reader in readers(op)):
            takers.add(op.get_name())
    return takers


def _add_operators_between(takers: set[str], ops: Sequence[Any]) -> None:
    """Adds the operators that take only what integer layers gave, or what was made of it.

    With A and B integer, Add and the mean are as well; with A alone, neither is:

        Convolution A ─ FakeQuantize ─ Add ─ FakeQuantize ─ ReduceMean
        Convolution B ─ FakeQuantize ──┘
    """
    integer = set(takers)
    # In order of computation: whatever gives an operand has been decided before what takes it.
    for op in ops:
        ports = [port for port in range(op.get_input_size()) if not _is_constant(op, port)]
        given = [_skip_quantizer(source(op, port)).get_name() for port in ports]
        if op.get_type_name() not in LAYERS and given and integer.issuperset(given):
            integer.add(op.get_name())
            # Pools pass integers on, but whether they take them is up to their readers.
            if op.get_type_name() not in PASSING:
                takers.add(op.get_name())


def _is_constant(op: Any, port: int) -> bool:
    """Whether an operand is one, such as a bias, which is given its shape before it is added."""
    return bool(origin(op, port).get_type_name() == "Constant")


def _skip_quantizer(node: Any) -> Any:
    """What a quantizer quantizes; any other node is its own."""
    return source(node, 0) if node.get_type_name() == "FakeQuantize" else node


def _unquantize(op: Any) -> None:
    """Lets an operator take its activations as they are before they are quantized."""
    for port in range(op.get_input_size()):
        quantizer = source(op, port)
        if is_activation_quantizer(quantizer):
            op.input(port).replace_source_output(quantizer.input_value(0))


def _restore_layer(layer: Any, originals: Mapping[str, Any]) -> None:
    """Gives a layer back the weights that it had in float, and the bias, which NNCF corrects for integers."""
    biased = [reader for reader in readers(layer) if reader.get_type_name() == "Add"]
    for op in (layer, *biased):
        for port in range(op.get_input_size()):
            _restore_constant(op, originals[op.get_friendly_name()], port)


def _restore_constant(op: Any, original: Any, port: int) -> None:
    """Of an operand that is one, though it may be moved about before."""
    before, node = source(original, port), source(op, port)
    # Between the constant and the layer, NNCF may have put a quantizer of its own.
    if is_weight_quantizer(node) and node.get_type_name() == "FakeQuantize":
        op.input(port).replace_source_output(node.input_value(0))
        node = source(op, port)
    if before.get_type_name() == "Constant":
        op.input(port).replace_source_output(before.output(0))
    elif before.get_type_name() in PASSING and node.get_type_name() == before.get_type_name():
        _restore_constant(node, before, 0)

"""Networks as NNCF quantises them for OpenVINO, cut back to integers in some layers.

NNCF puts a FakeQuantize before whatever takes integers, a pool or a transposition included where what reads them does:

    x ─ FakeQuantize ─ MaxPool ─ Convolution ─ Add ─ …
      int8 constant ─ Convert ─ Multiply ┘

A layer that returns to float takes its activations from before the FakeQuantize, its weights from the float network.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnx

__all__ = ["DENSE", "DEPTHWISE", "LAYERS", "activation_ranges", "cut", "integer_layers", "name_layers"]

DENSE: Final = frozenset(["Convolution", "MatMul"])
DEPTHWISE: Final = frozenset(["GroupConvolution"])
LAYERS: Final = DENSE | DEPTHWISE
"""Operators whose operands become integers."""
_PASSING: Final = frozenset(
    ["MaxPool", "Pad", "Concat", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "StridedSlice", "Split"]
)
"""Operators that only move or pick values: integers stay integers."""
_CARRIERS: Final = frozenset(["Parameter", "Result", "Constant", "FakeQuantize"])
_NAME_SUFFIX: Final = "/WithoutBiases"
"""Of a convolution whose bias OpenVINO took apart."""


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
        value.get_node().set_friendly_name(names[value.get_any_name()])


def integer_layers(network: Any, *, operators: Collection[str]) -> tuple[str, ...]:
    """Names of the layers of some kinds whose operands come as integers, in the order in which they run."""
    ops = network.get_ordered_ops()
    return tuple(_layer_name(op) for op in ops if op.get_type_name() in operators and _is_quantized(op))


def cut(network: Any, original: Any, *, layers: Collection[str], between: bool) -> Any:
    """A copy of a network with integers where they are wanted, and nowhere else.

    Args:
        network: an ``openvino.Model`` as NNCF made it of ``original``.
        original: in float.
        layers: names of those that stay integer.
        between: whether additions, products and means stay quantised where all that they take comes from such layers.
    """
    network = network.clone()
    originals = {op.get_friendly_name(): op for op in original.get_ordered_ops()}
    takers = _takers_of_integers(network, layers, between=between)
    for op in network.get_ordered_ops():
        if op.get_type_name() in LAYERS and _layer_name(op) not in layers:
            _restore_layer(op, originals)
        if op.get_name() not in takers:
            _unquantize(op)
    return network


def activation_ranges(network: Any) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of every quantised activation, by NNCF's name of its quantiser."""
    ranges = {}
    for op in network.get_ordered_ops():
        name = str(op.get_friendly_name())
        if op.get_type_name() == "FakeQuantize" and not _is_weight_quantizer(op):
            low, high = (_source(op, port).data for port in (1, 2))
            ranges[name] = (float(f"{low.min():.6g}"), float(f"{high.max():.6g}"))
    return ranges


def _layer_name(op: Any) -> str:
    """As the ONNX graph has it."""
    return str(op.get_friendly_name()).removesuffix(_NAME_SUFFIX)


def _source(op: Any, port: int) -> Any:
    return op.input_value(port).get_node()


def _origin(op: Any, port: int) -> Any:
    """Where an operand comes from, before it was moved about."""
    node = _source(op, port)
    while node.get_type_name() in _PASSING:
        node = _source(node, 0)
    return node


def _is_quantized(layer: Any) -> bool:
    """Whether both operands come as integers."""
    origins = (_origin(layer, port) for port in (0, 1))
    return all(node.get_type_name() == "FakeQuantize" or _is_weight_quantizer(node) for node in origins)


def _is_weight_quantizer(op: Any) -> bool:
    return str(op.get_friendly_name()).rpartition("/")[2].startswith("fq_weights")


def _takers_of_integers(network: Any, layers: Collection[str], *, between: bool) -> set[str]:
    """Names of operators whose activations stay quantised.

    Args:
        network: as NNCF quantises it.
        layers: those that stay integer.
        between: whether operators that take nothing but results of such layers do so as well.
    """
    ops = [op for op in network.get_ordered_ops() if op.get_type_name() not in _CARRIERS]
    takers = {op.get_name() for op in ops if op.get_type_name() in LAYERS and _layer_name(op) in layers}
    if between:
        _add_operators_between(takers, ops)
    for op in reversed(ops):
        # A pool or transposition is read as it is written.
        if op.get_type_name() in _PASSING and any(reader.get_name() in takers for reader in _readers(op)):
            takers.add(op.get_name())
    return takers


def _add_operators_between(takers: set[str], ops: Sequence[Any]) -> None:
    """Adds the operators that take only what integer layers gave, or what was made of it."""
    integer = set(takers)
    for op in ops:
        ports = [port for port in range(op.get_input_size()) if not _is_constant(op, port)]
        given = [_quantized(_source(op, port)).get_name() for port in ports]
        if op.get_type_name() not in LAYERS and given and integer.issuperset(given):
            integer.add(op.get_name())
            if op.get_type_name() not in _PASSING:
                takers.add(op.get_name())


def _is_constant(op: Any, port: int) -> bool:
    """Whether an operand is one, such as a bias, which is given its shape before it is added."""
    return bool(_origin(op, port).get_type_name() == "Constant")


def _quantized(node: Any) -> Any:
    """What a quantiser quantises; any other node is its own."""
    return _source(node, 0) if node.get_type_name() == "FakeQuantize" else node


def _readers(op: Any) -> list[Any]:
    return [reader.get_node() for output in op.outputs() for reader in output.get_target_inputs()]


def _unquantize(op: Any) -> None:
    """Lets an operator take its activations as they are before they are quantised."""
    for port in range(op.get_input_size()):
        source = _source(op, port)
        if source.get_type_name() == "FakeQuantize" and not _is_weight_quantizer(source):
            op.input(port).replace_source_output(source.input_value(0))


def _restore_layer(layer: Any, originals: Mapping[str, Any]) -> None:
    """Gives a layer back the weights that it had in float, and the bias, which NNCF corrects for integers."""
    biased = [reader for reader in _readers(layer) if reader.get_type_name() == "Add"]
    for op in (layer, *biased):
        for port in range(op.get_input_size()):
            _restore_constant(op, originals[op.get_friendly_name()], port)


def _restore_constant(op: Any, original: Any, port: int) -> None:
    """Of an operand that is one, though it may be moved about before."""
    source, node = _source(original, port), _source(op, port)
    if _is_weight_quantizer(node) and node.get_type_name() == "FakeQuantize":
        op.input(port).replace_source_output(node.input_value(0))
        node = _source(op, port)
    if source.get_type_name() == "Constant":
        op.input(port).replace_source_output(source.output(0))
    elif source.get_type_name() in _PASSING and node.get_type_name() == source.get_type_name():
        _restore_constant(node, source, 0)

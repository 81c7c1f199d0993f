"""What the layers of a TensorRT network compute in.

TensorRT's networks are strongly typed: the types in the graph are the types in the engine, so they are counted on the
parsed network. A convolution or matrix product whose operands both come from DequantizeLinear computes in integers. The
engine's own layers, fused from those, are listed where an inspector can look: it needs a GPU.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["LayerFact", "count_types", "engine_layers", "network_layers"]

_KINDS: Final = {"MATRIX_MULTIPLY": "MatMul"}
_COUNTED: Final = ("Convolution", "MatMul")
_TYPES: Final = {"FLOAT": "f32", "HALF": "f16", "INT8": "i8", "UINT8": "u8", "INT32": "i32", "INT64": "i64"}
_TYPE_WORDS: Final = {
    "bf16": "bf16|bfloat16",
    "f16": "fp16|half",
    "f8": "fp8",
    "f32": "fp32|float",
    "u8": "uint8",
    "i8": "int8",
    "i32": "int32",
    "i64": "int64",
    "bool": "bool",
}
"""Regular expressions for types as inspectors write them."""


@dataclass(frozen=True, kw_only=True)
class LayerFact:
    """Name, kind and type of one layer of a network or engine."""

    name: str
    kind: str
    """Such as Convolution or MatMul; in an engine what TensorRT calls it."""
    output_type: str
    """Such as f32, f16 or i8; none where a layer has no output, unknown where an inspector does not tell."""


def network_layers(network: Any) -> tuple[LayerFact, ...]:
    """The layers of an ``INetworkDefinition`` that compute: all but constants."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    dequantized = {
        layer.get_output(index).name
        for layer in layers
        if layer.type.name == "DEQUANTIZE"
        for index in range(layer.num_outputs)
    }
    return tuple(_network_layer(layer, dequantized) for layer in layers if layer.type.name != "CONSTANT")


def count_types(layers: Sequence[LayerFact]) -> dict[str, dict[str, int]]:
    """Convolutions and matrix products by type, such as ``{"Convolution": {"f16": 50, "f32": 3}, "MatMul": {}}``."""
    counts = {kind: Counter[str]() for kind in _COUNTED}
    for layer in layers:
        if layer.kind in counts:
            counts[layer.kind][layer.output_type] += 1
    return {kind: dict(counter) for kind, counter in counts.items()}


def engine_layers(information: str) -> tuple[LayerFact, ...]:
    """The layers of an engine from its inspector's JSON.

    TensorRT 10 writes an output's type into ``Format/Datatype``, 11 into ``DataType``. A layer is only a name in an
    engine that was built without detailed verbosity.
    """
    return tuple(_engine_layer(layer) for layer in json.loads(information).get("Layers", []))


def _network_layer(layer: Any, dequantized: set[str]) -> LayerFact:
    kind = _KINDS.get(layer.type.name, layer.type.name.title().replace("_", ""))
    operands = [layer.get_input(index) for index in range(layer.num_inputs)][:2]
    is_integer = kind in _COUNTED and all(operand is not None and operand.name in dequantized for operand in operands)
    return LayerFact(name=layer.name, kind=kind, output_type="i8" if is_integer else _output_type(layer))


def _output_type(layer: Any) -> str:
    # What only steers a loop, such as its number of steps, puts out nothing.
    output = layer.get_output(0) if layer.num_outputs else None
    if output is None:
        return "none"
    name = str(output.dtype.name)
    return _TYPES.get(name, name.lower())


def _engine_layer(layer: Any) -> LayerFact:
    if isinstance(layer, str):
        return LayerFact(name=layer, kind="unknown", output_type="unknown")
    kind = str(layer.get("LayerType", "unknown"))
    return LayerFact(name=str(layer.get("Name", "")), kind=kind, output_type=next(_output_types(layer), "unknown"))


def _output_types(layer: Any) -> Iterator[str]:
    for output in layer.get("Outputs", []):
        text = str(output.get("DataType") or output.get("Format/Datatype") or "")
        yield from (name for name, words in _TYPE_WORDS.items() if re.search(rf"\b({words})\b", text, re.IGNORECASE))

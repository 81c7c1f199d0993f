"""How many convolutions and matrix products really run in integers, and why the others do not.

Quantized is not the same as integer: a runtime fuses only what it has kernels for, and computes the rest in floating
point between conversions. So the compiled network is asked, and not the graph that went into it; of TensorRT, whose
networks are strongly typed, the graph's types are what is compiled.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from s2tf_edge.errors import InputFileError
from s2tf_edge.extras import require
from s2tf_edge.runtime.backends.ort_session import KEPT_OUT
from s2tf_edge.runtime.session import LayerTime

if TYPE_CHECKING:
    # A device that counts its own layers has no use for it.
    import onnx

__all__ = [
    "Audit",
    "FloatLayer",
    "Tally",
    "audit_graph",
    "audit_layers",
    "audit_onnxruntime",
    "audit_openvino",
    "layer_name",
]

_CONVOLUTION, _MATRIX_PRODUCT = "convolution", "matrix product"
_KINDS: Final = {_CONVOLUTION: "convolutions", _MATRIX_PRODUCT: "matrix products"}
_INTEGERS: Final = ("i8", "u8")
_FATAL_ONLY: Final = 4
_NAME_SUFFIX: Final = "/WithoutBiases"
"""Of a convolution whose bias OpenVINO took apart."""

_GRAPH_KINDS: Final = {"Conv": _CONVOLUTION, "Gemm": _MATRIX_PRODUCT, "MatMul": _MATRIX_PRODUCT}
_GRAPH_INTEGER: Final = {"ConvInteger": _CONVOLUTION, "MatMulInteger": _MATRIX_PRODUCT}
_ORT_INTEGER: Final = {
    **dict.fromkeys(("QLinearConv", "ConvInteger"), _CONVOLUTION),
    **dict.fromkeys(("QGemm", "QLinearMatMul"), _MATRIX_PRODUCT),
    **dict.fromkeys(("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"), _MATRIX_PRODUCT),
}
_ORT_FLOAT: Final = {
    **dict.fromkeys(("Conv", "FusedConv", "NhwcFusedConv"), _CONVOLUTION),
    **dict.fromkeys(("Gemm", "MatMul", "FusedGemm", "FusedMatMul"), _MATRIX_PRODUCT),
}
_OPENVINO_KINDS: Final = {"Convolution": _CONVOLUTION, "FullyConnected": _MATRIX_PRODUCT, "MatMul": _MATRIX_PRODUCT}


@dataclass(frozen=True, kw_only=True)
class FloatLayer:
    """A convolution or matrix product that does not compute in integers."""

    name: str
    type: str
    """What it computes in, such as f32 or bf16."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The layers of one kind."""

    integer: int
    total: int
    rest: tuple[FloatLayer, ...]
    """Those that are not integer."""


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a network's layers compute in."""

    convolutions: Tally
    matrix_products: Tally

    def line(self) -> str:
        """Such as ``integer: 112 of 116 convolutions, 1 of 11 matrix products``; what there is none of is left out."""
        parts = ((self.convolutions, _CONVOLUTION), (self.matrix_products, _MATRIX_PRODUCT))
        counts = [f"{tally.integer} of {tally.total} {_KINDS[kind]}" for tally, kind in parts if tally.total]
        return f"integer: {', '.join(counts) or 'no layers'}"

    @property
    def integer(self) -> int:
        """Layers of both kinds that compute in integers."""
        return self.convolutions.integer + self.matrix_products.integer

    def explain(self) -> str:
        """Why layers do not compute in integers, reason by reason, with how many of a kind each holds for."""
        parts = ((self.convolutions, _CONVOLUTION), (self.matrix_products, _MATRIX_PRODUCT))
        groups = [(kind, tally, Counter(layer.reason for layer in tally.rest)) for tally, kind in parts]
        texts = [
            f"{_count(count, tally.total, kind)}: {reason}"
            for kind, tally, reasons in groups
            for reason, count in reasons.most_common()
        ]
        return "; ".join(texts) or "there is no convolution and no matrix product"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        kinds = {"convolutions": self.convolutions, "matrix_products": self.matrix_products}
        return {"line": self.line(), **{name: _to_values(tally) for name, tally in kinds.items()}}


def _count(count: int, total: int, kind: str) -> str:
    """Such as ``2 of 4 convolutions``, ``all 4 convolutions`` and ``the only matrix product``."""
    if total == 1:
        return f"the only {kind}"
    return f"all {total} {_KINDS[kind]}" if count == total else f"{count} of {total} {_KINDS[kind]}"


def _be(words: Sequence[str]) -> str:
    return "is" if words in (["input"], ["weight"]) else "are"


def audit_graph(graph: onnx.ModelProto | Path) -> Audit:
    """What a graph with Q/DQ asks for, which is what TensorRT compiles: a layer whose operands are both dequantized.

    Layers on integers themselves, which only ONNX Runtime runs, count as what they are.

    Args:
        graph: functions inlined.
    """
    import onnx

    model = onnx.load(graph, load_external_data=False) if isinstance(graph, Path) else graph
    dequantized = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    builder = _AuditBuilder()
    for node in model.graph.node:
        if kind := _GRAPH_INTEGER.get(node.op_type):
            builder.add(kind, node.name, type_="i8")
        elif kind := _GRAPH_KINDS.get(node.op_type):
            floats = [
                word for word, name in zip(("input", "weight"), node.input, strict=False) if name not in dequantized
            ]
            if node.op_type == "MatMul":
                floats = ["operands"] if floats else []
            builder.add(
                kind,
                node.name,
                type_="f32" if floats else "i8",
                reason=f"its {' and '.join(floats)} {_be(floats)} not quantized",
            )
    return builder.build()


def audit_onnxruntime(graph: Path) -> Audit:
    """What ONNX Runtime's CPU kernels compute in, from the graph that it runs after its own optimization.

    Raises:
        InputFileError: ONNX Runtime cannot read the graph.
        MissingExtraError: ONNX Runtime is not installed.
    """
    model = _optimize(graph)
    dequantized = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    builder = _AuditBuilder()
    for node in model.graph.node:
        if kind := _ORT_INTEGER.get(node.op_type):
            builder.add(kind, node.name, type_="i8")
        elif kind := _ORT_FLOAT.get(node.op_type):
            is_quantized = dequantized.issuperset(node.input[:2])
            reason = (
                "ONNX Runtime found no integer kernel for it" if is_quantized else "its operands are not all quantized"
            )
            builder.add(kind, node.name, type_="f32", reason=reason)
    return builder.build()


def audit_openvino(compiled: Any) -> Audit:
    """What an ``openvino.CompiledModel`` computes in, as its runtime model reports it."""
    builder = _AuditBuilder()
    for op in compiled.get_runtime_model().get_ordered_ops():
        facts = op.get_rt_info()
        kind = _OPENVINO_KINDS.get(_read_text(facts, "layerType"))
        if kind:
            name = _read_text(facts, "originalLayersNames").partition(",")[0] or op.get_friendly_name()
            builder.add(
                kind,
                layer_name(name),
                type_=_read_text(facts, "runtimePrecision"),
                reason="OpenVINO chose a floating-point kernel",
            )
    return builder.build()


def layer_name(name: str) -> str:
    """A layer's name in the ONNX graph, from the one that OpenVINO gave it."""
    return name.removesuffix(_NAME_SUFFIX)


def _read_text(facts: Mapping[str, Any], key: str) -> str:
    return str(facts[key].astype(str)) if key in facts else ""


def audit_layers(layers: Iterable[LayerTime]) -> Audit:
    """What ONNX Runtime's kernels compute in, from the layers that a session has run (``Session.profile``).

    It says the same as ``audit_onnxruntime`` but for reasons, and needs no package but the runtime.
    """
    builder = _AuditBuilder()
    for layer in layers:
        if kind := _ORT_INTEGER.get(layer.kind):
            builder.add(kind, layer.name, type_="i8")
        elif kind := _ORT_FLOAT.get(layer.kind):
            builder.add(kind, layer.name, type_="f32", reason="ONNX Runtime ran it in floating point")
    return builder.build()


def _optimize(graph: Path) -> onnx.ModelProto:
    import onnx

    runtime: Any = require("onnxruntime", extra="onnxruntime", purpose="counting the integer layers of ONNX Runtime")
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(optimized)
        # One file may not hold the weights, and nobody looks at them.
        options.add_session_config_entry("session.optimized_model_external_initializers_file_name", "weights")
        try:
            runtime.InferenceSession(graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=KEPT_OUT)
        except Exception as error:
            msg = f"ONNX Runtime cannot read {graph}: {error}; export it again"
            raise InputFileError(msg) from error
        return onnx.load(optimized, load_external_data=False)


def _to_values(tally: Tally) -> dict[str, Any]:
    rest = [{"layer": each.name, "type": each.type, "reason": each.reason} for each in tally.rest]
    return {"integer": tally.integer, "total": tally.total, "rest": rest}


class _AuditBuilder:
    """Counts layers one by one."""

    def __init__(self) -> None:
        self._integer = dict.fromkeys(_KINDS, 0)
        self._rest: dict[str, list[FloatLayer]] = {kind: [] for kind in _KINDS}

    def add(self, kind: str, name: str, *, type_: str, reason: str = "") -> None:
        if type_ in _INTEGERS:
            self._integer[kind] += 1
        else:
            self._rest[kind].append(FloatLayer(name=name, type=type_, reason=reason))

    def build(self) -> Audit:
        return Audit(convolutions=self._tally(_CONVOLUTION), matrix_products=self._tally(_MATRIX_PRODUCT))

    def _tally(self, kind: str) -> Tally:
        integer, rest = self._integer[kind], tuple(self._rest[kind])
        return Tally(integer=integer, total=integer + len(rest), rest=rest)

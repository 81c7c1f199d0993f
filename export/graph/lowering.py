"""From a network's float32 graph to the graph that one target gets: a row of passes, each with its own module.

u8 input → custom operators inlined or kept → rewrites for the target → but for fp32, pads merged; for int8, the stem
folded → refusals → float16 → opset
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx
import onnx.version_converter
import onnx_ir as ir

from s2tf_edge.calibration.onnx_files import through_onnx
from s2tf_edge.calibration.qdq.pool_padding import MergePads
from s2tf_edge.errors import UnsupportedError, UsageError
from s2tf_edge.export.graph.capabilities import check_supported, count_rewritable, rewrites_for
from s2tf_edge.export.graph.custom_ops import InlineCustomOps
from s2tf_edge.export.graph.functions import DOMAIN
from s2tf_edge.export.graph.macs import count_macs
from s2tf_edge.export.graph.onnx_file import count_operators
from s2tf_edge.export.graph.quantized import keep_quantized
from s2tf_edge.export.graph.rules import Compiler, GraphRules
from s2tf_edge.export.passes.floats.float16 import Float16
from s2tf_edge.export.passes.loops import FillConditions
from s2tf_edge.export.passes.strided_stem import FoldStrides
from s2tf_edge.export.passes.u8_input import U8Input
from s2tf_edge.spec import ClipSpec
from s2tf_edge.words import one_line

__all__ = ["Lowered", "lower"]


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """A graph as its target gets it."""

    model: ir.Model
    operators: Mapping[str, Any]
    """How every operator that is not simply standard went: nodes, and ``kept``, ``inlined`` or the pass that rewrote
    it."""
    facts: Mapping[str, Any]
    """Opset, operators and multiply-accumulates, for ``meta.json``."""

    def output_shape(self, name: str) -> list[int | None]:
        """Shape of an output; None for the batch where it is free."""
        output = next(each for each in self.model.graph.outputs if each.name == name)
        return [side if isinstance(side, int) else None for side in output.shape or ()]


def lower(
    model: ir.Model,
    *,
    rules: GraphRules,
    targets: Mapping[str, Compiler],
    precision: str,
    custom_ops: str,
    spec: ClipSpec,
    opset: int | None,
    is_quantized: bool = False,
) -> Lowered:
    """Applies the passes that a target's ``rules`` ask for; ``model`` is changed.

    Args:
        model: a source's graph in float32.
        rules: of the target that it is for.
        targets: all that there are, and their compilers, for advice where this one refuses an operator.
        precision: fp16 turns the types of a graph to float16, where the target computes in the types of the graph.
        custom_ops: auto, keep or inline.
        spec: the clips that the finished graph takes; uint8 puts normalization into the graph.
        opset: to convert to; None for the graph's own.
        is_quantized: whether the graph holds integers already, which are to be kept.

    Raises:
        UnsupportedError: a pass cannot do what it is for; or the graph cannot be converted to ``opset``.
        UsageError: nodes with bodies are to be kept and converted to another opset, which would change the bodies.
    """
    macs = sum(count_macs(model).values())
    form = rules.custom_ops if custom_ops == "auto" else custom_ops
    if precision == "int8":
        # Quantizers see standard operators only.
        form = "inline"
    # Another opset means other bodies: converters know standard operators only.
    if opset is not None and opset != model.opset_imports[""] and model.functions:
        form = _inline_for_opset(custom_ops, opset)
    if spec.dtype == "uint8":
        U8Input(spec)(model)
    # TensorRT's parser misses a condition that is left out, and none minds one that is there.
    FillConditions()(model)
    operators = _lower_custom_ops(model, rules=rules, form=form)
    operators |= _rewrite(model, rules.compiler, opset=opset)
    if is_quantized:
        keep_quantized(model, rules.compiler)
    elif precision != "fp32":
        # A pad of -inf before a pool cannot be quantized, and would keep all around it in float; -3e38 is no float16.
        MergePads()(model)
    if precision == "int8" and rules.folds_strides and not is_quantized:
        FoldStrides()(model)
    check_supported(model, rules.compiler, targets=targets)
    if precision == "fp16" and rules.computes_in_graph_types:
        Float16()(model)
    if opset is not None:
        model = _convert_opset(model, opset)
    facts = {"opset": model.opset_imports[""], "macs": macs, "operators": count_operators(model)}
    return Lowered(model=model, operators=operators, facts=facts)


def _inline_for_opset(custom_ops: str, opset: int) -> str:
    if custom_ops == "keep":
        msg = f"`custom_ops='keep'` ships bodies of opset 18, got `opset={opset}`; leave one of them out"
        raise UsageError(msg)
    return "inline"


def _lower_custom_ops(model: ir.Model, *, rules: GraphRules, form: str) -> dict[str, Any]:
    found = _custom_nodes(model)
    if form == "inline":
        InlineCustomOps()(model)
    elif rules.takes_plugins:
        _name_plugins(model)
    return {
        name: {"nodes": count, "lowered": "kept, with its body" if form == "keep" else "inlined"}
        for name, count in found.items()
    }


def _name_plugins(model: ir.Model) -> None:
    """Says where TensorRT is to look for a plugin of a node's name; without one, it takes the body."""
    for node in model.graph:
        if node.domain == DOMAIN:
            node.attributes["plugin_namespace"] = ir.AttrString("plugin_namespace", DOMAIN)


def _custom_nodes(model: ir.Model) -> Counter[str]:
    """Nodes that have a body in the file."""
    return Counter(f"{node.domain}::{node.op_type}" for node in model.graph if node.op_identifier() in model.functions)


def _rewrite(model: ir.Model, compiler: Compiler, *, opset: int | None) -> dict[str, Any]:
    before = count_rewritable(model, compiler, opset=opset)
    forms = {name: each for name, each in rewrites_for(compiler, opset=opset).items() if before[name]}
    for rewrite in dict.fromkeys(forms.values()):
        rewrite.make()(model)
    after = count_rewritable(model, compiler, opset=opset)
    return {
        name: {"nodes": before[name] - after[name], "lowered": f"rewritten by {each.name}: {each.why}"}
        for name, each in forms.items()
        if after[name] < before[name]
    }


def _convert_opset(model: ir.Model, opset: int) -> ir.Model:
    own = model.opset_imports[""]
    if own == opset:
        return model
    try:
        # onnxscript's converter, which needs no copy of the weights, only goes up.
        return _upgrade(model, opset) if opset > own else _downgrade(model, opset)
    except (RuntimeError, onnx.version_converter.ConvertError) as error:
        reason = one_line(str(error).rpartition("failed: ")[2])
        msg = f"this graph of opset {own} cannot be converted to opset {opset} ({reason}); leave out `opset`"
        raise UnsupportedError(msg) from error


def _upgrade(model: ir.Model, opset: int) -> ir.Model:
    from onnxscript import version_converter

    version_converter.convert_version(model, target_version=opset)
    if model.opset_imports[""] != opset:
        msg = f"an operator stays at opset {model.opset_imports['']}"
        raise RuntimeError(msg)
    return model


def _downgrade(model: ir.Model, opset: int) -> ir.Model:
    return through_onnx(model, lambda proto: _convert_proto(proto, opset))


def _convert_proto(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    return onnx.shape_inference.infer_shapes(onnx.version_converter.convert_version(proto, opset))

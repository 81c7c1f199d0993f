"""The table of operators: how each compiler takes what 3D ConvNets are made of, and the refusals that follow from it.

A compiler takes an operator natively, gets it in another form (``Rewrite``), or not at all (``Refusal``). Rows say what
the compilers were found to do; ``tests/export/graph/test_capabilities.py`` asks them again, but for TensorRT, whose
library installs only beside NVIDIA's: its column follows NVIDIA's table of operators for 10.15 and its parser's change
log, and 10.3, the version of JetPack 6, is to take the graphs too. docs/targets.md shows the table and is compared with
it.

Functions in the file, and with them operators of domain ``ai.s2tf``, are a matter of ``GraphRules.custom_ops``.
Operators that no row has are the target's own business: its compiler takes them, or its refusal names them
(``unsupported``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import onnx_ir as ir

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.graph.rules import ONNX_RUNTIME, OPENVINO, TENSORRT, TENSORRT_RTX, Compiler
from s2tf_edge.export.graph.unsupported import describe_node
from s2tf_edge.export.passes.einsum import EinsumToMatMul
from s2tf_edge.export.passes.expand import ExpandOperators
from s2tf_edge.export.passes.resize import ResizeToMatMul, WrapToGather, counts_axes_from_the_end, is_rare_resize
from s2tf_edge.export.passes.rewrites import SwishToSigmoid
from s2tf_edge.export.passes.windows import (
    PadPools,
    PadTransposes,
    asks_for_size,
    pads_dilated_by_itself,
    rounds_up,
)
from s2tf_edge.words import counted

__all__ = [
    "CAPABILITIES",
    "Capability",
    "Refusal",
    "Rewrite",
    "capability_of",
    "check_supported",
    "count_rewritable",
    "rewrites_for",
]


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """The compiler gets other operators in place of this one, which compute the same."""

    name: str
    """Name of the pass."""
    make: Callable[[], ir.passes.InPlacePass]
    why: str
    is_needed: bool = False
    """Whether there is no other way: nodes that the pass leaves as they are, are refused."""


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """The compiler does not take it, or, worse, computes something else without a word."""

    why: str


@dataclass(frozen=True, kw_only=True)
class Capability:
    """One row: operators, and the compilers that do not take them natively."""

    operators: tuple[str, ...]
    case: str = ""
    """What is special about the nodes that the row is for, in words; empty for all nodes that no earlier row is for."""
    applies: Callable[[ir.Node], bool] = lambda _: True
    """Whether the row is for a node of these operators."""
    since: int = 1
    """Opset that the operators are first in; a graph of an older one has ONNX's definition of them in their place."""
    forms: Mapping[Compiler, Rewrite | Refusal] = field(default_factory=dict)
    """What is not taken natively, by who does not."""


def _ints(node: ir.Node, name: str) -> tuple[int, ...]:
    """An attribute of whole numbers; empty where it is not given, or by reference."""
    attribute = node.attributes.get(name)
    return () if attribute is None or attribute.is_ref() else tuple(attribute.as_ints())


def _is_dilated(node: ir.Node) -> bool:
    return any(dilation != 1 for dilation in _ints(node, "dilations"))


def _is_strided_and_dilated(node: ir.Node) -> bool:
    return _is_dilated(node) and any(stride != 1 for stride in _ints(node, "strides"))


def _gives_positions(node: ir.Node) -> bool:
    return any(output.name and (output.uses() or output.is_graph_output()) for output in node.outputs[1:])


def _keeps_aspect(node: ir.Node) -> bool:
    return node.attributes.get_string("keep_aspect_ratio_policy", "stretch") != "stretch"


def _is_cubic_in_3d(node: ir.Node) -> bool:
    x = node.inputs[0]
    is_3d = x is not None and x.shape is not None and len(x.shape) > 4
    return is_3d and node.attributes.get_string("mode", "nearest") == "cubic"


def _goes_round(node: ir.Node) -> bool:
    return node.attributes.get_string("mode", "constant") == "wrap"


def _has_reference(node: ir.Node) -> bool:
    given = (node.attributes.get(name) for name in ("kernel_shape", "strides", "dilations"))
    return any(attribute is not None and attribute.is_ref() for attribute in given)


def _definition(*operators: str, why: str, is_needed: bool = False) -> Rewrite:
    return Rewrite(name="ExpandOperators", make=partial(ExpandOperators, *operators), why=why, is_needed=is_needed)


def _on_all(form: Refusal) -> dict[Compiler, Rewrite | Refusal]:
    return {ONNX_RUNTIME: form, OPENVINO: form} | _on_tensorrt(form)


def _on_others(form: Rewrite | Refusal) -> dict[Compiler, Rewrite | Refusal]:
    """On all but ONNX Runtime, which networks from elsewhere are compared with."""
    return {OPENVINO: form} | _on_tensorrt(form)


def _on_tensorrt(form: Rewrite | Refusal) -> dict[Compiler, Rewrite | Refusal]:
    return {TENSORRT: form, TENSORRT_RTX: form}


_PRODUCT: Final = Rewrite(
    name="EinsumToMatMul",
    make=EinsumToMatMul,
    why="compilers fuse and quantize matrix products; what is none stays an Einsum",
)
_REFERENCE: Final = Refusal(
    why="its parser takes such strides and dilations for 1 without a word, and refuses such a kernel shape"
)
_ROUNDED: Final = Rewrite(
    name="PadPools",
    make=PadPools,
    why="it computes other windows at the end, or divides them by another number",
    is_needed=True,
)
_SIZED: Final = Rewrite(
    name="PadTransposes", make=PadTransposes, why="it divides the padding in another way", is_needed=True
)
_RESIZED: Final = Rewrite(name="ResizeToMatMul", make=ResizeToMatMul, why="it has none such", is_needed=True)

CAPABILITIES: Final = (
    # What sets compilers apart; the first row that fits a node counts.
    Capability(
        operators=("Conv", "ConvTranspose", "AveragePool", "LpPool", "MaxPool"),
        case="in a function's body, with a kernel shape, strides or dilations that the function has as attributes",
        applies=_has_reference,
        forms=_on_tensorrt(_REFERENCE),
    ),
    Capability(
        operators=("AveragePool", "Conv", "LpPool", "MaxPool"),
        case="with dilations, and padding by `auto_pad`",
        applies=pads_dilated_by_itself,
        forms=_on_all(
            Refusal(
                why="ONNX Runtime, which artifacts are compared with, leaves dilations out of such padding or does not "
                "run it; export the network with `pads`"
            )
        ),
    ),
    Capability(
        operators=("AveragePool", "LpPool", "MaxPool"),
        case="with `ceil_mode`",
        applies=rounds_up,
        forms=_on_others(_ROUNDED),
    ),
    Capability(
        operators=("AveragePool", "LpPool", "MaxPool"),
        case="with dilations",
        applies=_is_dilated,
        forms=_on_tensorrt(Refusal(why="it has no pools with dilations")),
    ),
    Capability(
        operators=("MaxPool",),
        case="with the positions of the maxima as a second output",
        applies=_gives_positions,
        forms=_on_tensorrt(Refusal(why="its pools give no positions")),
    ),
    Capability(
        operators=("ConvTranspose",),
        case="with `output_shape`, or padding by `auto_pad`",
        applies=asks_for_size,
        forms=_on_others(_SIZED),
    ),
    Capability(
        operators=("ConvTranspose",),
        case="with strides and dilations",
        applies=_is_strided_and_dilated,
        forms={TENSORRT_RTX: Refusal(why="it has no transposed convolutions with both")},
    ),
    Capability(
        operators=("Resize",),
        case="of cubic mode over frames, height and width",
        applies=_is_cubic_in_3d,
        forms=_on_all(Refusal(why="ONNX Runtime, which artifacts are compared with, has it for pictures only")),
    ),
    Capability(
        operators=("Resize",),
        case="with a `keep_aspect_ratio_policy`",
        applies=_keeps_aspect,
        forms=_on_others(Refusal(why="it stretches to all of `sizes`; export the network with `scales`")),
    ),
    Capability(
        operators=("Resize",),
        case="with `antialias`, half_pixel_symmetric or tf_crop_and_resize",
        applies=is_rare_resize,
        forms=_on_others(_RESIZED),
    ),
    Capability(
        operators=("Resize",),
        case="with negative `axes`",
        applies=counts_axes_from_the_end,
        forms={
            OPENVINO: Rewrite(
                name="ResizeToMatMul", make=ResizeToMatMul, why="it counts axes from the front", is_needed=True
            )
        },
    ),
    Capability(
        operators=("Pad",),
        case="of mode wrap",
        applies=_goes_round,
        forms={OPENVINO: Rewrite(name="WrapToGather", make=WrapToGather, why="it has no such mode", is_needed=True)},
    ),
    Capability(operators=("Einsum",), forms={OPENVINO: _PRODUCT} | _on_tensorrt(_PRODUCT)),
    Capability(
        operators=("Swish",),
        since=24,
        forms={
            TENSORRT: Rewrite(
                name="SwishToSigmoid", make=SwishToSigmoid, why="TensorRT 10 does not have it", is_needed=True
            )
        },
    ),
    Capability(
        operators=("Attention",),
        since=23,
        forms={
            TENSORRT: _definition(
                "Attention", why="new in TensorRT 10.14, and there for some forms only", is_needed=True
            ),
            TENSORRT_RTX: _definition("Attention", why="the compiler crashes on it", is_needed=True),
        },
    ),
    Capability(operators=("Gelu",), since=20, forms={TENSORRT: _definition("Gelu", why="older TensorRT 10 lacks it")}),
    Capability(operators=("Mish",), forms={TENSORRT: _definition("Mish", why="older TensorRT 10 lacks it")}),
    # What all take as it is. Definitions of norms would be computed in float16 in a float16 graph, so norms stay whole.
    Capability(operators=("Conv", "ConvTranspose", "Gemm", "MatMul")),
    Capability(operators=("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")),
    Capability(operators=("CumSum", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum", "TopK")),
    Capability(
        operators=(
            *("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization"),
            *("LpNormalization", "MeanVarianceNormalization", "RMSNormalization"),
        )
    ),
    Capability(
        operators=(
            *("Celu", "Clip", "Elu", "Erf", "HardSigmoid", "HardSwish", "LeakyRelu", "LogSoftmax", "PRelu", "Relu"),
            *("Selu", "Sigmoid", "Softmax", "Softplus", "Softsign", "Tanh", "ThresholdedRelu"),
        )
    ),
    Capability(
        operators=("Abs", "Add", "Div", "Exp", "Max", "Mean", "Min", "Mul", "Pow", "Sqrt", "Sub", "Sum", "Where")
    ),
    Capability(
        operators=(
            *("Cast", "Concat", "Expand", "Flatten", "Gather", "Pad", "Reshape", "Resize", "Shape", "Slice", "Split"),
            *("Squeeze", "Tile", "Transpose", "Unsqueeze"),
        )
    ),
)


def capability_of(node: ir.Node) -> Capability | None:
    """The first row that is for ``node``; None where none is."""
    if node.domain:
        return None
    return next((row for row in CAPABILITIES if node.op_type in row.operators and row.applies(node)), None)


def rewrites_for(compiler: Compiler, *, opset: int | None = None) -> Mapping[str, Rewrite]:
    """The operators that a compiler gets in another form, and which.

    Args:
        compiler: what takes the graph.
        opset: what the graph is to be converted to, which may be too old for an operator; None where it stays.
    """
    found: dict[str, Rewrite] = {}
    for row in CAPABILITIES:
        for name in row.operators:
            form = _form(row, name, compiler=compiler, opset=opset)
            if isinstance(form, Rewrite):
                found.setdefault(name, form)
    return found


def count_rewritable(model: ir.Model, compiler: Compiler, *, opset: int | None = None) -> Counter[str]:
    """Nodes that a compiler gets in another form, by operator; arguments as for ``rewrites_for``.

    The bodies of functions count once a node that calls them.
    """
    counts: Counter[str] = Counter()
    for call in model.graph:
        for node in model.functions.get(call.op_identifier(), (call,)):
            row = capability_of(node)
            if row and isinstance(_form(row, node.op_type, compiler=compiler, opset=opset), Rewrite):
                counts[node.op_type] += 1
    return counts


def _form(row: Capability, operator: str, *, compiler: Compiler, opset: int | None) -> Rewrite | Refusal | None:
    form = row.forms.get(compiler)
    if form is None and opset is not None and opset < row.since:
        return _definition(operator, why=f"opset {opset} does not have it")
    return form


def check_supported(model: ir.Model, compiler: Compiler, *, targets: Mapping[str, Compiler]) -> None:
    """Refuses what a compiler is known not to take, before it, which might crash or miscompute, is asked.

    Args:
        model: after the compiler's rewrites; shapes are for the message.
        compiler: what takes the graph.
        targets: what else there is to export for, and whose compilers these are, for the message.

    Raises:
        UnsupportedError: of a node, its module and shapes, with the reason and how many more there are.
    """
    refused = [(node, why) for node in _nodes(model) if (why := _refusal(node, compiler)) is not None]
    if not refused:
        return
    node, why = refused[0]
    others = len(refused) - 1
    more = f" and {counted(others, 'more node')}" if others else ""
    advice = _advice(node, targets, is_in_graph=node in set(model.graph.all_nodes()))
    msg = f"{compiler.name} does not take {describe_node(node)}{more}: {why}; {advice}"
    raise UnsupportedError(msg)


def _nodes(model: ir.Model) -> Iterator[ir.Node]:
    """All nodes, those of subgraphs and functions included."""
    yield from model.graph.all_nodes()
    for function in model.functions.values():
        yield from function.all_nodes()


def _refusal(node: ir.Node, compiler: Compiler) -> str | None:
    """Why a compiler does not take ``node``; None where it may."""
    row = capability_of(node)
    form = None if row is None else row.forms.get(compiler)
    if isinstance(form, Refusal) or (isinstance(form, Rewrite) and form.is_needed):
        return form.why
    return None


def _advice(node: ir.Node, targets: Mapping[str, Compiler], *, is_in_graph: bool) -> str:
    if not is_in_graph:
        return "write the function out with `custom_ops='inline'`"
    taking = [name for name, compiler in targets.items() if _refusal(node, compiler) is None]
    return "replace it in the network" + (f", or export for {' or '.join(taking)}" if taking else "")

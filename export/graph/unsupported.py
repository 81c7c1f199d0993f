"""Which nodes of a graph a compiler meant when it refused an operator: their names, modules, attributes and shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import onnx
import onnx_ir as ir

from s2tf_edge.calibration.onnx_files import through_onnx
from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.graph.compiler_words import compiler_words
from s2tf_edge.words import counted

__all__ = ["describe_node", "unsupported_operators"]

_UNKNOWN: Final = (
    # OpenVINO: a list of "Bernoulli-20" and "com.example.Strange".
    r"No conversion rule found for operations: (.+)",
    # ONNX Runtime: "com.example:Strange(-1) is not a registered function/op".
    r"([\w.:]+)\(-?\d+\) is not a registered function",
)
_NODES: Final = (
    # ONNX Runtime: "Could not find an implementation for Atanh(9) node with name 'gate/Atanh'"; "running Conv node.
    # Name:'gate/Conv'"; "Node (gate/Conv) Op (Conv)"; "(op_type:Conv, node name: gate/Conv)".
    r"node with name '([^']*)'",
    r"running \w+ node\. Name:'([^']*)'",
    r"Node \(([^)]*)\) Op",
    r"node name: ([^)]*)\)",
    # OpenVINO, while it compiles and while it reads: "type: Convert name: gate/Cast"; "<Node(Reshape): flat/Reshape>".
    r"of type: \w+ name: (.+)",
    r"<Node\(\w+\): ([^>]+)>",
)
_SAID: Final = {
    *(ir.AttributeType.INT, ir.AttributeType.FLOAT, ir.AttributeType.STRING),
    *(ir.AttributeType.INTS, ir.AttributeType.FLOATS, ir.AttributeType.STRINGS),
}
_ADVICE: Final = "replace it in the network, or export for another `target`"
Opens = Callable[[bytes], object]
"""Asks a compiler to take an ONNX model; raises where it does not."""


def unsupported_operators(graph: Path, target: str, *, message: str, opens: Opens | None = None) -> UnsupportedError:
    """The error for a graph that ``target`` refused.

    Args:
        graph: the ONNX file.
        target: name of the compiler or runtime.
        message: its own words, in which the operators or nodes that it refused are looked for.
        opens: asks it about one node after the other, where it names none.

    Returns:
        An error that names the first node refused, its module, attributes and what it takes, how many more there are,
        and the compiler's reason: that it has no such operator, or its own words.
    """
    model = through_onnx(ir.load(graph), onnx.shape_inference.infer_shapes)
    if nodes := _unknown_nodes(model, message):
        msg = (
            f"{target} has no operator for {describe_node(nodes[0])}{_count_others(nodes)}; "
            f"replace it in the network, or give it a body of operators that {target} has"
        )
        return UnsupportedError(msg)
    words = compiler_words(message)
    nodes = _named_nodes(model, message) or (_refused_alone(model, opens) if opens else [])
    if not nodes:
        return UnsupportedError(f"{target} cannot run this network: {words}")
    msg = f"{target} does not take {describe_node(nodes[0], attributes=True)}{_count_others(nodes)}: {words}; {_ADVICE}"
    return UnsupportedError(msg)


def _count_others(nodes: Sequence[ir.Node]) -> str:
    others = len(nodes) - 1
    return f" and {counted(others, 'more node')}" if others else ""


def _unknown_nodes(model: ir.Model, message: str) -> list[ir.Node]:
    operators = {name.strip() for names in _find_all(_UNKNOWN, message) for name in names.split(",")}
    return [node for node in model.graph.all_nodes() if _spellings(node, model.opset_imports) & operators]


def _named_nodes(model: ir.Model, message: str) -> list[ir.Node]:
    named = set(_find_all(_NODES, message))
    return [node for node in model.graph.all_nodes() if _names(node, model) & named or _is_expanded(node, named)]


def _is_expanded(node: ir.Node, named: set[str]) -> bool:
    """Whether a node is named by what OpenVINO puts in its place, such as ``Func_gate/DrawX_random``."""
    return any(name.startswith(f"Func_{node.name}X") for name in named if node.name)


def _refused_alone(model: ir.Model, opens: Opens) -> list[ir.Node]:
    """The first node that is refused by itself, and all of its kind."""
    tried: set[str] = set()
    for node in model.graph:
        kind = describe_node(node, attributes=True).replace(str(node.name), "")
        if kind not in tried and not _is_taken_alone(node, model, opens):
            return [node]
        tried.add(kind)
    return []


def _is_taken_alone(node: ir.Node, model: ir.Model, opens: Opens) -> bool:
    proto = onnx.ModelProto(ir_version=model.ir_version)
    proto.opset_import.extend(
        onnx.helper.make_opsetid(domain, version) for domain, version in model.opset_imports.items()
    )
    proto.functions.extend(ir.to_proto(function) for function in model.functions.values())
    proto.graph.name = "alone"
    proto.graph.node.append(ir.to_proto(node))
    for value in {str(value.name): value for value in node.inputs if value is not None}.values():
        if (tensor := ir.convenience.get_const_tensor(value)) is not None:
            proto.graph.initializer.append(onnx.numpy_helper.from_array(tensor.numpy(), value.name))
        else:
            proto.graph.input.append(ir.serde.serialize_value(value))
    proto.graph.output.extend(ir.serde.serialize_value(value) for value in node.outputs if value.name)
    try:
        opens(proto.SerializeToString())
    except Exception:
        return False
    return True


def _find_all(expressions: tuple[str, ...], message: str) -> list[str]:
    return [text for expression in expressions for text in re.findall(expression, message)]


def _spellings(node: ir.Node, opsets: dict[str, int]) -> set[str]:
    """How runtimes write a node's operator."""
    if node.domain:
        return {f"{node.domain}.{node.op_type}", f"{node.domain}:{node.op_type}"}
    return {node.op_type, f"{node.op_type}-{opsets.get('')}"}


def _names(node: ir.Node, model: ir.Model) -> set[str | None]:
    """What runtimes call a node: by its name, by its outputs or, where it has a body, by what is inlined for it."""
    body = model.functions.get(node.op_identifier(), ())
    inlined = {f"_inlfunc_{node.op_type}_{inner.name or ''}" for inner in body}
    return {node.name, *(output.name for output in node.outputs), *inlined}


def describe_node(node: ir.Node, *, attributes: bool = False) -> str:
    """Such as ``Mul 'stages.1/Mul' of module stages.1, which takes float32 [1, 8, 4] and float32 [1]``.

    Args:
        node: with or without a name.
        attributes: whether to say them, but for tensors and graphs.
    """
    module = (node.name or "").rpartition("/")[0]
    taken = " and ".join(_tensor(value) for value in node.inputs if value is not None and value.shape is not None)
    kind = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    where = f" of module {module}" if module else ""
    given = f" ({said})" if attributes and (said := ", ".join(_attributes(node))) else ""
    return f"{kind} '{node.name}'{where}{given}" + (f", which takes {taken}" if taken else "")


def _attributes(node: ir.Node) -> Iterator[str]:
    for name, attribute in node.attributes.items():
        if not attribute.is_ref() and attribute.type in _SAID:
            value = attribute.value
            yield f"{name} {value if isinstance(value, str | int | float) else list(value)}"


def _tensor(value: ir.Value) -> str:
    dtype = "" if value.dtype is None else f"{_type_name(value.dtype)} "
    sides = value.shape.dims if value.shape is not None else ()
    return f"{dtype}[{', '.join(map(str, sides))}]" + (", which is empty" if 0 in sides else "")


def _type_name(dtype: ir.DataType) -> str:
    return "string" if dtype == ir.DataType.STRING else str(dtype.numpy().name)

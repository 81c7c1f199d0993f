"""Which nodes of a graph a compiler meant when it refused an operator: their names, modules and shapes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import onnx
import onnx_ir as ir

from s2tf_edge.calibration.onnx_files import through_onnx
from s2tf_edge.errors import UnsupportedError

__all__ = ["describe_node", "unsupported_operators"]

_OPERATORS: Final = (
    # OpenVINO: a list of "Bernoulli-20" and "com.example.Strange".
    r"No conversion rule found for operations: (.+)",
    # ONNX Runtime: "com.example:Strange(-1) is not a registered function/op".
    r"([\w.:]+)\(-?\d+\) is not a registered function",
)
_NODES: Final = (
    # ONNX Runtime: "Could not find an implementation for Atanh(9) node with name 'gate/Atanh'".
    r"node with name '([^']*)'",
    # OpenVINO, while it compiles and while it reads: "type: Convert name: gate/Cast"; "<Node(Reshape): flat/Reshape>".
    r"of type: \w+ name: (.+)",
    r"<Node\(\w+\): ([^>]+)>",
)


def unsupported_operators(graph: Path, target: str, *, message: str) -> UnsupportedError:
    """The error for a graph that ``target`` refused.

    Args:
        graph: the ONNX file.
        target: name of the compiler or runtime.
        message: its own words, in which the operators or nodes that it refused are looked for.

    Returns:
        An error that names the first node refused, its module and the shapes it takes, and how many more there are.
    """
    model = through_onnx(ir.load(graph), onnx.shape_inference.infer_shapes)
    nodes = _refused_nodes(model, message)
    if not nodes:
        return UnsupportedError(f"{target} cannot run this network: {_last_line(message)}")
    others = len(nodes) - 1
    more = f" and {others} more node{'s' if others > 1 else ''}" if others else ""
    msg = (
        f"{target} has no operator for {describe_node(nodes[0])}{more}; "
        f"replace it in the network, or give it a body of operators that {target} has"
    )
    return UnsupportedError(msg)


def _refused_nodes(model: ir.Model, message: str) -> list[ir.Node]:
    """Nodes of the operators that are said to be unknown; else the nodes named."""
    nodes = list(model.graph.all_nodes())
    operators = {name.strip() for names in _find_all(_OPERATORS, message) for name in names.split(",")}
    named = set(_find_all(_NODES, message))
    of_operators = [node for node in nodes if _spellings(node, model.opset_imports) & operators]
    return of_operators or [node for node in nodes if _names(node, model) & named]


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


def describe_node(node: ir.Node) -> str:
    """Such as ``Mul 'stages.1/Mul' of module stages.1, which takes float32 [1, 8, 4] and float32 [1]``."""
    module = (node.name or "").rpartition("/")[0]
    taken = " and ".join(_tensor(value) for value in node.inputs if value is not None and value.shape is not None)
    kind = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
    where = f" of module {module}" if module else ""
    return f"{kind} '{node.name}'{where}" + (f", which takes {taken}" if taken else "")


def _tensor(value: ir.Value) -> str:
    dtype = "" if value.dtype is None else f"{value.dtype.numpy().name} "
    return f"{dtype}[{', '.join(map(str, value.shape or ()))}]"


def _last_line(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else "it gave no reason"

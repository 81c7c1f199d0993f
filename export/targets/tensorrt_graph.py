"""Reading ``model.onnx`` with TensorRT's parser, and saying which layer it does not take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2tf_edge.errors import InputFileError, UnsupportedError
from s2tf_edge.export.graph.compiler_words import compiler_words
from s2tf_edge.runtime.backends.tensorrt_library import EngineLog, TensorRt

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["parse_graph"]


def parse_graph(library: TensorRt, network: Any, graph: Path, *, log: EngineLog) -> Any:
    """Reads an ONNX file into an empty network.

    Args:
        library: TensorRT or TensorRT-RTX.
        network: an ``INetworkDefinition`` without layers.
        graph: the file; weights outside it lie beside it.
        log: hears what the parser says.

    Returns:
        The parser, which owns weights of the network: keep it until the engine is built.

    Raises:
        InputFileError: the file is missing or not ONNX.
        UnsupportedError: TensorRT does not take an operator, or not in these types and shapes.
    """
    parser = library.module.OnnxParser(network, log.listener)
    if not graph.is_file():
        msg = f"{graph} does not exist; export the model again"
        raise InputFileError(msg)
    if parser.parse_from_file(str(graph)):
        return parser
    if not parser.num_errors:
        msg = f"{library} cannot read {graph}: {log.last_error}; export it for another `target`"
        raise UnsupportedError(msg)
    error = parser.get_error(0)
    if error.code() == library.module.ErrorCode.MODEL_DESERIALIZE_FAILED:
        msg = f"{graph} is not an ONNX model ({compiler_words(error.desc())}); export it again"
        raise InputFileError(msg)
    msg = f"{library} does not take {_location(error, graph)}: {_words(error)}; try another `target` or `precision`"
    raise UnsupportedError(msg)


def _words(error: Any) -> str:
    """The parser's own, but where it only says that a check was false, or looked for a plugin in the end."""
    words = compiler_words(error.desc())
    if words == "false":
        return "it has no such operator"
    return f"it has no such operator ({words})" if "lugin" in words else words


def _location(error: Any, graph: Path) -> str:
    """Node, operator, module and the shapes of the inputs; of the call where it is inside an ONNX function."""
    # Outermost call first, each as "name (operator)".
    calls = [str(call) for call in getattr(error, "local_function_stack", list)()]
    inner = f"node {error.node_name() or f'number {error.node()}'} (operator {error.node_operator()})"
    name, operator = calls[0].rstrip(")").rsplit(" (", 1) if calls else (error.node_name(), error.node_operator())
    model = _load(graph)
    node = _find(model, name, index=None if calls else error.node(), operator=operator) if model else None
    parts = [inner]
    parts += [f"in the body of {call}" for call in reversed(calls)]
    if "/" in name:
        parts.append(f"of module {name.rpartition('/')[0]}")
    if model and node:
        parts.append(f"with inputs {_inputs(model, node)}")
    return " ".join(parts)


def _load(graph: Path) -> ModelProto | None:
    """The graph with the shapes that can be inferred; a device that finishes a build need not have onnx."""
    try:
        import onnx
    except ImportError:
        return None
    model = onnx.load(graph, load_external_data=False)
    try:
        return onnx.shape_inference.infer_shapes(model)
    except onnx.shape_inference.InferenceError:
        return model


def _find(model: ModelProto, name: str, *, index: int | None, operator: str) -> NodeProto | None:
    """The node of that name; by its number where it has none."""
    nodes: list[NodeProto] = list(model.graph.node)
    numbered = nodes[index : index + 1] if index is not None else []
    named = [node for node in nodes if name and node.name == name]
    return next((node for node in named + numbered if node.op_type == operator), None)


def _inputs(model: ModelProto, node: NodeProto) -> str:
    from onnx import helper

    known = {value.name: value.type.tensor_type for value in (*model.graph.input, *model.graph.value_info)}
    shapes = {name: (kind.elem_type, _shape(kind)) for name, kind in known.items()}
    shapes |= {weight.name: (weight.data_type, list(map(str, weight.dims))) for weight in model.graph.initializer}
    texts = []
    for name in node.input:
        kind, shape = shapes.get(name, (0, []))
        texts.append(f"{helper.tensor_dtype_to_np_dtype(kind)} [{', '.join(shape)}]" if kind else f"{name} (unknown)")
    return ", ".join(texts)


def _shape(kind: Any) -> list[str]:
    return [side.dim_param or str(side.dim_value or "?") for side in kind.shape.dim]

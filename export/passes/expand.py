"""Operators that ONNX defines by other operators, replaced by their definition."""

from __future__ import annotations

from typing import Any, Final

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, RemoveUnusedNodesPass, ShapeInferencePass

from s2tf_edge.export.passes.graph_edits import GraphEditor, layer_of
from s2tf_edge.export.passes.rewrites import DropIdentities

__all__ = ["ExpandOperators"]

_DOMAIN: Final = "expanded"


class ExpandOperators(ir.passes.InPlacePass):
    """Puts ONNX's own definition in place of operators that a target does not know.

    ``Attention`` (opset 23) is the one that needs it: TensorRT 10 does not know it, and TensorRT-RTX 1.7 crashes while
    it builds an engine of it. Softmax is then a node of its own, which stays in float32 in a float16 graph.
    """

    def __init__(self, *operators: str) -> None:
        self._operators = operators

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Expands every such node of the graph that has a definition at its opset."""
        nodes = [node for node in model.graph if node.domain == "" and node.op_type in self._operators]
        if nodes:
            # Some definitions depend on types, and on which inputs are given.
            ShapeInferencePass(strict_mode=False)(model)
        modified = [node for node in nodes if _expand(model, node)]
        if modified:
            DropIdentities()(model)
            RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, bool(modified))


def _expand(model: ir.Model, node: ir.Node) -> bool:
    body = _definition(node, model.opset_imports[""])
    if body is None:
        return False
    layer, before = layer_of(node), set(model.graph)
    body.domain = node.domain = _DOMAIN
    model.functions[body.identifier()] = body
    model.graph.opset_imports[_DOMAIN] = 1
    InlinePass(lambda function: function.domain == _DOMAIN)(model)
    del model.graph.opset_imports[_DOMAIN]
    editor = GraphEditor(model.graph)
    for new in [each for each in model.graph if each not in before]:
        new.name = editor.free_name(f"{layer}/{new.op_type}" if layer else new.op_type)
        if not new.outputs[0].is_graph_output():
            new.outputs[0].name = new.name
    return True


def _definition(node: ir.Node, opset: int) -> ir.Function | None:
    schema: Any = onnx.defs.get_schema(node.op_type, opset)
    proto = onnx.FunctionProto()
    if schema.has_context_dependent_function:
        types = [b"" if value is None else _type_bytes(value) for value in node.inputs]
        proto.ParseFromString(schema.get_context_dependent_function(ir.to_proto(node).SerializeToString(), types))
    elif schema.has_function:
        _set_defaults(node, schema)
        proto.CopyFrom(schema.function_body)
    else:
        return None
    # Outputs that the node leaves out may lack a definition.
    del proto.output[len(node.outputs) :]
    # A definition has the opset of its operator's last change, and its operators mean the same in the graph's.
    del proto.opset_import[:]
    proto.opset_import.append(onnx.helper.make_opsetid("", opset))
    return ir.serde.deserialize_function(proto)


def _set_defaults(node: ir.Node, schema: Any) -> None:
    """Gives ``node`` the attributes that it leaves out, to which the definition refers."""
    for name, attribute in schema.attributes.items():
        if name not in node.attributes and attribute.default_value.type:
            node.attributes[name] = ir.serde.deserialize_attribute(attribute.default_value)


def _type_bytes(value: ir.Value) -> bytes:
    return b"" if value.type is None else ir.serde.serialize_type(value.type).SerializeToString()

"""Operators in another form, for targets and quantizers that take only that: same values, other nodes.

What a target needs is found by asking its compiler (``capabilities``). Where a library has the rewrite, it is used, and
the names of layers are put back.
"""

from __future__ import annotations

import abc
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from onnxscript.rewriter import RewriteRuleSet
from onnxscript.rewriter.rules.common import fuse_batchnorm_into_conv_rule, fuse_batchnorm_into_gemm_rule

from s2tf_edge.export.passes.cleaning.no_ops import NO_OPS, passed_input
from s2tf_edge.export.passes.graph_edits import GraphEditor, layer_of

__all__ = ["DropIdentities", "FoldNorms", "NodeRewrite", "SwishToSigmoid"]


class NodeRewrite(ir.passes.InPlacePass):
    """Puts other nodes in place of each node of some operators, in the graph and in the functions of the file."""

    operators: ClassVar[frozenset[str]]
    """Standard operators to look at."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrites what can be rewritten and leaves the rest."""
        modified = False
        graphs: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
        for graph in graphs:
            editor = GraphEditor(graph)
            for node in [node for node in graph if node.domain == "" and node.op_type in self.operators]:
                value = self.rewrite(node, editor)
                if value is not None:
                    editor.replace(node, value)
                    modified = True
        return ir.passes.PassResult(model, modified)

    @abc.abstractmethod
    def rewrite(self, node: ir.Node, editor: GraphEditor) -> ir.Value | None:
        """What takes the place of the first output of ``node``; None to leave it as it is."""


class SwishToSigmoid(NodeRewrite):
    """Swish as ``x · sigmoid(alpha · x)``.

    Swish is an operator from opset 24 on. TensorRT 10, and ONNX Runtime and OpenVINO of before, do not know it, and
    quantizers look for the product.
    """

    operators = frozenset(["Swish"])

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> ir.Value | None:
        """Sigmoid and product, named after the layer."""
        x = node.inputs[0]
        alpha = node.attributes.get("alpha")
        if x is None or (alpha is not None and alpha.is_ref()):
            return None
        layer = layer_of(node)
        inner = x
        if alpha is not None and alpha.as_float() != 1:
            dtype = (x.dtype or ir.DataType.FLOAT).numpy()
            factor = ir.tensor(np.asarray(alpha.as_float(), dtype))
            constant = editor.constant(factor, name=f"{layer}/alpha", before=node)
            inner = editor.insert(node, "Mul", [x, constant], layer=layer, dtype=x.dtype, shape=x.shape)
        gate = editor.insert(node, "Sigmoid", [inner], layer=layer, dtype=x.dtype, shape=x.shape)
        return editor.insert(node, "Mul", [x, gate], layer=layer, dtype=x.dtype, shape=x.shape)


class DropIdentities(NodeRewrite):
    """Takes out what changes nothing (``no_ops``).

    Between a convolution or a weight and what reads it, such a node keeps compilers and quantizers from seeing the
    pair: ONNX Runtime fused 4 integer convolutions of 20 where weights passed through Identity. Branches of control
    flow stay as they are: an Identity there may give a value of the graph around it as an output.
    """

    operators = NO_OPS

    def rewrite(self, node: ir.Node, editor: GraphEditor) -> ir.Value | None:
        """The input of ``node``; None where that would have two names, as an input or a weight that is an output."""
        x, output = passed_input(node), node.outputs[0]
        if x is None or (output.is_graph_output() and (x.producer() is None or x.is_graph_output())):
            return None
        return x


class FoldNorms(ir.passes.InPlacePass):
    """Folds batch norms into the convolution or linear layer before them.

    A graph from elsewhere may have been exported with its norms. Compilers fold them in float32, but not across the
    casts that a norm in float32 between float16 convolutions brings.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Folds those whose convolution has no other reader and weights of its own."""
        names = {norm.outputs[0].name: conv.name for norm in model.graph for conv in _normalized_by(norm)}
        rules = RewriteRuleSet([fuse_batchnorm_into_conv_rule, fuse_batchnorm_into_gemm_rule])
        count = rules.apply_to_model(model)
        editor = GraphEditor(model.graph)
        for node in model.graph:
            output = node.outputs[0]
            if node.op_type in {"Conv", "Gemm"} and output.name in names:
                node.name = editor.free_name(names[output.name] or node.op_type)
                if not output.is_graph_output():
                    output.name = node.name
        return ir.passes.PassResult(model, modified=count > 0)


def _normalized_by(norm: ir.Node) -> list[ir.Node]:
    """The layer whose result a batch norm takes."""
    x = norm.inputs[0] if norm.op_type == "BatchNormalization" else None
    producer = None if x is None else x.producer()
    return [] if producer is None else [producer]

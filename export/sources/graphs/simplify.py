"""A graph from elsewhere in the form that passes and quantizers look for: layers with weights, and nothing idle."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from s2tf_edge.export.passes.cleaning.folding import fold_constants
from s2tf_edge.export.passes.rewrites import DropIdentities, FoldNorms
from s2tf_edge.export.sources.graphs.node_names import name_nodes

__all__ = ["simplify"]


def simplify(model: ir.Model) -> ir.Model:
    """Folds constants, drops what changes nothing, and folds batch norms into the layers before them.

    In this order: a weight has to be one before it can be seen, and what is dropped may lie between a convolution and
    its norm.

    Args:
        model: of the batch that is exported, as shapes follow from that; not to be used any more.

    Returns:
        The graph. Layers have the names that they had.
    """
    model = fold_constants(model)
    DropIdentities()(model)
    FoldNorms()(model)
    RemoveUnusedNodesPass()(model)
    name_nodes(model)
    return model

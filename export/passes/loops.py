"""Loops that always go on, with a condition that says so."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from s2tf_edge.export.passes.graph_edits import GraphEditor

__all__ = ["FillConditions", "has_no_condition"]


def has_no_condition(node: ir.Node) -> bool:
    """Whether a loop leaves out the condition to begin with, which then holds."""
    return len(node.inputs) < 2 or node.inputs[1] is None


class FillConditions(ir.passes.InPlacePass):
    """Gives each Loop of the graph the condition that it leaves out."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Leaves loops within other nodes as they are."""
        editor = GraphEditor(model.graph)
        loops = [node for node in model.graph if not node.domain and node.op_type == "Loop" and has_no_condition(node)]
        for loop in loops:
            loop.resize_inputs(max(2, len(loop.inputs)))
            holds = ir.tensor(np.array(True))
            loop.replace_input_with(1, editor.constant(holds, name=f"{loop.name}/condition"))
        return ir.passes.PassResult(model, bool(loops))

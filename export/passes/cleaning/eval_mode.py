"""Nodes that are left in training mode, or that draw random numbers: found, told and, where that can be, switched.

A norm in training mode computes with the statistics of the clips that it is given, a dropout with random numbers: what
such a graph says of a clip depends on what else is asked, and no artifact can be compared with it. How a node says
which mode it is in has changed with the opsets:

    BatchNormalization   to 6   is_test=1 for inference        Dropout   to 6    is_test=1 for inference
                         7–13   no statistics put out                    7–11   always inference
                         14 on  training_mode=0                          12 on  no third input, or a false one
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir

from s2tf_edge.export.passes.graph_edits import constant_input

__all__ = ["EvalMode", "FoundNodes", "find_random", "find_training", "untouched_norms"]

_NORM, _DROPOUT = "BatchNormalization", "Dropout"
_RANDOM: Final = {
    *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
}
_STATISTICS: Final = (3, 4)
"""Where a norm has its mean and variance."""
_SHOWN: Final = 3


@dataclass(frozen=True)
class FoundNodes:
    """Nodes of a kind.

    Attributes:
        nodes: such as ``BatchNormalization stem/bn``, each with the first value that it gives.
    """

    nodes: tuple[tuple[str, str], ...]

    def __bool__(self) -> bool:
        return bool(self.nodes)

    def among(self, values: set[str], *, known: set[str]) -> FoundNodes:
        """Those that give one of ``values``, or one that is not ``known``: who cannot tell, does not leave it out."""
        return FoundNodes(tuple(each for each in self.nodes if each[1] in values or each[1] not in known))

    def __str__(self) -> str:
        """The node; of several how many of each operator, and the first of them."""
        if len(self.nodes) == 1:
            return self.nodes[0][0]
        counts = Counter(name.partition(" ")[0] for name, _ in self.nodes)
        named = ", ".join(name for name, _ in self.nodes[:_SHOWN])
        kinds = " and ".join(f"{count} {operator}" for operator, count in counts.items())
        return f"{kinds} ({named}{', …' if len(self.nodes) > _SHOWN else ''})"


def find_training(model: ir.Model) -> FoundNodes:
    """Batch norms and dropouts in training mode, those of subgraphs and functions included."""
    return _describe(node for node, opset in _nodes(model) if _is_training(node, opset))


def find_random(model: ir.Model) -> FoundNodes:
    """Nodes that draw random numbers whatever mode they are in."""
    return _describe(node for node, _ in _nodes(model) if node.domain == "" and node.op_type in _RANDOM)


def _describe(nodes: Iterator[ir.Node]) -> FoundNodes:
    return FoundNodes(tuple((f"{node.op_type} {_name(node)}", str(node.outputs[0].name)) for node in nodes))


def _name(node: ir.Node) -> str:
    return node.name or str(node.outputs[0].name)


def _nodes(model: ir.Model) -> Iterator[tuple[ir.Node, int]]:
    """All nodes with the opset that holds for them."""
    opset = model.opset_imports.get("", 1)
    for node in model.graph.all_nodes():
        yield node, opset
    for function in model.functions.values():
        for node in function.all_nodes():
            yield node, function.opset_imports.get("", opset)


def _is_training(node: ir.Node, opset: int) -> bool:
    if node.domain or node.op_type not in {_NORM, _DROPOUT}:
        return False
    if opset < 7:
        return not node.attributes.get_int("is_test", 0)
    if node.op_type == _DROPOUT:
        return opset >= 12 and _drops(node)
    if opset < 14:
        return len([output for output in node.outputs if output.name]) > 1
    return bool(node.attributes.get_int("training_mode", 0))


def _drops(node: ir.Node) -> bool:
    """Whether a dropout of opset 12 on may drop anything: what no constant rules out, it may."""
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return False
    mode, ratio = constant_input(node, 2), constant_input(node, 1)
    return (mode is None or bool(mode.any())) and (ratio is None or bool(ratio.any()))


class EvalMode(ir.passes.InPlacePass):
    """Switches batch norms and dropouts to inference: norms to the statistics that the graph holds.

    What else a norm puts out, its running statistics, becomes those that it holds; dropouts pass on what they get.
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Switches in place.

        Raises:
            ValueError: a norm has no statistics to switch to.
        """
        nodes = [(node, opset) for node, opset in _nodes(model) if _is_training(node, opset)]
        for node, opset in nodes:
            if node.op_type == _NORM:
                _check_statistics(node)
                _drop_statistics(node)
            _switch(node, opset)
        return ir.passes.PassResult(model, modified=bool(nodes))


def _switch(node: ir.Node, opset: int) -> None:
    if opset < 7:
        node.attributes.add(ir.AttrInt64("is_test", 1))
    elif node.op_type == _DROPOUT:
        node.replace_input_with(2, None)
    elif opset >= 14:
        node.attributes.add(ir.AttrInt64("training_mode", 0))


def _check_statistics(node: ir.Node) -> None:
    arrays = [constant_input(node, index) for index in _STATISTICS]
    if any(array is None for array in arrays):
        msg = f"{node.op_type} {_name(node)} has no mean and variance in the graph"
        raise ValueError(msg)
    mean, variance = (np.asarray(array, np.float64) for array in arrays if array is not None)
    if not np.isfinite(mean).all() or not np.isfinite(variance).all() or (variance < 0).any():
        msg = f"{node.op_type} {_name(node)} has a mean or variance that is none: {variance.min()}"
        raise ValueError(msg)


def untouched_norms(model: ir.Model) -> Sequence[str]:
    """Names of norms whose statistics are those that a network begins with: mean 0 and variance 1 everywhere."""
    return [_name(node) for node, _ in _nodes(model) if _is_untouched(node)]


def _is_untouched(node: ir.Node) -> bool:
    if node.op_type != _NORM or node.domain:
        return False
    arrays = [constant_input(node, index) for index in _STATISTICS]
    return all(array is not None for array in arrays) and all(
        bool((array == number).all()) for array, number in zip(arrays, (0, 1), strict=True) if array is not None
    )


def _drop_statistics(node: ir.Node) -> None:
    """Lets who reads the statistics that a norm puts out read those that it holds; as outputs they go."""
    held = [node.inputs[index] for index in _STATISTICS] * 2
    for output, value in zip(node.outputs[1:], held, strict=False):
        if value is None:
            continue
        graph = node.graph
        if output.is_graph_output() and isinstance(graph, ir.Graph):
            graph.outputs[:] = [each for each in graph.outputs if each is not output]
        output.replace_all_uses_with(value)
    node.resize_outputs(1)

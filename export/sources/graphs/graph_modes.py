"""Refusing a graph whose answers depend on more than the clip: training mode, and random numbers."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import onnx_ir as ir

from s2tf_edge.errors import InputFileError
from s2tf_edge.export.passes.cleaning.eval_mode import FoundNodes
from s2tf_edge.export.sources.graphs.plain_graph import LoadedGraph

__all__ = ["check_modes"]

logger = logging.getLogger(__name__)

_SHOWN: Final = 3


def check_modes(loaded: LoadedGraph, logits: ir.Value, path: Path, *, eval_mode: bool) -> None:
    """Whether the logits come of the clip alone; other outputs may come of what they like.

    Warns of norms that were switched to statistics which no clip has ever touched.

    Args:
        loaded: a graph that was read.
        logits: the output of it that is exported.
        path: the file that it came in.
        eval_mode: whether norms and dropouts have been switched.

    Raises:
        InputFileError: they come of random numbers, or of nodes that are still in training mode.
    """
    needed, known = _values_before(logits), _all_values(loaded.model)
    if random := loaded.random.among(needed, known=known):
        raise InputFileError(_random_message(random, path))
    training = loaded.training.among(needed, known=known)
    if training and not eval_mode:
        msg = (
            f"{path} is in training mode, in which norms compute with the statistics of the clips at hand and dropouts "
            f"drop at random: {training}; export it again after model.eval(), or have it switched with `eval_mode=True`"
        )
        raise InputFileError(msg)
    if loaded.untouched:
        names = ", ".join(loaded.untouched[:_SHOWN])
        logger.warning(
            "%s: %d norms (%s, …) are switched to mean 0 and variance 1, which is where training begins: the file may "
            "have been written without the statistics of its training",
            path,
            len(loaded.untouched),
            names,
        )


def _random_message(random: FoundNodes, path: Path) -> str:
    return (
        f"{path} draws random numbers for its logits: {random}; no artifact could be compared with it; take them out "
        "of the network's forward, where they may be noise, stochastic depth or a dropout of its own, and export again"
    )


def _values_before(value: ir.Value) -> set[str]:
    """Names of all values that one comes of, those within subgraphs and calls included."""
    names, waiting, seen = {str(value.name)}, [value.producer()], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        inner = [each for graph in _subgraphs(node) for each in graph.all_nodes()]
        for each in (node, *inner):
            names |= {str(output.name) for output in each.outputs}
            waiting += [given.producer() for given in each.inputs if given is not None]
    return names


def _subgraphs(node: ir.Node) -> list[ir.Graph]:
    graphs = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            graphs.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            graphs += attribute.as_graphs()
    return graphs


def _all_values(model: ir.Model) -> set[str]:
    """Of the graph and its subgraphs: what functions compute is known to nobody outside, and so needed."""
    return {str(output.name) for node in model.graph.all_nodes() for output in node.outputs}

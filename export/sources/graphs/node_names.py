"""Names of nodes: every node has one, and none two."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

__all__ = ["has_shared_names", "name_nodes"]


def has_shared_names(model: ir.Model) -> bool:
    """Whether two nodes have one name, for which ONNX Runtime refuses a file."""
    counts = Counter(node.name for node in ir.traversal.RecursiveGraphIterator(model.graph) if node.name)
    return any(count > 1 for count in counts.values())


def name_nodes(model: ir.Model) -> None:
    """Makes names of nodes unique: nodes without one become ``<OpType>_<k>``, of several of one name one keeps it.

    All others stay as they are: they are what ``--exclude`` matches.
    """
    nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
    taken = {node.name for node in nodes}
    counts: Counter[str] = Counter()
    seen: set[str] = set()
    for node in nodes:
        if not node.name or node.name in seen:
            node.name = _next_name(node.name or node.op_type, counts, taken)
        seen.add(node.name)


def _next_name(base: str, counts: Counter[str], taken: set[str | None]) -> str:
    while True:
        counts[base] += 1
        name = f"{base}_{counts[base]}"
        if name not in taken:
            return name

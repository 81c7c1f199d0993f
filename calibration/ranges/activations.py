"""Activations of a graph, clip by clip, without all of a clip's in memory.

Tensors are exposed in groups, and each group has a graph of its own that ends with it: what is computed is held only as
long as ONNX Runtime needs it, plus one group. ONNX Runtime's own calibrators keep the exposed activations of every
clip until the last has run, which for 300 clips of a 3D network is hundreds of gigabytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

from s2tf_edge.calibration.onnx_files import open_in_onnxruntime
from s2tf_edge.calibration.ranges.batches import Batches, Inputs
from s2tf_edge.errors import UsageError
from s2tf_edge.extras import require

__all__ = ["GROUP_BYTES", "Activations"]

GROUP_BYTES: Final = 512 * 2**20
"""Size up to which tensors share a group; a single tensor may be larger."""
_FATAL_ONLY: Final = 4


class Activations:
    """Runs a float graph and gives its inner tensors."""

    def __init__(self, model: ir.Model, tensors: Sequence[str], *, group_bytes: int = GROUP_BYTES) -> None:
        """Opens a session for each group.

        Args:
            model: its first input is the clip, or frames of a step; stays as it is.
            tensors: names of float32 values of the graph.
            group_bytes: see ``GROUP_BYTES``.

        Raises:
            MissingExtraError: ONNX Runtime is not installed.
            UsageError: the graph has no such tensor.
        """
        runtime: Any = require("onnxruntime", extra="export", purpose="calibration")
        self._input = str(model.graph.inputs[0].name)
        self._batch = _batch(model)
        self._groups = [
            (names, _open(runtime, _expose(model, names))) for names in _group(model, tensors, limit=group_bytes)
        ]

    @property
    def groups(self) -> list[list[str]]:
        """Tensors that are in memory at the same time."""
        return [names for names, _ in self._groups]

    def of(self, clips: Iterable[Inputs]) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Every tensor of every batch of clips, one clip after the other.

        Args:
            clips: each as the graph takes it, the batch axis of length 1 in front. Where the graph takes several at
                once, the last batch is filled up with its last clip. Of a graph that steps, all inputs of each step.

        Yields:
            A tensor's name and its values.
        """
        for batch in Batches(clips, size=self._batch):
            feed = dict(batch) if isinstance(batch, Mapping) else {self._input: batch}
            for names, session in self._groups:
                yield from zip(names, session.run(names, feed), strict=True)


def _batch(model: ir.Model) -> int:
    """Clips that the graph takes at once; 1 where it takes any number."""
    shape = model.graph.inputs[0].shape
    first = shape[0] if shape is not None else 1
    return first if isinstance(first, int) else 1


def _group(model: ir.Model, tensors: Sequence[str], *, limit: int) -> list[list[str]]:
    """Neighbors in the order of computation, up to ``limit`` bytes for one batch."""
    sizes = _sizes(model, unknown=limit)
    missing = sorted(set(tensors) - set(sizes))
    if missing:
        msg = f"the graph has no tensor {', '.join(missing[:4])}; give names of node outputs or of the input"
        raise UsageError(msg)
    groups: list[list[str]] = []
    filled = limit
    for name in sorted(set(tensors), key=list(sizes).index):
        if filled + sizes[name] > limit:
            groups.append([])
            filled = 0
        groups[-1].append(name)
        filled += sizes[name]
    return groups


def _sizes(model: ir.Model, *, unknown: int) -> dict[str, int]:
    """Bytes of each value in float32, in the order of computation; free axes count as 1."""
    graph = ShapeInferencePass(strict_mode=False)(model.clone()).model.graph
    values = [*graph.inputs, *(output for node in graph for output in node.outputs)]
    sizes = {}
    for value in values:
        sides = [side if isinstance(side, int) else 1 for side in value.shape or ()]
        sizes[str(value.name)] = unknown if value.shape is None else 4 * math.prod(sides)
    return sizes


def _expose(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """The part of a copy of the graph that computes ``names``."""
    part = model.clone()
    values = {value.name: value for node in part.graph for value in node.outputs}
    values |= {value.name: value for value in part.graph.inputs}
    del part.graph.outputs[:]
    part.graph.outputs.extend(values[name] for name in names)
    RemoveUnusedNodesPass()(part)
    return part


def _open(runtime: Any, model: ir.Model) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    return open_in_onnxruntime(runtime, model, sess_options=options)

"""What each layer puts out for one clip, by the name of its result in the exported graph.

All that computes floating-point numbers counts as a layer: pools, sums and activations as much as convolutions. Their
results are asked for some at a time, as those of a whole network may not fit into memory.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes.common import ShapeInferencePass

from s2tf_edge.calibration.onnx_files import open_in_onnxruntime
from s2tf_edge.export.graph.custom_ops import InlineCustomOps
from s2tf_edge.extras import require
from s2tf_edge.runtime.session import Clips

__all__ = ["GraphLayers", "LayerMaps", "Layers", "first_clip", "in_portions", "repeat_clip"]

LayerMaps = dict[str, NDArray[np.float32]]
"""Layers' outputs by name, in the order in which the layers run."""

_FLOATS: Final = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16}
_NO_LAYERS: Final = {"Cast", "Constant", "DequantizeLinear", "Identity", "QuantizeLinear"}
"""They compute nothing of their own."""
_PORTION: Final = 2**27
"""Bytes of float32 that are asked for at a time."""
_UNKNOWN: Final = 2**24
"""Bytes that an output of unknown shape is taken for."""


class Layers(abc.ABC):
    """A network and a clip, to ask for what its layers put out."""

    @property
    @abc.abstractmethod
    def kinds(self) -> Mapping[str, str]:
        """Operators by the names of what they put out, in the order in which they run; empty where not known."""

    @abc.abstractmethod
    def maps(self, names: Sequence[str]) -> LayerMaps:
        """Outputs of these layers for the clip."""


class GraphLayers(Layers):
    """Those of an ONNX graph, run by ONNX Runtime; bodies of its own operators are written out."""

    def __init__(self, model: ir.Model, clip: Clips) -> None:
        """Takes a graph, which is changed, and one clip of the kind that it takes, whatever its batch."""
        InlineCustomOps()(model)
        # What was written out has no types yet.
        ShapeInferencePass(strict_mode=False)(model)
        self._model, self._clip = model, clip
        self._values = {str(value.name): (node.op_type, value) for node, value in _outputs(model)}

    @property
    def kinds(self) -> Mapping[str, str]:
        """Of all floating-point results that have a name."""
        return {name: kind for name, (kind, _) in self._values.items()}

    def size(self, name: str) -> int:
        """Bytes of an output in float32."""
        shape = self._values[name][1].shape
        sides = () if shape is None else tuple(side if isinstance(side, int) else 1 for side in shape)
        return _UNKNOWN if shape is None else 4 * math.prod(sides)

    def maps(self, names: Sequence[str]) -> LayerMaps:
        """Runs the graph with these outputs in place of its own."""
        runtime: Any = require("onnxruntime", extra="export", purpose="searching the layer that differs")
        own = list(self._model.graph.outputs)
        self._model.graph.outputs[:] = [self._values[name][1] for name in names]
        try:
            session = open_in_onnxruntime(runtime, self._model)
        finally:
            self._model.graph.outputs[:] = own
        clip = session.get_inputs()[0]
        batch = clip.shape[0]
        outputs = session.run(list(names), {clip.name: repeat_clip(self._clip, batch)})
        return {name: first_clip(output, batch) for name, output in zip(names, outputs, strict=True)}


def _outputs(model: ir.Model) -> Iterator[tuple[ir.Node, ir.Value]]:
    for node in model.graph:
        if node.op_type not in _NO_LAYERS:
            yield from ((node, value) for value in node.outputs if value.name and value.dtype in _FLOATS)


def in_portions(names: Sequence[str], layers: GraphLayers) -> Iterator[list[str]]:
    """The names in turn, as many at once as fit into some memory."""
    portion: list[str] = []
    size = 0
    for name in names:
        size += layers.size(name)
        if portion and size > _PORTION:
            yield portion
            portion, size = [], layers.size(name)
        portion.append(name)
    if portion:
        yield portion


def repeat_clip(clip: Clips, batch: object) -> Clips:
    """One clip as often as a network of a fixed batch takes clips; once where ``batch`` is no number."""
    return clip.repeat(batch, axis=0) if isinstance(batch, int) else clip


def first_clip(output: NDArray[Any], batch: object) -> NDArray[np.float32]:
    """The part of a layer's output that belongs to the first clip; clips lie in its first axis."""
    if not output.ndim:
        return output.astype(np.float32)
    rows = max(1, len(output) // batch) if isinstance(batch, int) else len(output)
    return output[:rows].astype(np.float32)

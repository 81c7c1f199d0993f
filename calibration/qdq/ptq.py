"""Post-training quantization of ONNX graphs: integers written into the graph as QuantizeLinear and DequantizeLinear.

TensorRT and TensorRT-RTX compute in the types that the graph says, ONNX Runtime fuses what lies between two pairs into
integer kernels, OpenVINO reads the graph like a network quantized by NNCF. No one placement serves all three (see
``placement``).
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx_ir as ir

from s2tf_edge.calibration.onnx_files import save_model
from s2tf_edge.calibration.qdq.insertion import InsertQdq
from s2tf_edge.calibration.qdq.placement import COMPUTED, PRODUCT, ExcludedLayer, Placement, before_layers, place
from s2tf_edge.calibration.qdq.pool_padding import MergePads
from s2tf_edge.calibration.qdq.styles import Style, find_style
from s2tf_edge.calibration.ranges.batches import Inputs
from s2tf_edge.calibration.ranges.ranges import Range, measure_ranges
from s2tf_edge.calibration.ranges.rolling import RolledSteps
from s2tf_edge.errors import UnsupportedError
from s2tf_edge.preprocess import normalize
from s2tf_edge.spec import ClipSpec

__all__ = ["MeasuredGraph", "QdqReport", "measure_graph", "quantizable_layers"]

_MIN_OPSET: Final = 13
"""From which QuantizeLinear takes a scale for each channel."""


@dataclass(frozen=True, kw_only=True)
class QdqReport:
    """What was quantized, and how."""

    style: str
    method: str
    layers: tuple[str, ...]
    """Convolutions and matrix products that compute in integers."""
    excluded: tuple[ExcludedLayer, ...]
    """Those that do not."""
    ranges: Mapping[str, Range]
    """What each quantized activation covers, by its name."""

    def to_dict(self) -> dict[str, Any]:
        """For ``calib.json``: plain JSON values, ranges as [lowest, highest]."""
        ranges = {name: [float(f"{each.low:.6g}"), float(f"{each.high:.6g}")] for name, each in self.ranges.items()}
        excluded = [{"layer": each.name, "operator": each.operator, "reason": each.reason} for each in self.excluded]
        return {
            "method": self.method,
            "style": self.style,
            "quantized_layers": list(self.layers),
            "float_layers": excluded,
            "activation_ranges": ranges,
        }


@dataclass(frozen=True, kw_only=True)
class MeasuredGraph:
    """A float graph and the ranges of its activations: one measurement for any number of integer graphs."""

    graph: Path
    style: Style
    method: str
    ranges: Mapping[str, Range]

    def write(self, out: Path, *, excluded: Collection[str] = (), weight_bits: int = 8) -> QdqReport:
        """Writes an integer graph.

        Args:
            out: where to.
            excluded: names of nodes that stay in floating point.
            weight_bits: 8, or 7 for processors whose integer kernels overflow (``hardware.saturates_int8``).

        Raises:
            UnsupportedError: nothing in the graph can be quantized.
            UsageError: the graph has no node of such a name.
        """
        model = _load(self.graph)
        placement = _place(model, self.style, excluded=excluded)
        ranges = _share_ranges(placement, self.ranges)
        report = QdqReport(
            style=self.style.name,
            method=self.method,
            layers=tuple(layer.name or "" for layer in placement.layers),
            excluded=placement.excluded,
            ranges=ranges,
        )
        InsertQdq(placement, ranges, self.style, weight_bits=weight_bits)(model)
        save_model(model, out)
        return report


def measure_graph(
    graph: Path, *, clips: Iterable[Inputs], style: str, method: str = "minmax", spec: ClipSpec | None = None
) -> MeasuredGraph:
    """Measures all activations of a float32 graph that may be quantized.

    Args:
        graph: an ONNX file with one input, functions inlined.
        clips: as the graph takes them, each with the batch axis of length 1 in front; may be gone through twice.
        style: tensorrt, openvino or onnxruntime.
        method: how ranges are chosen, one of ``s2tf_edge.calibration.ranges.ranges.METHODS``.
        spec: the clips as pixels. With it the first layer's range is that of all pixels, and not left to the clips,
            among which there may be no white, unless clips go beyond it; without it that is measured like any other.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        UnsupportedError: the graph's opset is below 13, or nothing in it can be quantized.
        UsageError: style or method are unknown, or there are no clips.
        VerificationError: an activation is not finite.
    """
    chosen = find_style(style)
    model = _load(graph)
    placement = _place(model, chosen)
    # With layers excluded, the other input of a sum may be the one to quantize.
    sums = [value for node, _ in placement.edges if node.op_type == "Add" for value in node.inputs]
    tensors = {str(value.name): None for value in (*placement.values, *sums) if value is not None}
    bounds: dict[str, Range] = {}
    if spec is not None:
        extremes = [
            normalize(np.full((spec.frames, spec.size, spec.size, 3), pixel, np.uint8), spec) for pixel in (0, 255)
        ]
        shown = [clip[np.newaxis] for clip in extremes]
        feeds = [clips.of_pixels(clip) for clip in shown] if isinstance(clips, RolledSteps) else shown
        bounds = _measure_pixel_ranges(model, feeds, tensors=tensors)
    ranges = measure_ranges(
        model, clips, tensors=list(tensors), method=method, is_signed=chosen.is_signed, bounds=bounds
    )
    return MeasuredGraph(graph=graph, style=chosen, method=method, ranges=ranges)


def _measure_pixel_ranges(model: ir.Model, clips: Iterable[Inputs], *, tensors: Collection[str]) -> dict[str, Range]:
    """Of those tensors that no layer comes before, over a black clip and a white one.

    That is all there can be of what is computed pixel by pixel; of what compares pixels, as motion does, it is nothing.
    """
    names = [str(value.name) for value in before_layers(model.graph) if value.name in tensors]
    return measure_ranges(model, clips, tensors=names, method="minmax", is_signed=lambda _: True, is_sample=False)


def _load(graph: Path) -> ir.Model:
    model = ir.load(graph)
    opset = model.opset_imports.get("", 0)
    if opset < _MIN_OPSET:
        msg = f"integer graphs need opset {_MIN_OPSET} or later, got {opset}; convert the graph first"
        raise UnsupportedError(msg)
    MergePads()(model)
    return model


def _place(model: ir.Model, style: Style, *, excluded: Collection[str] = ()) -> Placement:
    placement = place(model.graph, style, excluded=excluded)
    if not placement.layers:
        raise _nothing_to_quantize(placement)
    return placement


def quantizable_layers(graph: Path) -> tuple[str, ...]:
    """Names of the layers of a float graph that some quantizer can make integers of, before clips are read.

    Raises:
        UnsupportedError: there is neither a layer with constant weights nor a product of two activations.
    """
    placement = place(_load(graph).graph, find_style("openvino"))
    if not placement.layers and not any(each.reason == PRODUCT for each in placement.excluded):
        raise _nothing_to_quantize(placement)
    # What is no kernel or plain matrix is left alone by this one, and not by NNCF.
    others = [each.name for each in placement.excluded if each.reason != COMPUTED]
    return (*(layer.name or "" for layer in placement.layers), *others)


def _nothing_to_quantize(placement: Placement) -> UnsupportedError:
    counts = Counter((each.reason, each.operator) for each in placement.excluded)
    reasons = [f"of {count} {operator}, {reason}" for (reason, operator), count in counts.most_common()]
    why = f" ({'; '.join(reasons)})" if reasons else ""
    return UnsupportedError(
        f"the graph has no convolution or matrix product to quantize{why}; export it in another precision"
    )


def _share_ranges(placement: Placement, ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Gives all values of a group the range that covers each of them."""
    shared: dict[str, Range] = {}
    for group in placement.groups:
        names = [str(value.name) for value in group]
        union = functools.reduce(Range.union, (ranges[name] for name in names))
        shared |= dict.fromkeys(names, union)
    return shared

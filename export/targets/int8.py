"""The best integer form of a network for one target: all recipes are tried, and layers returned to float as need be."""

from __future__ import annotations

import logging
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx

from s2tf_edge.calibration.audit import Audit
from s2tf_edge.calibration.base import Quantizer
from s2tf_edge.calibration.calibration_clips import CalibrationClips
from s2tf_edge.calibration.gate import Gated, meet_bound
from s2tf_edge.calibration.nncf_openvino.quantizer import OpenVinoGraphQuantizer, OpenVinoQuantizer
from s2tf_edge.calibration.qdq.quantizer import QdqQuantizer
from s2tf_edge.calibration.search import Attempt, rank, try_recipes
from s2tf_edge.calibration.sensitivity import LayerNoise, measure_sensitivity, worst_first
from s2tf_edge.errors import UsageError
from s2tf_edge.export.targets.base import BuildRequest, Integers

__all__ = [
    "IntegerForm",
    "best_integer_form",
    "matching_layers",
    "obtained_types",
    "openvino_quantizer",
    "qdq_quantizer",
]

logger = logging.getLogger(__name__)

_SENSITIVITY_CLIPS: Final = 4
_LAYERS: Final = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, kw_only=True)
class IntegerForm:
    """What was chosen, and how it came about."""

    folder: Path
    """Where its files are; gone when the context ends."""
    options: dict[str, Any]
    """For ``meta.json``: the recipe, all attempts, layers returned to float."""
    calibration: dict[str, Any]
    """For ``calib.json``: the same, the loss measured, ranges and clips."""


@contextmanager
def best_integer_form(quantizer: Quantizer, request: BuildRequest) -> Iterator[IntegerForm]:
    """Searches in a temporary folder; the block copies what it wants to keep.

    Raises:
        AccuracyError: the bound on the loss of accuracy cannot be met.
        BuildError: no integer form compiles here.
        UsageError: an ``exclude`` expression matches no layer.
        VerificationError: no integer form agrees with the network.
    """
    asked = _asked(request)
    # Before clips are read, which takes minutes.
    matching = matching_layers(_layer_names(request.graph), asked.exclude)
    excluded = tuple(layer for layer in quantizer.layers(quantizer.recipes[0]) if layer in matching)
    with tempfile.TemporaryDirectory() as work:
        attempts = try_recipes(quantizer, Path(work), judge=asked.judge, floats=excluded)
        ranked = rank(attempts, mendable=asked.max_drop is not None)
        gated = _gate(quantizer, ranked, Path(work), asked=asked, excluded=excluded)
        recipe, path = (gated.chosen.recipe, gated.chosen.path) if gated else (ranked[0].recipe, ranked[0].path)
        chosen = _chosen(recipe, attempts, gated)
        yield IntegerForm(
            folder=Path(str(path)).parent,
            options=chosen,
            calibration={
                **chosen,
                "excluded_layers": list(excluded),
                "accuracy": [each.to_dict() for each in gated.rounds] if gated else [],
                **_sensitivity(quantizer, recipe, asked),
                **quantizer.describe(recipe),
                **asked.clips.to_dict(),
            },
        )


def qdq_quantizer(request: BuildRequest, *, style: str) -> Quantizer:
    """The quantizer that writes integers into the graph.

    Raises:
        UsageError: there are no calibration clips.
    """
    asked = _asked(request)
    return QdqQuantizer(request.graph, clips=asked.clips, info=request.info, style=style, method=asked.method)


def openvino_quantizer(read: Callable[[], Any], request: BuildRequest, *, inference_precision: str) -> Quantizer:
    """The quantizer of OpenVINO networks.

    Args:
        read: gives the float network, an ``openvino.Model``.
        request: what to quantize with.
        inference_precision: what sessions tell OpenVINO.

    Raises:
        UsageError: there are no calibration clips.
    """
    asked = _asked(request)
    info, clips = request.info, asked.clips
    if asked.method == "minmax":
        return OpenVinoQuantizer(read, clips=clips, info=info, inference_precision=inference_precision)
    return OpenVinoGraphQuantizer(
        request.graph, clips=clips, info=info, method=asked.method, inference_precision=inference_precision
    )


def _asked(request: BuildRequest) -> Integers:
    if request.integers is None:
        msg = "int8 needs calibration clips; give a data set to calibrate with"
        raise UsageError(msg)
    return request.integers


def _gate(
    quantizer: Quantizer, ranked: Sequence[Attempt], folder: Path, *, asked: Integers, excluded: Sequence[str]
) -> Gated | None:
    if asked.max_drop is None:
        return None

    def order(layers: Sequence[str]) -> list[str]:
        return worst_first(_noises(quantizer, ranked[0].recipe, asked, layers))

    return meet_bound(
        quantizer,
        ranked,
        folder,
        judge=asked.judge,
        max_drop=asked.max_drop,
        rank_layers=order,
        floats=excluded,
    )


def _sensitivity(quantizer: Quantizer, recipe: str, asked: Integers) -> dict[str, Any]:
    if asked.sensitivity is None:
        return {}
    noises = _noises(quantizer, recipe, asked, quantizer.layers(recipe))
    asked.sensitivity(noises)
    return {"sensitivity": [noise.to_dict() for noise in noises]}


def _noises(quantizer: Quantizer, recipe: str, asked: Integers, layers: Sequence[str]) -> list[LayerNoise]:
    logger.info("measuring what each of %d layers does to the logits", len(layers))
    clips = _few(asked.clips)
    return measure_sensitivity(quantizer, recipe, clips=clips, layers=layers, progress=asked.progress)


def _few(clips: CalibrationClips) -> list[Any]:
    return [clip for clip, _ in zip(clips, range(_SENSITIVITY_CLIPS), strict=False)]


def _chosen(recipe: str, attempts: Sequence[Attempt], gated: Gated | None) -> dict[str, Any]:
    return {
        "recipe": recipe,
        "attempts": [attempt.to_dict() for attempt in attempts],
        "returned_to_float": list(gated.chosen.floats) if gated else [],
        **({"gate": str(gated.chosen)} if gated else {}),
    }


def _layer_names(graph: Path) -> list[str]:
    nodes = onnx.load(graph, load_external_data=False).graph.node
    return [node.name for node in nodes if node.op_type in _LAYERS]


def matching_layers(layers: Sequence[str], expressions: Sequence[str]) -> tuple[str, ...]:
    """Layers that any of the expressions is found in.

    Raises:
        UsageError: an expression matches none of them.
    """
    for expression in expressions:
        if not any(re.search(expression, layer) for layer in layers):
            msg = f"`exclude` {expression!r} matches none of the {len(layers)} layers, such as {', '.join(layers[:4])}"
            raise UsageError(msg)
    return tuple(layer for layer in layers if any(re.search(expression, layer) for expression in expressions))


def obtained_types(audit: Audit) -> dict[str, dict[str, int]]:
    """The layers of an audit by kind and type, as ``meta.json`` counts them for every precision."""
    counts = {}
    for kind, tally in (("Convolution", audit.convolutions), ("MatMul", audit.matrix_products)):
        types = Counter(layer.type for layer in tally.rest)
        types["i8"] += tally.integer
        if tally.total:
            counts[kind] = {name: count for name, count in types.items() if count}
    return counts

"""The best integer form of a network for one target: all presets are tried, and layers returned to float as need be."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import onnx

from s2tf_edge.calibration.audit import Audit
from s2tf_edge.calibration.base import Quantizer
from s2tf_edge.calibration.calibration_clips import CalibrationClips
from s2tf_edge.calibration.candidates import Candidate
from s2tf_edge.calibration.gate import GateResult, find_within_bound
from s2tf_edge.calibration.nncf_openvino.quantizer import OpenVinoGraphQuantizer, OpenVinoQuantizer
from s2tf_edge.calibration.qdq.ptq import quantizable_layers
from s2tf_edge.calibration.qdq.quantizer import QdqQuantizer
from s2tf_edge.calibration.ranges.rolling import RolledSteps
from s2tf_edge.calibration.search import rank_candidates, try_presets
from s2tf_edge.calibration.sensitivity import LayerNoise, measure_sensitivity, worst_first
from s2tf_edge.errors import UsageError
from s2tf_edge.export.targets.base import Build, BuildRequest, Integers

__all__ = [
    "IntegerForm",
    "best_integer_form",
    "check_integers",
    "describe_kept",
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
    """For ``meta.json``: the preset, all candidates, layers returned to float."""
    calibration: dict[str, Any]
    """For ``calib.json``: the same, the loss measured, ranges and clips."""
    preset: str
    others: tuple[IntegerForm, ...] = ()
    """Slower forms that agree too, where the request keeps all; none where a bound on the drop was given, as layers go
    back to float until one form keeps it."""


@contextmanager
def best_integer_form(quantizer: Quantizer, request: BuildRequest) -> Iterator[IntegerForm]:
    """Searches in a temporary folder; the block copies what it wants to keep.

    Raises:
        AccuracyError: the bound on the loss of accuracy cannot be met.
        BuildError: no integer form compiles here.
        UnsupportedError: nothing can become integer, or no form computes a layer in integers.
        UsageError: an ``exclude`` expression matches no layer, or they match all.
        VerificationError: no integer form agrees with the network.
    """
    integers = _require_integers(request)
    excluded = _choose_excluded(quantizer, check_integers(request.graph, integers.exclude))
    with tempfile.TemporaryDirectory() as work:
        candidates = try_presets(quantizer, Path(work), judge=integers.judge, excluded=excluded)
        ranked = rank_candidates(candidates, may_return_layers=integers.max_drop is not None)
        gated = _pass_gate(quantizer, ranked, Path(work), integers=integers, excluded=excluded)
        preset, path = (gated.chosen.preset, gated.chosen.path) if gated else (ranked[0].name, ranked[0].written)

        def describe(preset: str, path: Path, gated: GateResult | None = None, **more: Any) -> IntegerForm:
            options = {**_describe_choice(preset, candidates, gated), "weight_bits": integers.weight_bits}
            calibration = {
                **options,
                "excluded_layers": list(excluded),
                "accuracy": [trial.to_dict() for trial in gated.trials] if gated else [],
                **more,
                **quantizer.describe(preset),
                **integers.clips.to_dict(),
            }
            return IntegerForm(folder=path.parent, options=options, calibration=calibration, preset=preset)

        form = describe(preset, path, gated, **_report_sensitivity(quantizer, preset, integers))
        slower = ranked[1:] if request.keeps_all and gated is None else ()
        others = tuple(describe(each.name, each.written) for each in slower)
        yield dataclasses.replace(form, others=others)


def qdq_quantizer(request: BuildRequest, *, style: str) -> Quantizer:
    """The quantizer that writes integers into the graph.

    Raises:
        UsageError: there are no calibration clips.
    """
    integers = _require_integers(request)
    clips = _make_inputs(request, integers)
    return QdqQuantizer(
        request.graph,
        clips=clips,
        info=request.info,
        style=style,
        method=integers.method,
        weight_bits=integers.weight_bits,
    )


def openvino_quantizer(read: Callable[[], Any], request: BuildRequest, *, inference_precision: str) -> Quantizer:
    """The quantizer of OpenVINO networks.

    Args:
        read: gives the float network, an ``openvino.Model``.
        request: what to quantize with.
        inference_precision: what sessions tell OpenVINO.

    Raises:
        UsageError: there are no calibration clips.
    """
    integers = _require_integers(request)
    info, clips = request.info, _make_inputs(request, integers)
    if integers.method == "minmax":
        return OpenVinoQuantizer(
            read, clips=clips, info=info, weight_bits=integers.weight_bits, inference_precision=inference_precision
        )
    return OpenVinoGraphQuantizer(
        request.graph,
        clips=clips,
        info=info,
        method=integers.method,
        weight_bits=integers.weight_bits,
        inference_precision=inference_precision,
    )


def _make_inputs(request: BuildRequest, integers: Integers) -> CalibrationClips | RolledSteps:
    """What ranges are measured on: clips, or steps through them."""
    if request.step is None:
        return integers.clips
    return RolledSteps(request.graph, integers.clips, request.info)


def describe_kept(build: Build, audit: Audit, request: BuildRequest) -> Build:
    """The build of a graph that came quantized, with what its layers compute in.

    Where that is nowhere integers, the artifact is still the one that was asked for, and no fault of this export: other
    devices have kernels that this processor has not. So it is told, and not refused.
    """
    if not audit.integer:
        logger.warning(
            "%s computes no layer of this graph, which is quantized, in integers here (%s); `requantize` may help",
            request.target.rules.compiler.name,
            audit.explain(),
        )
    options = {**build.options, "recipe": "quantized as it came"}
    return dataclasses.replace(build, obtained=obtained_types(audit), audit=audit.to_dict(), options=options)


def _choose_excluded(quantizer: Quantizer, matching: Collection[str]) -> tuple[str, ...]:
    """The layers that would be integer and are to stay in float."""
    layers = quantizer.list_layers(quantizer.presets[0])
    _check_any_left(layers, matching)
    return tuple(layer for layer in layers if layer in matching)


def _check_any_left(layers: Sequence[str], matching: Collection[str]) -> None:
    if layers and set(layers) <= set(matching):
        msg = (
            f"`exclude` matches all {len(layers)} layers that could become integer, so that nothing would; match fewer"
        )
        raise UsageError(msg)


def _require_integers(request: BuildRequest) -> Integers:
    if request.integers is None:
        msg = "int8 needs calibration clips; give a data set to calibrate with"
        raise UsageError(msg)
    return request.integers


def _pass_gate(
    quantizer: Quantizer, ranked: Sequence[Candidate], folder: Path, *, integers: Integers, excluded: Sequence[str]
) -> GateResult | None:
    """None where no bound was given."""
    if integers.max_drop is None:
        return None

    def rank_layers(layers: Sequence[str]) -> list[str]:
        return worst_first(_measure_noises(quantizer, ranked[0].name, integers, layers))

    return find_within_bound(
        quantizer,
        ranked,
        folder,
        judge=integers.judge,
        max_drop=integers.max_drop,
        rank_layers=rank_layers,
        excluded=excluded,
    )


def _report_sensitivity(quantizer: Quantizer, preset: str, integers: Integers) -> dict[str, Any]:
    """Writes the page, if somebody wants it, and gives what ``calib.json`` says of it."""
    if integers.sensitivity is None:
        return {}
    noises = _measure_noises(quantizer, preset, integers, quantizer.list_layers(preset))
    integers.sensitivity(noises)
    return {"sensitivity": [noise.to_dict() for noise in noises]}


def _measure_noises(quantizer: Quantizer, preset: str, integers: Integers, layers: Sequence[str]) -> list[LayerNoise]:
    logger.info("measuring what each of %d layers does to the logits", len(layers))
    # No more is read than that: a clip takes as long as all that is done with it.
    clips = list(itertools.islice(integers.clips, _SENSITIVITY_CLIPS))
    return measure_sensitivity(quantizer, preset, clips=clips, layers=layers, progress=integers.progress)


def _describe_choice(preset: str, candidates: Sequence[Candidate], gated: GateResult | None) -> dict[str, Any]:
    return {
        "recipe": preset,
        "attempts": [candidate.to_dict() for candidate in candidates],
        "returned_to_float": list(gated.chosen.returned) if gated else [],
        **({"gate": str(gated.chosen)} if gated else {}),
    }


def check_integers(graph: Path, expressions: Sequence[str]) -> tuple[str, ...]:
    """What the float graph alone tells of its integer forms; the layers that an expression keeps in float.

    Raises:
        UnsupportedError: nothing can become integer.
        UsageError: an expression matches no layer, or they match all that could become integer.
    """
    matching = matching_layers(_read_layer_names(graph), expressions)
    _check_any_left(quantizable_layers(graph), matching)
    return matching


def _read_layer_names(graph: Path) -> list[str]:
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

"""Post-training quantisation of OpenVINO networks with NNCF, down a ladder until this machine's compiler agrees.

What NNCF quantises is not always what OpenVINO can compile: on bfloat16 CPUs a convolution with asymmetric activations
that feeds a depthwise one has no implementation. Each rung gives up a little more; every attempt is recorded.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from s2tf_edge.calibration.clips import RECOMMENDED_CLIPS, CalibrationClips
from s2tf_edge.errors import BuildError, UsageError
from s2tf_edge.runtime.backends.openvino_session import last_line
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry

__all__ = ["RUNGS", "Quantized", "Rung", "matching_nodes", "quantize"]

logger = logging.getLogger(__name__)

_QUANTIZABLE: Final = ("Convolution", "GroupConvolution", "MatMul")


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One way to quantise."""

    preset: str
    """NNCF's preset: mixed (activations asymmetric, more accurate) or performance (symmetric)."""
    leave_out: tuple[str, ...] = ()
    """Operator types that stay in floating point."""

    def __str__(self) -> str:
        return " without ".join([self.preset, *self.leave_out])


RUNGS: Final = (
    Rung(preset="mixed"),
    Rung(preset="performance"),
    Rung(preset="performance", leave_out=("GroupConvolution",)),
)


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """A quantised network and how it came about."""

    network: Any
    """An ``openvino.Model``."""
    rung: Rung
    attempts: tuple[dict[str, str], ...]
    """Each rung tried, with ``result`` ok or the compiler's complaint."""
    excluded: tuple[str, ...]
    """Nodes left in floating point because they were asked for."""
    ranges: Mapping[str, tuple[float, float]]
    """Lowest and highest value that each quantised activation can take, by the name of its quantiser."""


def quantize(
    read: Callable[[], Any],
    *,
    clips: CalibrationClips,
    compile_network: Callable[[Any], Any],
    exclude: Sequence[str] = (),
    rungs: Sequence[Rung] = RUNGS,
) -> Quantized:
    """Quantises to int8 weights and activations.

    Args:
        read: gives the float network, an ``openvino.Model``, anew for each rung.
        clips: what activations' ranges are measured on.
        compile_network: compiles a network as a session will, and raises RuntimeError where that fails.
        exclude: regular expressions, searched in nodes' names; nodes that match stay in floating point.
        rungs: what to try, in this order.

    Raises:
        BuildError: no rung compiles here.
        InputFileError: no calibration clip can be read.
        MissingExtraError: NNCF is not installed.
        UsageError: an expression matches no node that could be quantised.
    """
    excluded = matching_nodes(read(), exclude)
    if len(clips) < RECOMMENDED_CLIPS:
        logger.warning("%d calibration clips; give %d or more for ranges to rely on", len(clips), RECOMMENDED_CLIPS)
    attempts: list[dict[str, str]] = []
    for rung in rungs:
        network = _quantize(read(), clips, rung, excluded)
        try:
            compile_network(network)
        except RuntimeError as error:
            attempts.append({"rung": str(rung), "result": last_line(error)})
            logger.warning("int8 with preset %s does not compile here (%s)", rung, last_line(error))
            continue
        attempts.append({"rung": str(rung), "result": "ok"})
        return Quantized(
            network=network,
            rung=rung,
            attempts=tuple(attempts),
            excluded=excluded,
            ranges=_activation_ranges(network),
        )
    msg = f"no int8 form of this network compiles here: {attempts[-1]['result']}; export it as fp16 instead"
    raise BuildError(msg)


def matching_nodes(network: Any, expressions: Sequence[str]) -> tuple[str, ...]:
    """Names of the convolutions and matrix products that any of the expressions is found in.

    Raises:
        UsageError: an expression matches none of them.
    """
    names = [op.get_friendly_name() for op in network.get_ordered_ops() if op.get_type_name() in _QUANTIZABLE]
    for expression in expressions:
        if not any(re.search(expression, name) for name in names):
            msg = f"--exclude {expression!r} matches none of the {len(names)} layers, such as {', '.join(names[:4])}"
            raise UsageError(msg)
    return tuple(name for name in names if any(re.search(expression, name) for expression in expressions))


def _activation_ranges(network: Any) -> dict[str, tuple[float, float]]:
    """Of quantisers of activations, which NNCF names ``<node>/fq_output_0`` and ``<node>/fq_input_0``."""
    quantizers = [op for op in network.get_ordered_ops() if op.get_type_name() == "FakeQuantize"]
    ranges = {}
    for op in quantizers:
        name = op.get_friendly_name()
        if not name.rpartition("/")[2].startswith("fq_weights"):
            low, high = (op.input_value(port).get_node().data for port in (1, 2))
            ranges[name] = (float(f"{low.min():.6g}"), float(f"{high.max():.6g}"))
    return ranges


def _quantize(network: Any, clips: CalibrationClips, rung: Rung, excluded: tuple[str, ...]) -> Any:
    with _quiet_nncf() as nncf:
        estimators: Any = importlib.import_module("nncf.quantization.range_estimator")
        scope = nncf.IgnoredScope(names=list(excluded), types=list(rung.leave_out), validate=False)
        return nncf.quantize(
            network,
            nncf.Dataset(clips),
            preset=nncf.QuantizationPreset(rung.preset),
            subset_size=len(clips),
            ignored_scope=scope,
            # NNCF's default averages the extremes of single clips and cuts off what lies beyond: three to six times the
            # error, measured on small S2TF and 3D ResNets.
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=estimators.RangeEstimatorParametersSet.MINMAX
            ),
        )


@contextlib.contextmanager
def _quiet_nncf() -> Iterator[Any]:
    """Imports NNCF, and keeps its progress bars and log off stdout."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nncf: Any = require_without_telemetry("nncf", extra="export", purpose="int8 export")
        # nncf.set_log_level would change the levels of handlers that are not its own.
        logging.getLogger("nncf").setLevel(logging.ERROR)
        yield nncf

"""Integer forms of OpenVINO networks: quantized once by NNCF, then cut back to what is worth quantizing.

What NNCF quantizes is not always what OpenVINO can compile, nor what it runs fast. On processors with bfloat16, a
convolution with asymmetric activations that feeds a depthwise one has no implementation; depthwise 3-D convolutions
are no faster in integer than in bfloat16; and additions, products and swish between quantized layers cost more in
changes of type than integers save. So the presets go from all that NNCF quantizes down to dense convolutions and matrix
products alone. With symmetric activations, convolutions are faster by a few percent and numbers below zero coarser.

Each form is cut from one quantized network: its statistics are gathered once, however many are tried.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import io
import logging
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from s2tf_edge.calibration.audit import Audit, audit_openvino
from s2tf_edge.calibration.base import Quantizer
from s2tf_edge.calibration.calibration_clips import count_read, headroom
from s2tf_edge.calibration.nncf_openvino.cut import (
    DENSE,
    DEPTHWISE,
    LAYERS,
    cut,
    integer_layers,
    name_layers,
)
from s2tf_edge.calibration.nncf_openvino.nodes import require_openvino
from s2tf_edge.calibration.nncf_openvino.ranges import (
    activation_ranges,
    fold_before_quantizing,
    make_products_symmetric,
    make_symmetric,
    widen,
)
from s2tf_edge.calibration.qdq.quantizer import QdqQuantizer
from s2tf_edge.calibration.ranges.batches import Batches, Inputs
from s2tf_edge.runtime.artifact import IR_FILE
from s2tf_edge.runtime.backends.openvino_session import OpenVinoSession
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.session import ModelInfo, Session, SessionOptions

__all__ = ["OpenVinoGraphQuantizer", "OpenVinoQuantizer"]

logger = logging.getLogger(__name__)


class SizedClips(Protocol):
    """Clips that can be counted and gone through any number of times."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Inputs]: ...


@dataclass(frozen=True, kw_only=True)
class _Preset:
    is_symmetric: bool = False
    """Whether zero is the middle of all activations that have both signs."""
    layers: frozenset[str] = LAYERS
    """Operators with weights that are quantized."""
    quantizes_between: bool = True
    """Whether additions and products between them are quantized too."""


_PRESETS: Final = {
    "mixed": _Preset(),
    "mixed, dense layers": _Preset(layers=DENSE),
    "mixed, dense layers alone": _Preset(layers=DENSE, quantizes_between=False),
    "symmetric": _Preset(is_symmetric=True),
    "symmetric, dense layers": _Preset(is_symmetric=True, layers=DENSE),
    "symmetric, dense layers alone": _Preset(is_symmetric=True, layers=DENSE, quantizes_between=False),
}
"""Mixed is NNCF's word for symmetric weights and asymmetric activations."""
_FOR_DEPTHWISE: Final = ("mixed, dense layers", "symmetric, dense layers")
"""Where nothing is depthwise, these leave nothing out."""


class OpenVinoQuantizer(Quantizer):
    """NNCF's post-training quantization, and what can be made of its result."""

    def __init__(
        self,
        read: Callable[[], Any],
        *,
        clips: SizedClips,
        info: ModelInfo,
        weight_bits: int = 8,
        inference_precision: str = "default",
    ) -> None:
        """Nothing is quantized yet.

        Args:
            read: gives the float network, an ``openvino.Model``.
            clips: what activations' ranges are measured on.
            info: what the network takes and gives.
            weight_bits: 8, or 7 for processors whose integer kernels overflow.
            inference_precision: of the sessions, for what is not quantized.
        """
        self._float = read()
        kinds = {op.get_type_name() for op in self._float.get_ordered_ops()}
        self.presets = tuple(name for name in _PRESETS if name not in _FOR_DEPTHWISE or kinds & DEPTHWISE)
        self._clips = clips
        self._info = dataclasses.replace(info, precision="int8")
        self._weight_bits = weight_bits
        self._inference_precision = inference_precision

    def list_layers(self, preset: str) -> tuple[str, ...]:
        """Convolutions and matrix products with integer operands."""
        return integer_layers(self._choose_network(preset), operators=_PRESETS[preset].layers)

    def write(self, preset: str, folder: Path, *, excluded: Collection[str] = ()) -> Path:
        """Writes ``model.xml`` and ``model.bin``."""
        return _save(self._cut(preset, excluded), folder)

    def make_session(self, path: Path) -> Session:
        """OpenVINO on the CPU, which compiles every form here, whatever device will run it."""
        return _make_session(path, self._info, self._inference_precision)

    def audit(self, session: Session) -> Audit:
        """What OpenVINO's kernels on this CPU compute in."""
        return _audit(session)

    def describe(self, preset: str) -> dict[str, Any]:
        """What quantized it and how, and the range of every quantized activation."""
        return {
            "method": "minmax",
            # The key as it is in artifacts of this format from the beginning.
            "quantiser": "nncf.quantize, preset mixed",
            "activations": "symmetric" if _PRESETS[preset].is_symmetric else "asymmetric",
            "activation_ranges": activation_ranges(self._cut(preset, ())),
        }

    def _cut(self, preset: str, excluded: Collection[str]) -> Any:
        layers = [layer for layer in self.list_layers(preset) if layer not in excluded]
        return cut(self._choose_network(preset), self._float, layers=layers, between=_PRESETS[preset].quantizes_between)

    def _choose_network(self, preset: str) -> Any:
        """With all that NNCF quantizes, and the ranges of a preset."""
        return self._symmetric if _PRESETS[preset].is_symmetric else self._asymmetric

    @functools.cached_property
    def _asymmetric(self) -> Any:
        logger.info("quantizing on %d inputs", len(self._clips))
        network = _quantize(
            self._float.clone(), self._clips, batch=self._info.batch or 1, weight_bits=self._weight_bits
        )
        widen(network, headroom(count_read(self._clips, given=len(self._clips))))
        fold_before_quantizing(network)
        make_products_symmetric(network)
        return network

    @functools.cached_property
    def _symmetric(self) -> Any:
        network = self._asymmetric.clone()
        make_symmetric(network)
        return network


class OpenVinoGraphQuantizer(QdqQuantizer):
    """Integers written into the ONNX graph, which OpenVINO reads: for the ways to choose ranges that NNCF lacks."""

    def __init__(
        self,
        graph: Path,
        *,
        clips: Iterable[Inputs],
        info: ModelInfo,
        method: str,
        weight_bits: int = 8,
        inference_precision: str = "default",
    ) -> None:
        """Takes what to quantize; ranges are measured when they are first asked for.

        Args:
            graph: float32, functions inlined.
            clips: what activations' ranges are measured on.
            info: what the graph takes and gives.
            method: how ranges are chosen.
            weight_bits: 8, or 7 for processors whose integer kernels overflow.
            inference_precision: of the sessions, for what is not quantized.
        """
        super().__init__(graph, clips=clips, info=info, style="openvino", method=method, weight_bits=weight_bits)
        self._inference_precision = inference_precision

    def write(self, preset: str, folder: Path, *, excluded: Collection[str] = ()) -> Path:
        """Writes ``model.xml`` and ``model.bin``."""
        graph = super().write(preset, folder, excluded=excluded)
        network = require_openvino().Core().read_model(graph)
        name_layers(network, graph)
        return _save(network, folder)

    def make_session(self, path: Path) -> Session:
        """OpenVINO on the CPU, which compiles every form here, whatever device will run it."""
        return _make_session(path, self._info, self._inference_precision)

    def audit(self, session: Session) -> Audit:
        """What OpenVINO's kernels on this CPU compute in."""
        return _audit(session)


def _audit(session: Session) -> Audit:
    assert isinstance(session, OpenVinoSession)
    return audit_openvino(session.compiled)


def _save(network: Any, folder: Path) -> Path:
    require_openvino().save_model(network, folder / IR_FILE, compress_to_fp16=False)
    return folder / IR_FILE


def _make_session(path: Path, info: ModelInfo, inference_precision: str) -> Session:
    return OpenVinoSession(path, info, SessionOptions(device="CPU"), inference_precision=inference_precision)


def _quantize(network: Any, clips: SizedClips, *, batch: int, weight_bits: int) -> Any:
    with _quiet_nncf() as nncf:
        fixes: Any = importlib.import_module("nncf.quantization.advanced_parameters").OverflowFix
        estimators: Any = importlib.import_module("nncf.quantization.range_estimator")
        return nncf.quantize(
            network,
            nncf.Dataset(Batches(clips, size=batch)),
            preset=nncf.QuantizationPreset.MIXED,
            # More than there are: all of them, and the pass ends where the clips do (see ``Batches``).
            subset_size=len(clips) + 1,
            # NNCF's default averages the extremes of single clips and cuts off what lies beyond: three to six times the
            # error, measured on small S2TF and 3D ResNets.
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=estimators.RangeEstimatorParametersSet.MINMAX,
                # Its default gives the first layers 7 bits, whatever processor.
                overflow_fix=fixes.ENABLE if weight_bits < 8 else fixes.DISABLE,
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

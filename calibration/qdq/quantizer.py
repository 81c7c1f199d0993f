"""Integer forms of ONNX graphs, with integers written into the graph, for ONNX Runtime and TensorRT."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from s2tf_edge.calibration.audit import Audit, audit_graph, audit_onnxruntime
from s2tf_edge.calibration.base import Quantizer
from s2tf_edge.calibration.onnx_files import copy_model
from s2tf_edge.calibration.qdq.ptq import MeasuredGraph, QdqReport, measure_graph
from s2tf_edge.calibration.ranges.batches import Inputs
from s2tf_edge.runtime.artifact import GRAPH_FILE
from s2tf_edge.runtime.backends.ort_session import OrtSession
from s2tf_edge.runtime.session import ModelInfo, Session, SessionOptions

__all__ = ["QdqQuantizer"]


class QdqQuantizer(Quantizer):
    """One preset, whose ranges are measured once; ONNX Runtime runs the result, for whatever runtime it is made."""

    def __init__(
        self,
        graph: Path,
        *,
        clips: Iterable[Inputs],
        info: ModelInfo,
        style: str,
        method: str,
        weight_bits: int = 8,
    ) -> None:
        """Takes what to quantize; ranges are measured when they are first asked for.

        Args:
            graph: float32, functions inlined.
            clips: what activations' ranges are measured on.
            info: what the graph takes and gives.
            style: onnxruntime, tensorrt or openvino; see ``measure_graph``.
            method: how ranges are chosen.
            weight_bits: 8, or 7 for processors whose integer kernels overflow.
        """
        self.presets = (f"Q/DQ for {style}, {method}",)
        self._graph = graph
        self._clips = clips
        self._info = dataclasses.replace(info, precision="int8")
        self._style = style
        self._method = method
        self._weight_bits = weight_bits

    def list_layers(self, preset: str) -> tuple[str, ...]:
        """Convolutions and matrix products with integer operands."""
        return self._full_report.layers

    def write(self, preset: str, folder: Path, *, excluded: Collection[str] = ()) -> Path:
        """Writes ``model.onnx``."""
        path = folder / GRAPH_FILE
        # A graph without integers is none that ``MeasuredGraph`` writes; measuring sensitivity needs it all the same.
        if set(excluded) >= set(self.list_layers(preset)):
            copy_model(self._graph, path)
        else:
            self._measured.write(path, excluded=excluded, weight_bits=self._weight_bits)
        return path

    def make_session(self, path: Path) -> Session:
        """ONNX Runtime on the CPU; for what another compiler makes of the graph, with the arithmetic that it says."""
        is_own = self._style == "onnxruntime"
        return OrtSession(path, self._info, SessionOptions(device="CPU"), fuses_integers=is_own)

    def audit(self, session: Session) -> Audit:
        """What ONNX Runtime's kernels compute in; of another style, what the graph asks its compiler for."""
        return audit_onnxruntime(session.path) if self._style == "onnxruntime" else audit_graph(session.path)

    def describe(self, preset: str) -> dict[str, Any]:
        """Style, method and the range of every quantized activation."""
        return self._full_report.to_dict()

    @functools.cached_property
    def _measured(self) -> MeasuredGraph:
        return measure_graph(
            self._graph, clips=self._clips, style=self._style, method=self._method, spec=self._info.spec
        )

    @functools.cached_property
    def _full_report(self) -> QdqReport:
        with tempfile.TemporaryDirectory() as folder:
            return self._measured.write(Path(folder) / GRAPH_FILE, weight_bits=self._weight_bits)

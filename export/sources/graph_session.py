"""A network from elsewhere in ONNX Runtime: the file as it came, or the graph that was made of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir as ir

from s2tf_edge.calibration.onnx_files import save_model
from s2tf_edge.runtime.backends.ort_session import OrtSession
from s2tf_edge.runtime.session import Clips, ModelInfo, Outputs, SessionOptions

__all__ = ["GraphSession", "PlainSession"]

_HALF: Final = "tensor(float16)"


class PlainSession(OrtSession):
    """Gives logits [N, K], whatever axes of length 1 the file gives them; takes float32 clips, whatever it takes."""

    def _run(self, clips: Clips) -> Outputs:
        types = {each.name: each.type for each in self._engine.get_inputs()}
        given = clips.astype(np.float16) if types.get(self._input) == _HALF else clips
        logits = super()._run(given).logits  # type: ignore[arg-type]  # ONNX Runtime takes it
        return Outputs(logits=logits.reshape(len(logits), -1))


class GraphSession(PlainSession):
    """Runs a graph in memory.

    Args:
        model: with the inputs and outputs of the file.
        path: the file that it was made of, for messages.
        info: what it takes and gives.
        options: threads and device.
        names: of the input and of the logits.
    """

    def __init__(
        self, model: ir.Model, path: Path, info: ModelInfo, options: SessionOptions, *, names: tuple[str, str]
    ) -> None:
        super().__init__(path, info, options, names=names)
        self._model = model

    def _open(self) -> None:
        path = self.path
        with tempfile.TemporaryDirectory() as folder:
            self.path = Path(folder) / "graph.onnx"
            try:
                save_model(self._model, self.path)
                super()._open()
            finally:
                self.path = path

"""A network from elsewhere in ONNX Runtime: the file as it came, or the graph that was made of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import onnx_ir as ir

from s2tf_edge.calibration.onnx_files import save_model
from s2tf_edge.runtime.backends.ort_session import OrtSession
from s2tf_edge.runtime.session import Clips, ModelInfo, Outputs, SessionOptions

__all__ = ["GraphSession", "PlainSession"]

_NUMPY: Final = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
"""Numpy's names of what ONNX Runtime says that an input takes."""


class PlainSession(OrtSession):
    """Feeds clips as a file takes them, and gives logits [N, K], whatever further axes or rows the file gives.

    Args:
        path: the file.
        info: clips as all of the toolkit has them.
        options: threads and device.
        feed: from clips, and the types of the inputs by name, to the inputs.
        output: name of the logits.
        rows: rows of logits that one clip gives, whose mean is taken.
    """

    def __init__(
        self,
        path: Path,
        info: ModelInfo,
        options: SessionOptions,
        *,
        feed: Callable[[Clips, Mapping[str, str]], dict[str, Any]],
        output: str,
        rows: int = 1,
    ) -> None:
        super().__init__(path, info, options, names=("", output))
        self._arrange, self._rows = feed, rows

    def _feed(self, clips: Clips) -> dict[str, Any]:
        types = {each.name: _NUMPY[each.type] for each in self._engine.get_inputs()}
        return self._arrange(clips, types)

    def _run(self, clips: Clips) -> Outputs:
        logits = super()._run(clips).logits
        rows = logits.reshape(len(clips), self._rows, -1)
        return Outputs(logits=rows.mean(axis=1))


class GraphSession(PlainSession):
    """Runs a graph in memory, with the inputs and outputs of the file that it was made of."""

    def __init__(self, model: ir.Model, path: Path, info: ModelInfo, options: SessionOptions, **names: Any) -> None:
        super().__init__(path, info, options, **names)
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

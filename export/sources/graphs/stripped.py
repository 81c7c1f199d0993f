"""A network that came quantized, without its Q/DQ: what ``requantize`` exports."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from s2tf_edge.export.sources.network import SourceNetwork
from s2tf_edge.runtime.artifact import GRAPH_FILE
from s2tf_edge.runtime.backends.ort_session import OrtSession
from s2tf_edge.runtime.session import Clips, Session, SessionOptions

if TYPE_CHECKING:
    import onnx_ir as ir

    from s2tf_edge.export.graph.layer_maps import GraphLayers

__all__ = ["StrippedNetwork"]


class StrippedNetwork(SourceNetwork):
    """The float network that a quantized one stands for; artifacts are compared with it.

    Attributes:
        stripped_from: the network as it came.
    """

    has_mask = False

    def __init__(self, quantized: SourceNetwork) -> None:
        self.stripped_from = self._quantized = quantized
        self.path, self.given = quantized.path, quantized.given
        self.name, self.labels, self.spec = quantized.name, quantized.labels, quantized.spec

    @property
    def changes(self) -> tuple[str, ...]:
        """Those of the network as it came, and that it lost its Q/DQ."""
        return (*self._quantized.changes, "stripped of its quantization")

    def graph(self, *, batch: int | None, mask: bool) -> ir.Model:
        """The network's graph with constants in float32, and without Q/DQ.

        Raises:
            UnsupportedError: it holds operators on integers that have no float form.
        """
        from s2tf_edge.export.graph.quantized import strip_quantized

        model = self._quantized.graph(batch=batch, mask=mask)
        strip_quantized(model)
        return model

    def session(self) -> Session:
        """ONNX Runtime on the stripped graph."""
        return _StrippedSession(self)

    def layers(self, clip: Clips) -> GraphLayers:
        """Of the stripped graph before it is lowered."""
        from s2tf_edge.export.graph.layer_maps import GraphLayers

        return GraphLayers(self.graph(batch=self._quantized.session().info.batch or 1, mask=False), clip)


class _StrippedSession(OrtSession):
    """Writes the graph when it is opened, and keeps no file."""

    def __init__(self, network: StrippedNetwork) -> None:
        quantized = network.stripped_from
        assert quantized is not None
        super().__init__(network.path, quantized.session().info, SessionOptions(device="CPU"))
        self._network = network

    def _open(self) -> None:
        from s2tf_edge.export.graph.onnx_file import write_graph

        given = self.path
        with tempfile.TemporaryDirectory() as folder:
            self.path = Path(folder) / GRAPH_FILE
            write_graph(self._network.graph(batch=self.info.batch, mask=False), self.path)
            try:
                super()._open()
            finally:
                self.path = given

"""How long TensorRT's layers take: it calls a profiler once for each layer of each run."""

from __future__ import annotations

from typing import Any, Final

from s2tf_edge.runtime.session import LayerTime

__all__ = ["LayerClock"]

_KIND: Final = "TensorRT layer"
"""It tells names, and no types."""


class LayerClock:
    """Adds up what an execution context reports.

    The context holds on to ``listener``; keep this object beside it.
    """

    def __init__(self, module: Any) -> None:
        """Takes the library's Python module."""
        self.listener = _listener(module, self)
        """What a context takes as its ``profiler``."""
        self._milliseconds: dict[str, float] = {}

    def add(self, name: str, milliseconds: float) -> None:
        """Takes one layer of one run."""
        self._milliseconds[name] = self._milliseconds.get(name, 0.0) + milliseconds

    def means(self, runs: int) -> list[LayerTime]:
        """Every layer, with the mean of its time over that many predictions."""
        return [
            LayerTime(name=name, kind=_KIND, kernel="", ms=total / runs) for name, total in self._milliseconds.items()
        ]


def _listener(module: Any, clock: LayerClock) -> Any:
    """An object of the library's own class, which Python knows only once the library is loaded."""

    class Stopwatch(module.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            module.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            clock.add(layer_name, ms)

    return Stopwatch()

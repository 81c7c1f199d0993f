"""Where the time of a prediction goes: layers as their runtime times them, grouped by the part of the network."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

from s2tf_edge.runtime.session import LayerTime

__all__ = ["PARTS", "Profile", "part_of"]

PARTS: Final = ("backbone", "SSF", "TSFP", "head", "other")
"""What layers are grouped by: saliency mining and fusion are SSF, what preserves and pools features is TSFP."""
# By the modules of the network, which exported graphs name their nodes after; the longest that fits counts.
_PREFIXES: Final = {
    "backbone.head": "head",
    "backbone": "backbone",
    "saliency.miners": "SSF",
    "saliency.preservers": "TSFP",
    "saliency.fusion": "SSF",
    "saliency": "TSFP",
    "logits": "head",
}
# ONNX Runtime names what it takes out of a function after it.
_FUNCTIONS: Final = {
    "_inlfunc_SaliencyMining": "SSF",
    "_inlfunc_TemporalFusion": "SSF",
    "_inlfunc_FeaturePreserving": "TSFP",
}


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The layers of an artifact, the longest first."""

    layers: tuple[LayerTime, ...]

    @property
    def total_ms(self) -> float:
        """All layers together: more than a prediction takes where some run side by side."""
        return sum(layer.ms for layer in self.layers)

    @property
    def parts(self) -> dict[str, float]:
        """Milliseconds of each part that has any."""
        found: dict[str, float] = defaultdict(float)
        for layer in self.layers:
            found[part_of(layer.name)] += layer.ms
        return {part: found[part] for part in PARTS if part in found}

    def share(self, ms: float) -> float:
        """Percent of all layers' time."""
        return 100 * ms / self.total_ms if self.total_ms else 0.0

    def explain(self) -> str:
        """One line: the share of each part, and the slowest layer."""
        if not self.layers:
            return "no layer took any time"
        parts = ", ".join(f"{part} {self.share(ms):.0f} %" for part, ms in self.parts.items())
        first = self.layers[0]
        kernel = f", {first.kernel}" if first.kernel else ""
        return f"{parts}; longest: {first.name} {self.share(first.ms):.0f} % ({first.kind}{kernel})"

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "total_ms": self.total_ms,
            "parts": self.parts,
            "layers": [
                {"name": layer.name, "part": part_of(layer.name), "kind": layer.kind, "kernel": layer.kernel}
                | {"ms": layer.ms}
                for layer in self.layers
            ],
        }


def part_of(name: str) -> str:
    """The part of the network that a node belongs to, by its name; ``other`` where it names none of our modules."""
    for function, part in _FUNCTIONS.items():
        if name.startswith(function):
            return part
    fitting = [prefix for prefix in _PREFIXES if name == prefix or name.startswith((f"{prefix}.", f"{prefix}/"))]
    return _PREFIXES[max(fitting, key=len)] if fitting else "other"

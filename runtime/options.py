"""How a stream is recognised."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.smoothing import Smoothing

__all__ = ["POLICIES", "StreamOptions"]

POLICIES: Final = ("auto", "every", "latest")


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How to recognise."""

    topk: int = 5
    """Best classes named in each prediction."""
    threshold: float = 0.3
    """Score from which on a label counts as an action."""
    smoothing: Smoothing = field(default_factory=Smoothing)
    """How scores are made steady over windows."""
    hop: int | None = None
    """Sampled frames from the start of one window to the start of the next; None for a quarter of a clip."""
    policy: str = "auto"
    """every runs each window, latest the newest one; auto is every for files and latest for live sources."""
    duration_seconds: float | None = None
    """How much of each source is read; None for all of it."""
    pictures: bool = False
    """Whether every frame is yielded as a Picture, before the predictions that it completes."""

    def __post_init__(self) -> None:
        if self.topk < 1 or (self.hop is not None and self.hop < 1):
            msg = f"topk and hop must be one or more, got {self.topk} and {self.hop}"
            raise UsageError(msg)
        if not 0 <= self.threshold <= 1:
            msg = f"threshold must lie in [0, 1], got {self.threshold}"
            raise UsageError(msg)
        if self.policy not in POLICIES:
            msg = f"policy must be one of {', '.join(POLICIES)}, got {self.policy!r}"
            raise UsageError(msg)
        if self.duration_seconds is not None and self.duration_seconds <= 0:
            msg = f"duration must be more than zero seconds, got {self.duration_seconds}"
            raise UsageError(msg)

"""How a stream is recognized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.streaming.regions import FindRegions, Region, check_names
from s2tf_edge.runtime.streaming.smoothing import Smoothing

__all__ = ["POLICIES", "ReadOptions", "StreamOptions"]

POLICIES: Final = ("auto", "every", "latest")


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How sources are read: the part of StreamOptions that readers know of.

    Raises:
        UsageError: a value is out of range.
    """

    start_seconds: float = 0.0
    """Where in each file to begin, from its first frame; live sources begin when they are opened."""
    duration_seconds: float | None = None
    """How much of each source is read, in presentation time, which never runs back; None for all of it."""
    reconnect: bool = True
    """Whether a live source that is lost is opened again."""
    max_outage_seconds: float | None = None
    """How long a source may stay lost before it is given up; None for ever, once it has given a frame."""
    hwaccel: str | None = None
    """FFmpeg's name of what decodes, such as cuda, qsv or vaapi; auto takes what there is, None the processor."""
    fps: float | None = None
    """Frames a second to ask of a camera, or to count any other source by; None leaves it to the source."""
    pictures: bool = False
    """Whether frames are yielded as Pictures: of a file all, each before the predictions that it completes; of a live
    source as they come, but for those that nobody takes in time."""
    regions: Sequence[Region] | FindRegions = ()
    """Zones that are each recognized as a source of its own, or a function that is given each frame that a clip is made
    of, in the thread that reads its source, and finds regions that move; without any, the whole picture is."""

    def __post_init__(self) -> None:
        if not callable(self.regions):
            check_names(self.regions)
        if self.start_seconds < 0:
            msg = f"`start_seconds` must be zero seconds or more, got {self.start_seconds}"
            raise UsageError(msg)
        for name in ("duration_seconds", "max_outage_seconds", "fps"):
            self._check_positive(name)

    def _check_positive(self, name: str) -> None:
        value = getattr(self, name)
        if value is not None and not value > 0:
            msg = f"`{name}` must be more than zero, got {value}"
            raise UsageError(msg)


@dataclass(frozen=True, kw_only=True)
class StreamOptions(ReadOptions):
    """How to recognize.

    Raises:
        UsageError: a value is out of range.
    """

    topk: int = 5
    """Best classes named in each prediction."""
    threshold: float = 0.3
    """Score from which on a label counts as an action."""
    smoothing: Smoothing = field(default_factory=Smoothing)
    """How scores are made steady over windows."""
    hop: int | None = None
    """Sampled frames from the start of one window to the next; None for a quarter of a clip, or one step."""
    policy: str = "auto"
    """every runs each window, latest the newest one; auto is every for files and latest for live sources."""
    max_age_seconds: float | None = None
    """Age from which on a window is dropped rather than run; None for any age."""
    saliency: bool = False
    """Whether predictions carry the network's saliency mask."""
    status_seconds: float | None = None
    """Seconds between two Status records; None for none."""

    def __post_init__(self) -> None:
        for name, value in (("topk", self.topk), ("hop", self.hop)):
            if value is not None and value < 1:
                msg = f"`{name}` must be one or more, got {value}"
                raise UsageError(msg)
        if not 0 <= self.threshold <= 1:
            msg = f"threshold must lie in [0, 1], got {self.threshold}"
            raise UsageError(msg)
        if self.policy not in POLICIES:
            msg = f"policy must be one of {', '.join(POLICIES)}, got {self.policy!r}"
            raise UsageError(msg)
        super().__post_init__()
        for name in ("max_age_seconds", "status_seconds"):
            self._check_positive(name)

    def keeps_all(self, *, live: bool) -> bool:
        """Whether every window is run, of live sources or of files."""
        return self.policy_of(live=live) == "every"

    def policy_of(self, *, live: bool) -> str:
        """What ``auto`` stands for, of live sources or of files; any other policy stands for itself."""
        return ("latest" if live else "every") if self.policy == "auto" else self.policy

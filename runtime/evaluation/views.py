"""Which clips of a video are scored, and from where in it they are cut."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from s2tf_edge.data.videos import Video, read_clips
from s2tf_edge.errors import UsageError
from s2tf_edge.preprocess import preprocess
from s2tf_edge.runtime.session import Clips
from s2tf_edge.spec import ClipSpec

__all__ = ["Views"]

_MAX_VIEWS: Final = 100


@dataclass(frozen=True, kw_only=True)
class Views:
    """How many clips of a video are scored; their softmax scores are averaged."""

    temporal: int = 1
    """Clips spread evenly from the start of the video to its end; a single one is centered."""
    spatial: int = 1
    """Crops spread evenly along the long side; a single one is centered."""

    def __post_init__(self) -> None:
        if not 1 <= self.temporal <= _MAX_VIEWS or not 1 <= self.spatial <= _MAX_VIEWS:
            msg = f"views must lie between 1x1 and {_MAX_VIEWS}x{_MAX_VIEWS}, got {self}"
            raise UsageError(msg)

    @classmethod
    def parse(cls, text: str) -> Views:
        """Reads ``10x3``: ten temporal positions with three crops each.

        Raises:
            UsageError: ``text`` is not of this form, or a number is out of range.
        """
        temporal, cross, spatial = text.lower().partition("x")
        if not (cross and temporal.isdecimal() and spatial.isdecimal()):
            msg = f"views must be TEMPORALxSPATIAL such as 1x1 or 10x3, got {text!r}"
            raise UsageError(msg)
        return cls(temporal=int(temporal), spatial=int(spatial))

    def __str__(self) -> str:
        return f"{self.temporal}x{self.spatial}"

    @property
    def count(self) -> int:
        """Clips of each video."""
        return self.temporal * self.spatial

    def clips(self, video: Video, spec: ClipSpec) -> Iterator[Clips]:
        """The views of a video, one at a time, each without the batch axis, in the layout and dtype of ``spec``.

        Raises:
            InputFileError: the video cannot be read.
        """
        for frames in read_clips(video, spec, places=_evenly(self.temporal)):
            for position in _evenly(self.spatial):
                yield preprocess(frames, spec, position=position)


def _evenly(count: int) -> list[float]:
    return [0.5] if count == 1 else [index / (count - 1) for index in range(count)]

"""Which part of a video two networks see, whose clips are of different lengths.

``at`` places a clip between the ends of a video, so that the same ``at`` is not the same moment for clips of different
lengths. What is compared here is the time of their middles:

    video     |---------------------------------------|
    student        |--m--|                                 drawn at random
    teacher   |-----m-----|                                places half a clip apart, so that some middle
                    |-----m-----|                          is never farther than a quarter of a clip
                          |-----m-----|
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.data.videos import Video
from s2tf_edge.spec import ClipSpec

__all__ = ["ClipTimes", "spread_places", "video_seconds"]


def video_seconds(video: Video, spec: ClipSpec) -> float:
    """Seconds from the first frame of a video to its last.

    Raises:
        InputFileError: the video cannot be read or holds no frame.
    """
    instant = dataclasses.replace(spec, frames=1)
    return video.room(instant) * instant.period_seconds


def spread_places(spec: ClipSpec, *, seconds: float, most: int) -> NDArray[np.float64]:
    """Float64 [n]: where clips are to be taken (``at``), from end to end of a video; one alone is centered.

    They lie half a clip apart or less, unless that takes more than ``most``.
    """
    room = max(0.0, seconds - spec.span_seconds)
    # A clip of one frame has no length; its frames then are as far apart as those of a clip would be.
    step = max(spec.span_seconds, spec.period_seconds) / 2
    count = min(most, 1 + math.ceil(room / step))
    return np.linspace(0.0, 1.0, count) if count > 1 else np.array([0.5])


@dataclass(frozen=True, kw_only=True)
class ClipTimes:
    """Clips of one kind in one video."""

    spec: ClipSpec
    seconds: float
    """Of the video, from its first frame to its last."""

    @property
    def room(self) -> float:
        """Seconds that a clip can be moved by."""
        return max(0.0, self.seconds - self.spec.span_seconds)

    @property
    def half(self) -> float:
        """Half the seconds of the video that a clip shows."""
        return min(self.spec.span_seconds, self.seconds) / 2

    def middle(self, at: float) -> float:
        """The time of a clip's middle, in seconds from the first frame of the video."""
        return at * self.room + self.half

    def at(self, middle: float) -> float:
        """Where to take the clip whose middle is nearest to a time: the reverse of ``middle``."""
        return min(1.0, max(0.0, (middle - self.half) / self.room)) if self.room else 0.5

    def nearest(self, places: NDArray[np.float64], middle: float) -> int:
        """Which of ``places`` has its middle nearest to a time."""
        return int(np.abs(places * self.room + self.half - middle).argmin())

"""Which frames of a video make a clip: sampling by presentation time, never by counting frames.

A clip's samples are instants ``period = stride / fps`` apart, the first on a frame of the video. Each takes the
first frame presented at or after its instant, less a tolerance that absorbs jitter in timestamps:

    instants  |       |       |       |        period
    60 fps    x . . . x . . . x . . . x        takes every 4th
    15 fps    x       x       x       x        takes every one
    8 fps     x             x             x    the 2nd frame serves samples 2 and 3

Where nothing is presented for a second or more, as in a screen recording, the picture is held, and so is the sample:

    held      x x x x . . . . . . . . . x      the 4th frame serves all instants up to the last one before the 5th

The rule needs no frame of the future: a stream fills a window as frames come and gets the same clip as a file read at
once, at any frame rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import UsageError
from s2tf_edge.spec import ClipSpec

__all__ = ["MIN_PAUSE_SECONDS", "Frame", "SampleClock", "clip_room", "clip_start_seconds", "pause_seconds"]

_TOLERANCE_FRAMES: Final = 0.4
"""Tolerance in frames at ``spec.fps``: below one half, so that two neighbors are never mistaken for each other."""
_TOLERANCE_INTERVALS: Final = 0.5
"""Tolerance in frames of a video of more frames a second: half of one, so that the nearest is taken."""
MIN_PAUSE_SECONDS: Final = 1.0
"""Time without a new frame from which on a picture may count as held."""
_PAUSE_PERIODS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One decoded picture."""

    image: NDArray[np.uint8]
    """Uint8 [H, W, 3] in RGB."""
    pts_seconds: float
    """Presentation time."""

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            msg = f"a frame must be uint8 [H, W, 3], got {self.image.dtype} {list(self.image.shape)}"
            raise UsageError(msg)


def pause_seconds(spec: ClipSpec) -> float:
    """Time without a new frame from which on the last one is held: that of three samples, a second at least."""
    return max(MIN_PAUSE_SECONDS, _PAUSE_PERIODS * spec.period_seconds)


class SampleClock:
    """Tells for each frame, in order of presentation, how many samples it serves: ``hold`` first, then ``take``."""

    def __init__(self, spec: ClipSpec, *, start_seconds: float) -> None:
        self._period_seconds = spec.period_seconds
        self._frame_seconds = 1 / spec.fps
        self._pause_seconds = pause_seconds(spec)
        self._start_seconds = start_seconds
        self._last_seconds = start_seconds
        self._seen = 0
        self._taken = 0

    @property
    def next_seconds(self) -> float:
        """The instant of the next sample."""
        return self._start_seconds + self._taken * self._period_seconds

    def hold(self, pts_seconds: float) -> int:
        """How many more samples the frame before serves, being held until ``pts_seconds``; 0 where it was not."""
        if pts_seconds - self._last_seconds <= self._pause_seconds:
            return 0
        # The last instant is the new frame's own.
        count = max(0, self._count_due(pts_seconds) - 1)
        self._taken += count
        return count

    def take(self, pts_seconds: float) -> int:
        """How many samples the frame presented at ``pts_seconds`` serves: 0 to skip it, 2 or more to repeat it."""
        count = self._count_due(pts_seconds)
        self._seen += 1
        self._last_seconds = pts_seconds
        self._taken += count
        return count

    def _count_due(self, pts_seconds: float) -> int:
        late_seconds = pts_seconds - self.next_seconds + self._tolerance_seconds(pts_seconds)
        return max(0, math.floor(late_seconds / self._period_seconds) + 1)

    def _tolerance_seconds(self, pts_seconds: float) -> float:
        """By the mean interval of the frames so far, to which one frame at ``spec.fps`` counts as a first guess."""
        interval_seconds = (self._frame_seconds + pts_seconds - self._start_seconds) / (self._seen + 1)
        return min(_TOLERANCE_FRAMES * self._frame_seconds, _TOLERANCE_INTERVALS * max(0.0, interval_seconds))


def clip_start_seconds(spec: ClipSpec, *, first_seconds: float, last_seconds: float, at: float) -> float:
    """When a clip starts within a video.

    Args:
        spec: gives the clip's length in time.
        first_seconds: presentation time of the video's first frame.
        last_seconds: presentation time of its last.
        at: 0 for a clip that starts with the video, 1 for one that ends with it, 0.5 for the center clip.

    Returns:
        Seconds; the first frame at or after it is the clip's first. ``first_seconds`` where the video is shorter than
        a clip: the last frame is then repeated.

    Raises:
        UsageError: ``at`` lies outside [0, 1].
    """
    if not 0 <= at <= 1:
        msg = f"at must lie in [0, 1], got {at}"
        raise UsageError(msg)
    return first_seconds + at * max(0.0, last_seconds - first_seconds - spec.span_seconds)


def clip_room(spec: ClipSpec, *, first_seconds: float, last_seconds: float) -> float:
    """How far a clip can move within a video, from ``at=0`` to ``at=1``, in lengths of a clip.

    Clips that start a length apart share no sample, so ``1 + floor(room)`` of them fit side by side:

        |--clip--|--clip--|--clip--|....|
        |----- room 2.5 ------|--clip--|

    Args:
        spec: gives the clip's length in time: that of its samples, the period after the last one included.
        first_seconds: presentation time of the video's first frame.
        last_seconds: presentation time of its last.
    """
    return max(0.0, last_seconds - first_seconds - spec.span_seconds) / (spec.span_seconds + spec.period_seconds)

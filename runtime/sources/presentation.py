"""When a live source presented a frame, told from when its packets arrived.

A source sends each frame some time after it was presented, and a reader that falls behind takes it from a buffer later
still. The packet that came with the least delay tells how the source's clock stands to this machine's; what others
came later than that is age.
"""

from __future__ import annotations

from typing import Final

__all__ = ["PresentationClock"]

_DRIFT: Final = 200e-6
_MAX_STEP_BACK_SECONDS: Final = 1.0
"""Frames that are decoded in another order than they are presented in step back by less."""


class PresentationClock:
    """Turns presentation times of one source into times of ``perf_counter``.

    The smallest difference of arrival and presentation seen so far may rise by 200 ppm of the time that passes: clocks
    of cameras differ by up to 100 ppm from the true one, and so does this machine's.
    """

    def __init__(self) -> None:
        self._offset: float | None = None
        self._last_pts = 0.0
        self._last_arrival = 0.0

    def reset(self) -> None:
        """Forgets how the clocks stand to each other."""
        self._offset = None

    def presented_at(self, pts_seconds: float, *, arrived_at: float) -> float:
        """``perf_counter`` when what arrives now was presented; never after ``arrived_at``.

        Args:
            pts_seconds: presentation time in seconds; a step back by more than a second starts anew.
            arrived_at: ``perf_counter`` when it was read.
        """
        offset = arrived_at - pts_seconds
        if self._offset is not None and pts_seconds > self._last_pts - _MAX_STEP_BACK_SECONDS:
            offset = min(offset, self._offset + _DRIFT * (arrived_at - self._last_arrival))
        self._offset, self._last_pts, self._last_arrival = offset, pts_seconds, arrived_at
        return pts_seconds + offset

"""How a live source whose decoding is too slow keeps up: by leaving frames out, the cheapest first.

behind by    decoded
0 to 1 s     everything
1 to 2 s     what other frames refer to
over 2 s     nothing, up to a key frame that is near real time

Behind is a reader for whom frames wait, not one who waits for them. A source that hands out seconds of video at once,
as HLS does, or whose network stalls, makes frames late that no reader could have had sooner. So time is counted on a
clock that stands still through every long wait:

    frames of     0──────6 s        6──────12 s        12─────18 s
    arrive at           6.0               12.0               18.0
    decoded       ······ 6.0──7.5 ········ 12.0──13.5 ·······   late by up to 6 s, and never behind
"""

from __future__ import annotations

from typing import Final

from s2tf_edge.runtime.sources.presentation import PresentationClock

__all__ = ["CatchUp"]

_SKIP_SECONDS: Final = 1.0
_DROP_SECONDS: Final = 2.0
_NEAR_SECONDS: Final = 0.5
_IDLE_SECONDS: Final = 2.0
_KEY_SECONDS: Final = 10.0
"""Longest wait for a key frame; a source may have none, where its pictures are refreshed strip by strip."""
_LONG_WAIT_SECONDS: Final = 0.1
"""A read that takes less may have waited for the processor: on a busy machine that is slowness too."""
_EXCUSED_SECONDS: Final = 60.0
"""How long frames may stay late while long waits account for it: by then a source that hands out much at once was on
time again, and many long reads were those of a machine that is far too slow."""


class CatchUp:
    """Decides packet by packet what is decoded.

    Args:
        slack_seconds: how late frames may be by the source's own rhythm: a segment that is asked for just before it is
            there comes half a segment later, and so may all that follow.
    """

    def __init__(self, *, slack_seconds: float = 0.0) -> None:
        self._late_from_seconds = _SKIP_SECONDS + slack_seconds
        self.skips = False
        """Whether frames that no other frame refers to are left out."""
        self._dropping_since: float | None = None
        self._late_since: float | None = None
        self._waited_seconds = 0.0
        self._clock = PresentationClock()
        self._idle_seconds = 0.0

    def lag(self, pts_seconds: float | None, *, late_seconds: float, waited_seconds: float, arrived_at: float) -> float:
        """For how many seconds the next packet has waited for this reader.

        Args:
            pts_seconds: when it is presented, by the source's clock; None where it has no time.
            late_seconds: how long ago it was presented.
            waited_seconds: for how long the reader waited for it.
            arrived_at: ``perf_counter`` when it came.
        """
        if waited_seconds > _LONG_WAIT_SECONDS:
            self._idle_seconds += waited_seconds
        if pts_seconds is None:
            return late_seconds
        busy_at = arrived_at - self._idle_seconds
        behind_seconds = busy_at - self._clock.presented_at(pts_seconds, arrived_at=busy_at)
        is_excused = self._late_since is None or arrived_at - self._late_since < _EXCUSED_SECONDS
        return min(late_seconds, behind_seconds) if is_excused else late_seconds

    def takes(self, lag_seconds: float, *, is_key: bool, arrived_at: float) -> bool:
        """Whether the next packet is decoded.

        Args:
            lag_seconds: for how long it has waited for this reader.
            is_key: whether its frame refers to no other.
            arrived_at: ``perf_counter`` when it came.
        """
        if self._dropping_since is None:
            self._dropping_since = arrived_at if lag_seconds > _DROP_SECONDS else None
        elif lag_seconds <= _NEAR_SECONDS and (is_key or arrived_at - self._dropping_since > _KEY_SECONDS):
            self._dropping_since = None
        if lag_seconds > _SKIP_SECONDS:
            self.skips = True
        elif lag_seconds < _NEAR_SECONDS:
            self.skips = False
        return self._dropping_since is None

    def is_idle(self, late_seconds: float, *, waited_seconds: float, arrived_at: float) -> bool:
        """Whether packets are late although the reader waits for them, so that leaving frames out cannot help.

        The source's clock is slow then, or its network is.

        Args:
            late_seconds: how long ago the next packet was presented.
            waited_seconds: for how long it was waited for.
            arrived_at: ``perf_counter`` when it came.
        """
        if late_seconds <= self._late_from_seconds:
            self._late_since = None
            return False
        if self._late_since is None:
            self._late_since, self._waited_seconds = arrived_at, 0.0
        else:
            self._waited_seconds += waited_seconds
        since_seconds = arrived_at - self._late_since
        return since_seconds > _IDLE_SECONDS and self._waited_seconds > since_seconds / 2

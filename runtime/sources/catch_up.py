"""How a live source whose decoding is too slow keeps up: by leaving frames out, the cheapest first.

behind by    decoded
0 to 1 s     everything
1 to 2 s     what other frames refer to
over 2 s     nothing, up to a key frame that is near real time
"""

from __future__ import annotations

from typing import Final

__all__ = ["CatchUp"]

_SKIP_SECONDS: Final = 1.0
_DROP_SECONDS: Final = 2.0
_NEAR_SECONDS: Final = 0.5
_IDLE_SECONDS: Final = 2.0
_KEY_SECONDS: Final = 10.0
"""Longest wait for a key frame; a source may have none, where its pictures are refreshed strip by strip."""


class CatchUp:
    """Decides packet by packet what is decoded."""

    def __init__(self) -> None:
        self.skips = False
        """Whether frames that no other frame refers to are left out."""
        self._dropping_since: float | None = None
        self._late_since: float | None = None
        self._waited_seconds = 0.0

    def takes(self, lag_seconds: float, *, is_key: bool, arrived_at: float) -> bool:
        """Whether the next packet is decoded.

        Args:
            lag_seconds: how long ago it was presented.
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

    def is_idle(self, lag_seconds: float, *, waited_seconds: float, arrived_at: float) -> bool:
        """Whether packets are late although the reader waits for them, so that leaving frames out cannot help.

        The source's clock is slow then, or its network is.

        Args:
            lag_seconds: how long ago the next packet was presented.
            waited_seconds: for how long it was waited for.
            arrived_at: ``perf_counter`` when it came.
        """
        if lag_seconds <= _SKIP_SECONDS:
            self._late_since = None
            return False
        if self._late_since is None:
            self._late_since, self._waited_seconds = arrived_at, 0.0
        else:
            self._waited_seconds += waited_seconds
        late_seconds = arrived_at - self._late_since
        return late_seconds > _IDLE_SECONDS and self._waited_seconds > late_seconds / 2

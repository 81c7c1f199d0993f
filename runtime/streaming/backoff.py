"""How long to wait before a lost source is opened again."""

from __future__ import annotations

import random
from time import perf_counter
from typing import Final

__all__ = ["Backoff"]

_FIRST_SECONDS: Final = 0.5
_CAP_SECONDS: Final = 30.0
_STEADY_SECONDS: Final = 10.0


class Backoff:
    """The time for which one source is lost, and when to try it again.

    Waits double from half a second to half a minute. A third of each is left to chance, so that a hundred readers of a
    server that was restarted do not come back all at once. A source that plays for less than ten seconds has not come
    back as far as the waits go.

    Args:
        max_seconds: after which the source is given up; None never gives up.
    """

    def __init__(self, max_seconds: float | None) -> None:
        self._max_seconds = max_seconds
        self._attempts = 0
        self._since: float | None = None
        self._ended_at = float("-inf")

    @property
    def seconds(self) -> float:
        """How long the source has been lost; 0 while it plays."""
        return 0.0 if self._since is None else perf_counter() - self._since

    def begin(self) -> bool:
        """The source was lost; returns whether that is news."""
        if self._since is not None:
            return False
        self._since = perf_counter()
        # One that comes back only to be lost again waits on where it left off.
        if self._since - self._ended_at > _STEADY_SECONDS:
            self._attempts = 0
        return True

    def end(self) -> None:
        """The source is back: the next wait is short again, if it stays for ten seconds."""
        self._since, self._ended_at = None, perf_counter()

    def next_wait(self) -> float | None:
        """Seconds to wait before the next attempt; None where the time is over."""
        left = float("inf") if self._max_seconds is None else self._max_seconds - self.seconds
        if left <= 0:
            return None
        longest = min(_CAP_SECONDS, _FIRST_SECONDS * 2.0 ** min(self._attempts, 16))
        self._attempts += 1
        # The last attempt is made when the time is over, not some seconds before.
        return min(left, longest * random.uniform(2 / 3, 1))

"""Takes messages to a receiver that may be slow or away, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Final

__all__ = ["Courier", "RareLog"]

logger = logging.getLogger(__name__)

_QUIET_SECONDS: Final = 60.0
_LAST_SECONDS: Final = 0.5
"""From try to try once the stream has ended."""


class Courier:
    """Delivers messages in order. Where more than ``most`` wait, the oldest is left out, and counted.

    Args:
        deliver: takes a message; returns None where it is done with it, or the seconds after which to try it again.
        name: of the receiver, for the log; without secrets.
        most: messages that wait.
        pause_seconds: from the end of one delivery to the next at the least.
    """

    def __init__(
        self, deliver: Callable[[bytes], float | None], *, name: str, most: int = 256, pause_seconds: float = 0.0
    ) -> None:
        self._deliver = deliver
        self._name = name
        self._most = most
        self._pause_seconds = pause_seconds
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._is_closing = False
        self._is_abandoned = threading.Event()
        self.dropped = 0
        self._log = RareLog()
        self._thread = threading.Thread(target=self._run, name=f"tell {name}", daemon=True)
        self._thread.start()

    def put(self, message: bytes) -> None:
        """Takes a message, and never waits."""
        with self._changed:
            self._waiting.append(message)
            if len(self._waiting) > self._most:
                self._waiting.popleft()
                self.dropped += 1
            self._changed.notify()

    def close(self, *, patience_seconds: float, give_up: Callable[[], object] | None = None) -> None:
        """Delivers what waits, for so long; what is left then is left out, and the log says how much.

        Args:
            patience_seconds: longest wait.
            give_up: ends a delivery that is still under way then.
        """
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(patience_seconds)
        self._is_abandoned.set()
        with self._changed:
            self.dropped += len(self._waiting)
            self._waiting.clear()
        if give_up is not None and self._thread.is_alive():
            give_up()
            self._thread.join(patience_seconds)
        if self.dropped:
            logger.warning("%s: %d events could not be told in time and were left out", self._name, self.dropped)

    def _run(self) -> None:
        while (message := self._next()) is not None:
            again = self._try(message)
            if again is None:
                self._take_off(message)
            self._rest(self._pause_seconds if again is None else again)

    def _try(self, message: bytes) -> float | None:
        """Whatever a delivery fails of, those behind it are delivered."""
        try:
            return self._deliver(message)
        except Exception as error:
            # By its kind alone: what it says may hold an address.
            self._log.warn(f"{self._name}: an event could not be told ({type(error).__name__})")
            return None

    def _next(self) -> bytes | None:
        """The oldest message once there is one; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing)
            return self._waiting[0] if self._waiting and not self._is_abandoned.is_set() else None

    def _rest(self, seconds: float) -> None:
        """Before the next try; at the end nothing is waited for long."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing, seconds)
        if self._is_closing:
            self._is_abandoned.wait(min(seconds, _LAST_SECONDS))

    def _take_off(self, message: bytes) -> None:
        """While it was delivered newer ones may have pushed it out: then it was delivered all the same."""
        with self._changed:
            if self._waiting and self._waiting[0] is message:
                self._waiting.popleft()


class RareLog:
    """Says what goes wrong again and again once a minute, and how often it did since."""

    def __init__(self) -> None:
        self._said_at = float("-inf")
        self._unsaid = 0

    def warn(self, message: str) -> None:
        """Logs the message, or counts it."""
        if perf_counter() - self._said_at < _QUIET_SECONDS:
            self._unsaid += 1
            return
        more = f" ({self._unsaid} more failed in the last minute)" if self._unsaid else ""
        logger.warning("%s%s", message, more)
        self._said_at, self._unsaid = perf_counter(), 0

"""Connections to the page: those that wait for a request are given little time, and little room.

opened ─ G ─ E ─ T ─ …                 cut after REQUEST_SECONDS, however many bytes come meanwhile
opened ─ GET / ─ answer ─ G ─ E ─ …    likewise, from the answer on
"""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["REQUEST_SECONDS", "Connection"]

REQUEST_SECONDS: Final = 5.0
"""Time that a client has for a request, from its connection or from the answer to the one before."""
_FLUSH_SECONDS: Final = 30.0
"""Time to take the rest of an answer after that."""
_MAX_WAITING: Final = 256
"""Connections without a request; of more the oldest are cut, as whoever has something to ask does so at once."""


class Connection(H11Protocol):
    """Closed where no whole request comes in time, so that connections which ask for nothing do not keep others out."""

    _patience: asyncio.TimerHandle | None = None
    _waits_since = 0.0
    _is_cut = False

    @property
    def waits(self) -> bool:
        """Whether no request has come since the last answer, or a part of one only."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the class itself
        """Begins to wait for a request."""
        super().connection_made(transport)
        self._await_request()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        """Waits no longer once the request is whole; a part of it wins no time."""
        super().data_received(data)
        if not self.waits:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Begins to wait for the next request, unless it has come already."""
        super().on_response_complete()
        if self.waits:
            self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _await_request(self) -> None:
        self._stop_waiting()
        self._waits_since = self.loop.time()
        self._patience = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        # Closing waits for the client to take what is still under way, which one that reads nothing never does.
        self._patience = self.loop.call_later(_FLUSH_SECONDS, self._cut)
        self.transport.close()

    def _cut(self) -> None:
        self._is_cut = True
        self.transport.abort()

    def _make_room(self) -> None:
        waiting = [each for each in self.connections if isinstance(each, Connection) and each.waits]
        # One that was cut is among them until the loop comes to it.
        waiting = [each for each in waiting if not each._is_cut]
        if len(waiting) > _MAX_WAITING:
            min(waiting, key=lambda each: each._waits_since)._cut()

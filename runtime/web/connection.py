"""Connections to the page."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["REQUEST_SECONDS", "Connection"]

REQUEST_SECONDS: Final = 5.0
"""Time that a client has for its first request."""


class Connection(H11Protocol):
    """Closed where no request comes in time, so that connections which ask for nothing do not keep others out."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the class itself
        """Begins to wait for a request."""
        super().connection_made(transport)
        self._patience = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits no longer."""
        self._patience.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if self.cycle is None:
            self.transport.close()

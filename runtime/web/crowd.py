"""How many requests are answered at once."""

from __future__ import annotations

from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Crowd"]

_MAX_REQUESTS: Final = 100
_ALWAYS: Final = "/healthz"


class Crowd:
    """Hands requests to ``app``, so many at once; others are answered 503.

    ``/healthz`` is always let through: whoever asks whether the stream is well must not be told that the page is busy.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        is_full = self._requests >= _MAX_REQUESTS and scope.get("path") != _ALWAYS
        busy = PlainTextResponse("too many are looking; try again later\n", 503, {"retry-after": "5"})
        self._requests += 1
        try:
            await (busy if is_full else self._app)(scope, receive, send)
        finally:
            self._requests -= 1

"""A web server on a thread of its own, that ends when it is told to, whatever its clients do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from s2tf_edge.extras import require
from s2tf_edge.runtime.web.address import Address, check_token, listen, parse_address

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = ["WebServer"]

_GRACE_SECONDS: Final = 0.7
_END_SECONDS: Final = 2


class WebServer:
    """Listens from the beginning, and answers once it is started.

    Args:
        address: ``HOST:PORT`` or a port alone, which stands for loopback; port 0 takes a free one.
        token: what clients must show; needed unless the host is loopback.

    Raises:
        UsageError: the address or the token is not allowed, the port is taken, or others could look without a token.
        MissingExtraError: the extra ``web`` is not installed.
    """

    def __init__(self, address: str, *, token: str | None = None) -> None:
        asked = parse_address(address)
        check_token(token, asked)
        for module in ("starlette", "uvicorn", "prometheus_client"):
            require(module, extra="web", purpose="serving a web page")
        self._socket = listen(asked)
        self._address = replace(asked, port=self._socket.getsockname()[1])
        self._token = token
        self._server: Any = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="serve the page", daemon=True)

    @property
    def url(self) -> str:
        """What to open in a browser."""
        return self._address.url

    def start(self, make_app: Callable[[Address, str | None], ASGIApp]) -> None:
        """Begins to answer.

        Args:
            make_app: makes the application, for the address and the token.
        """
        import uvicorn

        from s2tf_edge.runtime.web.connection import Connection

        self._server = uvicorn.Server(
            uvicorn.Config(
                make_app(self._address, self._token),
                loop="asyncio",
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_END_SECONDS,
            )
        )
        self._thread.start()

    def close(self) -> None:
        """Ends; cuts off after a moment clients that do not take what they asked for."""
        if self._thread.ident is not None:
            self._server.should_exit = True
            self._thread.join(_GRACE_SECONDS)
            self._server.force_exit = True
            self._thread.join(_END_SECONDS)
        self._socket.close()

    async def _serve(self) -> None:
        await self._server.serve(sockets=[self._socket])
        # What is left waits for clients that do not read.
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        if tasks := list(self._server.server_state.tasks):
            await asyncio.wait(tasks, timeout=_GRACE_SECONDS)

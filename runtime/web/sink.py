"""Serves a web page of a running stream: live pictures, labels, events, latencies, Prometheus metrics.

    with closing(WebSink("127.0.0.1:8080")) as page:
        page.start()
        for record in recognize("clip.mp4", artifact, options=StreamOptions(pictures=True, status_seconds=1)):
            page.write(record)

docs/web.md describes the routes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import replace
from typing import Final

from s2tf_edge.extras import require
from s2tf_edge.runtime.streaming.records import Record
from s2tf_edge.runtime.web.address import check_token, listen, parse_address

__all__ = ["WebSink"]

logger = logging.getLogger(__name__)

_GRACE_SECONDS: Final = 0.7
_END_SECONDS: Final = 2


class WebSink:
    """Shows the records it is given to whoever opens ``url``; a thread of its own answers them.

    However slow or many they are, ``write`` does not wait for them and memory does not grow. It shows pictures where
    the stream yields them, and states, rates and drops where it yields Status records.

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
        import uvicorn

        from s2tf_edge.runtime.web.connection import Connection
        from s2tf_edge.runtime.web.routes import Page

        self._socket = listen(asked)
        self._address = replace(asked, port=self._socket.getsockname()[1])
        self._page = Page()
        app = self._page.app(address=self._address, token=token)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
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
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="serve the page", daemon=True)

    @property
    def url(self) -> str:
        """What to open in a browser."""
        return self._address.url

    def start(self) -> None:
        """Begins to answer."""
        self._thread.start()
        logger.info("serving %s", self.url)

    def write(self, record: Record) -> None:
        """Shows a record."""
        self._page.write(record)

    def close(self) -> None:
        """Gives clients what they do not have yet, and ends; cuts off after a moment those who do not take it."""
        self._page.closing.set()
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._end()
        self._socket.close()
        self._page.close()

    def _end(self) -> None:
        self._thread.join(_GRACE_SECONDS)
        self._server.force_exit = True
        self._thread.join(_END_SECONDS)

    async def _serve(self) -> None:
        await self._server.serve(sockets=[self._socket])
        # What is left waits for clients that do not read.
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        if tasks := list(self._server.server_state.tasks):
            await asyncio.wait(tasks, timeout=_GRACE_SECONDS)

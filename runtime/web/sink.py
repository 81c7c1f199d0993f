"""Serves a web page of a running stream: live pictures, labels, events, latencies, Prometheus metrics.

    with closing(WebSink("127.0.0.1:8080")) as page:
        page.start()
        for record in recognize("clip.mp4", artifact, options=StreamOptions(pictures=True, status_seconds=1)):
            page.write(record)

docs/web.md describes the routes.
"""

from __future__ import annotations

import logging

from s2tf_edge.runtime.streaming.records import Record
from s2tf_edge.runtime.web.server import WebServer

__all__ = ["WebSink"]

logger = logging.getLogger(__name__)


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
        self._server = WebServer(address, token=token)
        from s2tf_edge.runtime.web.routes import Page

        self._page = Page()

    @property
    def url(self) -> str:
        """What to open in a browser."""
        return self._server.url

    def start(self) -> None:
        """Begins to answer."""
        self._server.start(lambda address, token: self._page.app(address=address, token=token))
        logger.info("serving %s", self.url)

    def write(self, record: Record) -> None:
        """Shows a record."""
        self._page.write(record)

    def close(self) -> None:
        """Gives clients what they do not have yet, and ends; cuts off after a moment those who do not take it."""
        self._page.closing.set()
        self._server.close()
        self._page.close()

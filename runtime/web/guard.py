"""Who may look: the host that a browser was told, and the token."""

from __future__ import annotations

import hashlib
import hmac
import threading
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from s2tf_edge.runtime.web.address import Address
from s2tf_edge.runtime.web.wrong_tokens import WrongTokens

__all__ = ["Guard"]

_HEADERS: Final = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
_UNAUTHORIZED: Final = 401
_LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Guard:
    """Lets requests through to ``app`` that name this host, and show the token where there is one.

    On loopback a page of another site, whose name its owner makes point to 127.0.0.1, would be let in by the browser;
    but it still sends that name as the host.

    Args:
        app: what is guarded.
        address: where it is served.
        token: what is to be shown; None for nothing.
        closing: set where nobody who showed a wrong token is to wait any longer.
    """

    def __init__(self, app: ASGIApp, *, address: Address, token: str | None, closing: threading.Event) -> None:
        self._app = app
        self._hosts = _LOOPBACK_HOSTS | {address.host.lower(), f"[{address.host.lower()}]"}
        self._any_host = not address.is_loopback
        self._token = token
        # Browsers keep cookies by host, whatever the port.
        self._cookie = f"s2tf_{address.port}"
        self._wrong_tokens = WrongTokens(closing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = await self._refuse(Request(scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send_with_headers)

    async def _refuse(self, request: Request) -> Response | None:
        refusal = self._refusal(request)
        if refusal is None or refusal.status_code != _UNAUTHORIZED or not _shown_token(request):
            return refusal
        address = request.client.host if request.client else "unknown"
        return refusal if await self._wrong_tokens.wait(address) else _too_many()

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "").lower()
        if not self._any_host and _without_port(host) not in self._hosts:
            return PlainTextResponse("this host is not served here; open the address that was logged\n", 421)
        if self._token is None:
            return None
        if "token" in request.query_params:
            return self._admission(request)
        if self._shows_token(request) or self._shows_cookie(request):
            return None
        return _form("")

    def _admission(self, request: Request) -> Response:
        """Trades the token in the address for a cookie, so that it does not stay in sight."""
        if not _same(request.query_params["token"], self._token or ""):
            return _form("This is not the token.")
        others = [(key, value) for key, value in request.query_params.multi_items() if key != "token"]
        # Relative: a proxy may serve this under another path.
        place = request.url.path.rpartition("/")[2] or "."
        response = RedirectResponse(f"{place}?{urlencode(others)}" if others else place, 303)
        response.set_cookie(self._cookie, self._proof(), path="/", httponly=True, samesite="strict")
        return response

    def _shows_token(self, request: Request) -> bool:
        return _same(_bearer_token(request), self._token or "")

    def _shows_cookie(self, request: Request) -> bool:
        return _same(request.cookies.get(self._cookie, ""), self._proof())

    def _proof(self) -> str:
        """What the cookie holds: made from the token, but not the token; the same after a restart."""
        return hmac.new((self._token or "").encode(), b"s2tf-edge page", hashlib.sha256).hexdigest()


def _bearer_token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _shown_token(request: Request) -> str:
    """The token that a request shows, right or wrong. A cookie is none: an old one is no guess."""
    return request.query_params.get("token", "") or _bearer_token(request)


def _without_port(host: str) -> str:
    return host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _form(message: str) -> Response:
    page = Path(__file__).with_name("token.html").read_text(encoding="utf-8").replace("{message}", message)
    return HTMLResponse(page, _UNAUTHORIZED, {"www-authenticate": "Bearer"})


def _too_many() -> Response:
    return PlainTextResponse(
        "too many wrong tokens; try again later\n", 429, {"retry-after": "10", "connection": "close"}
    )

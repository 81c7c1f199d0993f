"""Posts every action that begins or ends to an address on the web."""

from __future__ import annotations

import base64
import email.utils
import time
import urllib.error
import urllib.request
from http.client import HTTPException, HTTPMessage
from typing import IO, Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.sinks.alerts.alert import AlertMaker
from s2tf_edge.runtime.sinks.alerts.courier import Courier, RareLog
from s2tf_edge.runtime.streaming.backoff import Backoff
from s2tf_edge.runtime.streaming.records import Record

__all__ = ["WebhookSink"]

_MAX_RETRY_AFTER_SECONDS: Final = 300.0
_TRIED_AGAIN: Final = {408, 425, 429}
"""Answers that are no refusal, beside those from 500 on."""
_SAFE: Final = "%/:=&?~+!$,;'@()*[]"


class WebhookSink:
    """Posts each alert as JSON, in order, and tries again where the receiver is away or overloaded.

    256 alerts wait at most; where one more comes, the oldest is left out. The stream never waits. Redirects are not
    followed: they would carry what is secret elsewhere. Nothing of the address but its host is ever logged, as tokens
    stand in paths, too.

    Args:
        url: ``http://`` or ``https://``; ``user:password@`` in it is sent as Basic authentication.
        token: sent as a Bearer token.
        timeout_seconds: longest wait for the receiver to take or say something.
        patience_seconds: at the end, how long those that wait may take.

    Raises:
        UsageError: the address or the token is none, or there are both a password and a token.
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout_seconds: float = 10.0, patience_seconds: float = 5.0
    ) -> None:
        parts = _parse(url)
        self._name = f"{parts.scheme}://{_host(parts)}"
        self._url = f"{self._name}{quote(parts.path or '/', _SAFE)}"
        if parts.query:
            self._url += f"?{quote(parts.query, _SAFE)}"
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": "s2tf-edge",
            **_authorization(parts, token),
        }
        self._timeout_seconds = timeout_seconds
        self._patience_seconds = patience_seconds
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._backoff = Backoff(None)
        self._log = RareLog()
        self._alerts = AlertMaker()
        self._courier = Courier(self._post, name=f"webhook {self._name}")

    def write(self, record: Record) -> None:
        """Has an alert posted, if an action begins or ends with the record."""
        alert = self._alerts.make(record)
        if alert is not None:
            self._courier.put(alert)

    def close(self) -> None:
        """Posts what waits, but waits not for long."""
        self._courier.close(patience_seconds=self._patience_seconds)

    def _post(self, alert: bytes) -> float | None:
        request = urllib.request.Request(self._url, data=alert, headers=self._headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout_seconds):
                self._backoff.end()
                return None
        except urllib.error.HTTPError as error:
            with error:
                return self._take_answer(error.code, error.headers.get("Retry-After"))
        except (OSError, HTTPException) as error:
            self._log.warn(f"webhook {self._name} cannot be reached ({_reason(error)}); trying again")
            return self._wait()

    def _take_answer(self, code: int, retry_after: str | None) -> float | None:
        if code >= 500 or code in _TRIED_AGAIN:
            self._log.warn(f"webhook {self._name} answers {code}; trying again")
            return max(self._wait(), _parse_delay(retry_after or ""))
        self._backoff.end()
        hint = "; give the address that it leads to" if 300 <= code < 400 else ""
        self._log.warn(f"webhook {self._name} refuses an event with {code}{hint}")
        return None

    def _wait(self) -> float:
        self._backoff.begin()
        return self._backoff.next_wait() or 0.0


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        del req, fp, code, msg, headers, newurl


def _parse(url: str) -> SplitResult:
    """Its parts. The address is shown in no message: where it cannot be told apart, nor can what is secret in it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
        (parts.hostname or "").encode("idna")
    except ValueError:
        parts = urlsplit("")
    is_plain = not any(character.isspace() or not character.isprintable() for character in url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not is_plain:
        msg = "`webhook` is no address that can be posted to; give http(s)://HOST/PATH without spaces"
        raise UsageError(msg)
    return parts


def _host(parts: SplitResult) -> str:
    """Host and port in plain letters, as they go over the wire."""
    if parts.netloc.isascii() or parts.hostname is None:
        return parts.netloc.rpartition("@")[2]
    host = parts.hostname.encode("idna").decode("ascii")
    # Only addresses of version 6 have colons.
    host = f"[{host}]" if ":" in host else host
    return host if parts.port is None else f"{host}:{parts.port}"


def _authorization(parts: SplitResult, token: str | None) -> dict[str, str]:
    if parts.username is None and token is None:
        return {}
    if token is None:
        pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    if parts.username is not None:
        msg = "`webhook` has a password and there is a token as well; give one of them"
        raise UsageError(msg)
    if not (token.isascii() and token.isprintable()):
        msg = "the token of `webhook` holds characters that cannot be sent; give one of plain letters and digits"
        raise UsageError(msg)
    return {"Authorization": f"Bearer {token}"}


def _parse_delay(text: str) -> float:
    """Seconds that the receiver asks for, as a number or as a date; 0 where it does not."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:9])
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (TypeError, ValueError, OverflowError):
            seconds = 0.0
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS)


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or type(reason).__name__

"""Where the page is served, and for whom that is in reach."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Final

from s2tf_edge.errors import UsageError

__all__ = ["Address", "check_token", "listen", "parse_address"]

_LOOPBACK: Final = "127.0.0.1"
_MAX_PORT: Final = 65_535
_TOKEN: Final = re.compile(r"[!-~]{8,}")


@dataclass(frozen=True, kw_only=True)
class Address:
    """A host and a port."""

    host: str
    """A name or an IP address, without brackets."""
    port: int
    """0 takes a free one."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it; a name other than localhost counts as reached by others."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    @property
    def url(self) -> str:
        """What to open in a browser on this machine."""
        wildcard = self.host in ("0.0.0.0", "::")
        host = "localhost" if wildcard else f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"


def parse_address(text: str) -> Address:
    """Reads ``HOST:PORT``, ``[IPv6]:PORT``, or a port alone, which stands for loopback.

    Raises:
        UsageError: ``text`` is none of them.
    """
    host, _, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > _MAX_PORT or (":" in bare and bare == host):
        msg = (
            f"cannot serve at {text!r}; give HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080, "
            f"with a port from 0 (any free one) to {_MAX_PORT}"
        )
        raise UsageError(msg)
    return Address(host=bare or _LOOPBACK, port=int(port))


def check_token(token: str | None, address: Address) -> None:
    """Whoever is not on this machine must show a token.

    Raises:
        UsageError: the token is missing where one is needed, or too short or not fit for a header.
    """
    if token is None and not address.is_loopback:
        msg = f"others can reach {address.host}; give a `token=TOKEN` that they must show, or serve at {_LOOPBACK}"
        raise UsageError(msg)
    if token is not None and not _TOKEN.fullmatch(token):
        msg = "a token must be 8 or more ASCII characters without spaces; `openssl rand -hex 16` makes one"
        raise UsageError(msg)


def listen(address: Address) -> socket.socket:
    """Opens the socket, so that connections queue from here on.

    Raises:
        UsageError: the host is unknown or not this machine's, or the port is taken or not allowed.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, place = min(found, key=lambda item: item[0] != socket.AF_INET)
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(_refusal(address, error)) from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(place)
        opened.listen()
    except OSError as error:
        opened.close()
        raise UsageError(_refusal(address, error)) from error
    return opened


def _refusal(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"cannot serve at {address.url}: port {address.port} is taken; choose another, or 0 for any free one"
    if error.errno == errno.EACCES:
        return f"cannot serve at {address.url}: port {address.port} is not allowed to this user; choose one from 1024"
    return f"cannot serve at {address.url}: {error.strerror}; choose an address of this machine, such as {_LOOPBACK}"

"""Wrong tokens: who shows them is logged, and told so later each time."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

__all__ = ["WrongTokens"]

logger = logging.getLogger(__name__)

_FREE: Final = 3
"""Wrong tokens that are told at once: people mistype."""
_FIRST_SECONDS: Final = 0.25
_LONGEST_SECONDS: Final = 5.0
_MAX_WAIT_SECONDS: Final = 10.0
_MAX_WAITING: Final = 32
"""Answers that wait, of all peers together."""
_MAX_PEERS: Final = 1024
"""Peers that are remembered; of more those go that were silent longest."""
_FORGET_SECONDS: Final = 600.0
_TICK_SECONDS: Final = 0.05
_IPV6_NETWORK: Final = 64
"""Bits that a peer cannot choose."""


@dataclass
class _Peer:
    count: int = 0
    seen_at: float = 0.0
    answered_at: float = 0.0
    """When the last of its answers is given: they come one after another, however many it asks for at once."""


class WrongTokens:
    """Counts wrong tokens by peer. Right ones are none of its business: they are let in whatever others at it do.

    Args:
        closing: set where nobody is to wait any longer.
        clock: seconds that never go back.
    """

    def __init__(self, closing: threading.Event, *, clock: Callable[[], float] = monotonic) -> None:
        self._closing = closing
        self._clock = clock
        self._peers: OrderedDict[str, _Peer] = OrderedDict()
        self._waiting = 0

    async def wait(self, address: str) -> bool:
        """Counts a wrong token from ``address`` and waits until it may be told so.

        Returns whether it has waited; false where too many wait already, which are to be told to come later.
        """
        seconds = self.count(address)
        if seconds > _MAX_WAIT_SECONDS or self._waiting >= _MAX_WAITING:
            return False
        self._waiting += 1
        try:
            until = self._clock() + seconds
            while (left := until - self._clock()) > 0 and not self._closing.is_set():
                await asyncio.sleep(min(left, _TICK_SECONDS))
        finally:
            self._waiting -= 1
        return True

    def count(self, address: str) -> float:
        """Counts a wrong token; gives the seconds that its answer waits for, behind those of the same peer."""
        now, peer = self._clock(), self._find(address)
        peer.count, peer.seen_at = peer.count + 1, now
        if not peer.count & (peer.count - 1):
            # The first, second, fourth, eighth, …: the log does not grow with the guesses.
            logger.warning("wrong token from %s%s", address, f", {peer.count} by now" if peer.count > 1 else "")
        late = peer.count - _FREE
        pause = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2.0 ** min(late - 1, 32)) if late > 0 else 0.0
        seconds = max(peer.answered_at - now, 0.0) + pause
        if seconds <= _MAX_WAIT_SECONDS:
            peer.answered_at = now + seconds
        return seconds

    def _find(self, address: str) -> _Peer:
        name = _network(address)
        peer = self._peers.pop(name, None)
        if peer is None or self._clock() - peer.seen_at > _FORGET_SECONDS:
            peer = _Peer()
        self._peers[name] = peer
        if len(self._peers) > _MAX_PEERS:
            self._peers.popitem(last=False)
        return peer


def _network(address: str) -> str:
    """What stands for all addresses that one peer may take."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_NETWORK), strict=False))
    return str(found)

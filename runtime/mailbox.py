"""Between the threads that read and the one that runs the network: a queue that cannot grow.

Each source has a share. Where a source can wait, as a file can, its thread waits until there is room, and nothing is
lost. Where it cannot, a window that is ready takes the place of one that still waits, and what is lost is counted.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from s2tf_edge.errors import S2TFError
from s2tf_edge.runtime.predictions import Gap, Picture
from s2tf_edge.runtime.window import Window

__all__ = ["Ended", "Item", "Mailbox"]

_SHARES: Final = {Window: 2, Picture: 128 * 2**20}
"""How much of a kind may wait for each source: windows by number, pictures by their bytes."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The last item of a source: it came to its end, or broke with ``error``."""

    source: int
    error: S2TFError | None = None


Item = Window | Picture | Gap | Ended


class Mailbox:
    """A queue from many threads to one; items of one source keep their order."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._waiting: Counter[tuple[int, type]] = Counter()
        self._changed = threading.Condition()
        self._is_closed = False
        self.drops: Counter[str] = Counter()
        """What was left out, by cause."""

    def put(self, item: Item, *, wait: bool) -> None:
        """Adds an item; after ``close`` it is thrown away.

        Args:
            item: from the source ``item.source``.
            wait: wait for room; otherwise drop what is out of date.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._is_closed or self._has_room(item))
            elif not self._make_room(item):
                return
            if not self._is_closed:
                self._items.append(item)
                self._waiting[item.source, type(item)] += _weight(item)
                self._changed.notify_all()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._items

    def wait(self, until: Callable[[], bool], *, timeout_seconds: float) -> None:
        """Waits until something is so that an item, or a call of ``wake``, may have made so; or the time is over."""
        with self._changed:
            self._changed.wait_for(until, timeout=timeout_seconds)

    def wake(self) -> None:
        """Lets ``wait`` look again."""
        with self._changed:
            self._changed.notify_all()

    def take(self, *, windows: int) -> list[Item]:
        """All items up to the ``windows``-th window, at once; none if nothing waits."""
        taken: list[Item] = []
        with self._changed:
            while self._items and windows:
                taken.append(self._remove(0))
                windows -= isinstance(taken[-1], Window)
            self._changed.notify_all()
        return taken

    def close(self) -> None:
        """Lets nobody wait any longer."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _has_room(self, item: Item) -> bool:
        share, waiting = _SHARES.get(type(item)), self._waiting[item.source, type(item)]
        return share is None or not waiting or waiting + _weight(item) <= share

    def _make_room(self, item: Item) -> bool:
        if isinstance(item, Window):
            for index, other in enumerate(self._items):
                if isinstance(other, Window) and other.source == item.source:
                    self._remove(index)
                    self.drops["windows_superseded"] += 1
                    break
        elif not self._has_room(item):
            self.drops["pictures_not_saved"] += 1
            return False
        return True

    def _remove(self, index: int) -> Item:
        item = self._items[index]
        del self._items[index]
        self._waiting[item.source, type(item)] -= _weight(item)
        return item


def _weight(item: Item) -> int:
    return item.nbytes if isinstance(item, Picture) else 1

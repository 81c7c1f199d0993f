"""Between the threads that read and the one that runs the network: a queue that cannot grow.

Each source has a share; files that are read one after another have one together, or a folder of short ones would fill
the memory. Where a source can wait, as a file can, its thread waits until there is room, and nothing is lost. Where it
cannot, a window that is ready takes the place of one that still waits, and what is lost is counted.

Three groups, the first of two files, the others of a camera each; W is a window, P a picture, G a gap, E an end:

    files 0, 1   E₁ W₁ P₁ E₀ W₀ P₀ ─┐
    camera 2                 G₂ W₂ ─┼─ turns ─→ take: P₀ W₀   W₂   then E₀ P₁ W₁, then G₂, then E₁
    camera 3                        ┘           up to one window of each group in turn
    pictures of cameras   P₃ P₂ P₂ ───────────→ take_picture: past all of these; not past the end of their camera

Zones of one source are a group too: their windows of one instant have one turn, so that one run takes all of them.
Camera 3 has no turn while nothing of it waits; with its next item it gets the last one.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from s2tf_edge.errors import S2TFError
from s2tf_edge.runtime.streaming.clip_ring import Window
from s2tf_edge.runtime.streaming.records import Gap, Picture
from s2tf_edge.runtime.streaming.zone_rings import RegionGone

__all__ = ["Ended", "FairQueue", "Item"]

_SHARES: Final = {Window: 2, Picture: 128 * 2**20}
"""How much of a kind may wait for each group of sources: windows by instants, pictures by their bytes."""
_MAX_PASSING: Final = 30
"""Pictures of a group that may go past its windows: more would be shown with labels of a later second."""


@dataclass(frozen=True, kw_only=True)
class Ended:
    """The last item of a source: it came to its end, or broke with ``error``."""

    source: int
    error: S2TFError | None = None


Item = Window | Picture | Gap | RegionGone | Ended


class FairQueue:
    """A queue from many threads to one, in which sources take turns; items of one source keep their order.

    Pictures of a source that cannot wait go past its windows: they are to be seen while the network runs.
    """

    def __init__(self, groups: Iterable[Iterable[int]] = ()) -> None:
        """Begins with nothing in it.

        Args:
            groups: sources that are read one after another, and keep their order among each other; any other source
                is a group by itself.
        """
        self._groups = {source: number for number, group in enumerate(groups) for source in group}
        self._queues: dict[int, deque[list[Item]]] = {}
        """By group: what was put together lies together."""
        self._turns: deque[deque[list[Item]]] = deque()
        """Queues in which something waits, the one whose turn it is first."""
        self._pictures: deque[Picture] = deque()
        self._waiting: Counter[tuple[int, type]] = Counter()
        self._passing: Counter[int] = Counter()
        self._changed = threading.Condition()
        self._is_closed = False
        self.drops: Counter[str] = Counter()
        """What was left out, by cause."""

    def put(self, *items: Item, wait: bool) -> None:
        """Adds an item, or several at once; after ``close`` they are thrown away.

        Args:
            items: of one kind, from sources of one group; windows that are complete at the same instant are given
                together, so that one run may take all of them.
            wait: wait for room; otherwise drop what is out of date.
        """
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._is_closed or self._has_room(items, of=len(items)))
            # Looked at under the same lock as ``close`` sets it: nothing comes in behind that.
            if self._is_closed:
                return
            together = []
            for item in items:
                if wait or self._make_room(item, of=len(items)):
                    together.append(item)
                    self._waiting[self._group(item), type(item)] += _weight(item)
            if together:
                self._add(together, passes=not wait)
            self._changed.notify_all()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits but pictures that go past."""
        return not self._turns

    @property
    def has_pictures(self) -> bool:
        """Whether ``take_picture`` has something to give."""
        return bool(self._pictures)

    def wait(self, until: Callable[[], bool], *, timeout_seconds: float) -> None:
        """Waits until something is so that an item, or a call of ``wake``, may have made so; or the time is over."""
        with self._changed:
            self._changed.wait_for(until, timeout=timeout_seconds)

    def wake(self) -> None:
        """Lets ``wait`` look again."""
        with self._changed:
            self._changed.notify_all()

    def take(self, *, windows: int | None) -> list[Item]:
        """Items up to as many windows as one run takes, at once, in turn from each group those of one instant.

        Args:
            windows: how many at the most; None for those of one instant of each group, however many these are.
        """
        taken: list[Item] = []
        room = sys.maxsize if windows is None else windows
        with self._changed:
            turns = len(self._turns) if windows is None else sys.maxsize
            while self._turns and room > 0 and turns > 0:
                queue = self._turns.popleft()
                found = [*self._take_instant(queue, most=room)]
                taken += found
                room -= sum(isinstance(item, Window) for item in found)
                turns -= 1
                # Behind all others, as often as something is left: no source is served twice before another once.
                if queue:
                    self._turns.append(queue)
            self._changed.notify_all()
        return taken

    def take_picture(self) -> Picture | None:
        """The next picture that goes past, at once; None where there is none."""
        with self._changed:
            if not self._pictures:
                return None
            picture = self._pictures.popleft()
            self._passing[self._group(picture)] -= 1
            self._forget(picture)
        return picture

    def take_pictures_of(self, source: int) -> list[Picture]:
        """All pictures of one source that go past, at once, as when it has ended."""
        with self._changed:
            taken = [picture for picture in self._pictures if picture.source == source]
            self._pictures = deque(picture for picture in self._pictures if picture.source != source)
            for picture in taken:
                self._passing[self._group(picture)] -= 1
                self._forget(picture)
        return taken

    def close(self) -> None:
        """Lets nobody wait any longer."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _add(self, together: list[Item], *, passes: bool) -> None:
        group = self._group(together[0])
        pictures = [item for item in together if isinstance(item, Picture)]
        if passes and pictures:
            self._pictures += pictures
            self._passing[group] += len(pictures)
            return
        queue = self._queues.setdefault(group, deque())
        queue.append(together)
        # By identity: two queues with the same items would be equal.
        if not any(each is queue for each in self._turns):
            self._turns.append(queue)

    def _take_instant(self, queue: deque[list[Item]], *, most: int) -> Iterator[Item]:
        """Items up to a window and those that were put with it, ``most`` of them."""
        while queue:
            together = queue.popleft()
            are_windows = isinstance(together[0], Window)
            if are_windows and len(together) > most:
                queue.appendleft(together[most:])
                together = together[:most]
            for item in together:
                self._forget(item)
            yield from together
            if are_windows:
                return

    def _has_room(self, items: Sequence[Item], *, of: int) -> bool:
        """Whether there is room for items of one kind, ``of`` of which come at one instant."""
        # What is larger than a whole share is let in alone, or it would wait for ever; gaps and ends always are.
        kind = type(items[0])
        waiting = self._waiting[self._group(items[0]), kind]
        if kind not in _SHARES or not waiting:
            return True
        share = _SHARES[kind] * (of if kind is Window else 1)
        return waiting + sum(map(_weight, items)) <= share

    def _make_room(self, item: Item, *, of: int) -> bool:
        if isinstance(item, Window):
            self._supersede(item, of=of)
        elif not self._has_room([item], of=1) or self._passing[self._group(item)] >= _MAX_PASSING:
            self.drops["pictures_left_out"] += 1
            return False
        return True

    def _supersede(self, window: Window, *, of: int) -> None:
        """The window that waits makes room for a newer one of its zone; its group keeps its turn."""
        queue = self._queues.get(self._group(window), deque())
        # Of its own zone one is enough; of a group of many the oldest goes only where the share is used up.
        is_full = not self._has_room([window], of=of)
        for place, together in enumerate(queue):
            for index, old in enumerate(together):
                if isinstance(old, Window) and (is_full or old.key == window.key):
                    del together[index]
                    if not together:
                        del queue[place]
                    self._forget(old)
                    self.drops["windows_superseded"] += 1
                    return

    def _forget(self, item: Item) -> None:
        """Gives back the room that the item took."""
        self._waiting[self._group(item), type(item)] -= _weight(item)

    def _group(self, item: Item) -> int:
        """The number of its source's group; one that was named in none is a group by itself."""
        return self._groups.get(item.source, -1 - item.source)


def _weight(item: Item) -> int:
    return item.nbytes if isinstance(item, Picture) else 1

"""The newest records as JSON, for clients that come late or read slowly, in memory that never grows.

There is no queue for each client. All read one history and remember how far they are:

    history   … 41 42 43 44 45 46 47 48        the oldest go as new ones come
                      ↑           ↑
              slow client    quick client      42 was gone before the slow one read it: one is missed
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
import itertools
import json
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from s2tf_edge.runtime.streaming.records import Picture, Prediction, Record, Status, to_json

__all__ = ["Entry", "History", "missed"]

_KEPT: Final[Mapping[str, int]] = {"prediction": 300, "status": 600, "event": 200, "gap": 50, "error": 5}
"""How many of each type are kept, of each source apart; of the others the newest."""
_MAX_ENTRIES: Final = 30_000
"""Of all sources together, as a folder may hold any number of videos; of what was silent longest the oldest go."""
_MAX_STATES: Final = 60_000
"""In all Status records together: each has the state of every source."""
_BATCH: Final = 64


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One record."""

    number: int
    """Its position among all, from 1."""
    values: Mapping[str, Any]

    @functools.cached_property
    def text(self) -> str:
        """As JSON, made once for all clients."""
        return json.dumps(self.values, ensure_ascii=False)


class History:
    """Takes records from the stream's thread and gives them to any number of readers on others."""

    def __init__(self) -> None:
        self.run = secrets.token_hex(4)
        """Tells this history from that of a server that ran here before."""
        self._lock = threading.Lock()
        self._newest = 0
        self._count = 0
        self._kept: dict[tuple[str, int], deque[Entry]] = {}
        """By type and source, what was written to last being last."""

    def write(self, record: Record) -> None:
        """Takes a record; pictures are not for it."""
        if isinstance(record, Picture):
            return
        values = _values(record)
        key = (values["type"], values.get("source", -1))
        with self._lock:
            self._newest += 1
            kept = self._kept.pop(key, None) or deque(maxlen=_room(record, key[0]))
            before = len(kept)
            kept.append(Entry(number=self._newest, values=values))
            self._kept[key] = kept
            self._count += len(kept) - before
            if self._count > _MAX_ENTRIES:
                self._make_room()

    def after(self, number: int) -> list[Entry]:
        """The oldest entries that came after ``number``, in order, as many as are sent at once; 0 is before all."""
        with self._lock:
            if number >= self._newest:
                return []
            parts = [_after(kept, number) for kept in self._kept.values()]
        return list(itertools.islice(heapq.merge(*parts, key=lambda entry: entry.number), _BATCH))

    def _make_room(self) -> None:
        key = next(key for key in self._kept if key[1] >= 0)
        self._kept[key].popleft()
        self._count -= 1
        if not self._kept[key]:
            del self._kept[key]

    def position(self, event_id: str | None) -> int:
        """How far a client is that says what it read last; 0 for one that is new here."""
        run, _, number = (event_id or "").partition("-")
        return int(number) if run == self.run and re.fullmatch("[0-9]{1,15}", number) else 0


def missed(entries: list[Entry], *, position: int) -> int:
    """How many entries a client at ``position`` missed before and among those that it is given.

    One that is new here has missed none.
    """
    return entries[-1].number - position - len(entries) if entries and position else 0


def _room(record: Record, kind: str) -> int:
    """How many records of this type are kept, of one source."""
    kept = _KEPT.get(kind, 1)
    if isinstance(record, Status):
        return max(1, min(kept, _MAX_STATES // max(1, len(record.sources))))
    return kept


def _after(kept: deque[Entry], number: int) -> list[Entry]:
    def newest_first() -> Iterator[Entry]:
        for entry in reversed(kept):
            if entry.number <= number:
                return
            yield entry

    return list(newest_first())[::-1]


def _values(record: Record) -> dict[str, Any]:
    """The record's JSON object, and what only the page wants to know.

    ``at`` is Unix time; a prediction also has its stages, and whether there is a mask of it.
    """
    if isinstance(record, Status):
        sources = [dataclasses.asdict(source) for source in record.sources]
        stages = {name: dict(values) for name, values in record.stages_ms.items()}
        values = {"type": "status", "seconds": record.seconds, "drops": dict(record.drops)}
        return values | {"stages_ms": stages, "sources": sources, "at": time.time()}
    values = to_json(record) or {}
    if isinstance(record, Prediction):
        stages_ms = {name: round(value, 3) for name, value in record.stages_ms.items()}
        values |= {"stages_ms": stages_ms, "saliency": record.mask is not None}
    return values | {"at": time.time()}

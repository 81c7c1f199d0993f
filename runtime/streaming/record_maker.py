"""From what has been through the queue and the network to records, source by source in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from s2tf_edge.runtime.streaming.clip_ring import Window
from s2tf_edge.runtime.streaming.fair_queue import Ended, Item
from s2tf_edge.runtime.streaming.inference import WindowResult
from s2tf_edge.runtime.streaming.ledger import Ledger
from s2tf_edge.runtime.streaming.postprocess import Postprocessor
from s2tf_edge.runtime.streaming.records import Event, Gap, Picture, Prediction, Record
from s2tf_edge.runtime.streaming.zone_rings import RegionGone

__all__ = ["RecordMaker"]

_Counted = TypeVar("_Counted", bound=Prediction | Event)


class RecordMaker:
    """Makes the records of an item, counts them, and knows which sources have not ended yet.

    Nothing comes of an item whose source has.
    """

    def __init__(self, postprocessor: Postprocessor, ledger: Ledger) -> None:
        self._postprocessor = postprocessor
        self._ledger = ledger
        self._open = set(ledger.indices)

    @property
    def has_open_sources(self) -> bool:
        """Whether records are still to come."""
        return bool(self._open)

    def is_open(self, source: int) -> bool:
        """Whether the source has not ended yet."""
        return source in self._open

    def make(self, item: Item, result: WindowResult | None) -> Iterator[Record]:
        """The records of one item.

        Args:
            item: the next one of its source.
            result: what the network says of it, where it is a window.
        """
        if item.source not in self._open:
            return
        if isinstance(item, Window) and result is not None:
            yield from self._count(self._postprocessor.predict(item, result))
        elif isinstance(item, Picture):
            yield item
        elif isinstance(item, Gap):
            # The event that it ends comes first, as its time does.
            yield from self._count(self._postprocessor.reset(item.source))
            yield item
        elif isinstance(item, RegionGone):
            yield from self._count(self._postprocessor.end_region(item.source, item.region))
        elif isinstance(item, Ended):
            if item.error is not None:
                yield self._ledger.fail(item.source, item.error)
            yield from self._end(item.source)

    def end_all(self) -> Iterator[Event]:
        """Ends the sources that are open, as where the run is ended before them; gives their current actions."""
        for source in sorted(self._open):
            yield from self._end(source)

    def _end(self, source: int) -> Iterator[Event]:
        self._open.discard(source)
        yield from self._count(self._postprocessor.end(source))

    def _count(self, records: Sequence[_Counted]) -> Iterator[_Counted]:
        for record in records:
            self._ledger.count(record)
            yield record

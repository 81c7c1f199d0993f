"""What is remembered of a source from one opening to the next, where it hands out again what it gave before.

A playlist of HLS is opened some segments back, so that frames come twice:

    given        1 2 3 4 5 6 (lost)
    opened again     3 4 5 6 7 8 …     3 to 6 are decoded, as others refer to them, and left out
"""

from __future__ import annotations

import copy
import zlib
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

from av.packet import Packet

from s2tf_edge.runtime.sources.presentation import PresentationClock

__all__ = ["Continuity", "Mark", "mark_packet"]

_MAX_KEPT: Final = 8192
"""Frames that are known again: two minutes, and more than three segments of any playlist."""
_MAX_HELD: Final = 64
"""Packets that a decoder may hold before it hands out the first of their frames."""


@dataclass(frozen=True)
class Mark:
    """What a packet is known by when it comes again.

    By its time alone, an encoder that was restarted and counts from 0 anew would seem to repeat itself.
    """

    pts: int
    checksum: int


class Continuity:
    """The clock of a source, and the frames that it gave last: first those that are repeated, then new ones.

    Args:
        before: what is remembered of the last opening, which stays as it is; None where times begin anew.
        has_ended: whether nothing will be added to what the source hands out, which then is all of it from its start.
    """

    def __init__(self, before: Continuity | None = None, *, has_ended: bool = False) -> None:
        self.clock: PresentationClock = copy.copy(before.clock) if before else PresentationClock()
        """Goes on from one opening to the next, as the times of the source do."""
        self.presented_at: float | None = before.presented_at if before else None
        """``perf_counter`` when the newest frame was presented; None before the first."""
        self._given: dict[Mark, None] = before._given.copy() if before else {}
        self._newest: Mark | None = before._newest if before else None
        self._held: dict[int | None, Mark] = {}
        self._repeats = self.is_known
        self._has_ended = has_ended

    @property
    def is_known(self) -> bool:
        """Whether the source gave a frame before."""
        return self._newest is not None

    @property
    def away_seconds(self) -> float:
        """How long ago the newest frame was presented; 0 before the first."""
        return 0.0 if self.presented_at is None else perf_counter() - self.presented_at

    def hold(self, pts: int | None, mark: Mark | None) -> bool:
        """Takes note of a packet that is to be decoded; returns whether its frame was given before.

        Args:
            pts: by which its frame will be known.
            mark: of the packet as it came; None where it has no time.
        """
        if mark is None:
            return False
        # Frames that never come out of the decoder leave theirs here: it must not grow.
        if len(self._held) >= _MAX_HELD:
            del self._held[next(iter(self._held))]
        self._held[pts] = mark
        return self._was_given(mark)

    def give(self, pts: int | None, *, presented_at: float) -> bool:
        """Takes note of a frame that came out of the decoder; false where it was given before.

        Args:
            pts: by which its packet was held.
            presented_at: ``perf_counter`` when it was presented.
        """
        mark = self._held.pop(pts, None)
        if mark is None:
            return True
        if self._was_given(mark):
            # Behind the newest all is new, also of a program that is sent over and over.
            self._repeats = mark != self._newest
            return False
        self._repeats, self._newest, self.presented_at = False, mark, presented_at
        # The newest stands last, whatever came before.
        self._given.pop(mark, None)
        self._given[mark] = None
        if len(self._given) > _MAX_KEPT:
            del self._given[next(iter(self._given))]
        return True

    def _was_given(self, mark: Mark) -> bool:
        is_past = self._has_ended and self._newest is not None and mark.pts <= self._newest.pts
        return self._repeats and (is_past or mark in self._given)


def mark_packet(packet: Packet[Any]) -> Mark | None:
    """What a packet is known by; None where it has no time."""
    return None if packet.pts is None else Mark(packet.pts, zlib.crc32(packet))

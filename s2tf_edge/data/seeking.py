"""Reading a video from a moment on: by an index where there is one, by going through its packets where not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from av.packet import Packet
from av.video.stream import VideoStream

from s2tf_edge.clips import MIN_PAUSE_SECONDS

__all__ = ["TOLERANCE_SECONDS", "from_moment", "is_held", "read_sought", "skip_to"]

_Timed = TypeVar("_Timed", bound=tuple[Any, ...])
TOLERANCE_SECONDS: Final = 1e-3
"""Containers round presentation times, Matroska to whole milliseconds."""
_MAX_HELD_BYTES: Final = 64 * 2**20


def read_sought(
    seconds: float, *, rewind: Callable[[], object], read: Callable[[], Iterator[_Timed]]
) -> Iterator[_Timed]:
    """What ``read`` gives after a seek, or from the beginning where the seek led too far.

        frames   K . . . . K . . . . K . . .
                 |         |     |   └ a seek without an index may land here: behind what is needed, or all frames
                 |         |     └ seconds
                 |         └ a seek by an index lands here; what comes before ``seconds`` is given too
                 └ rewinding leads here

    Args:
        seconds: presentation time that was sought.
        rewind: goes back to the first frame.
        read: reads on from where a source stands; the first of each item is its presentation time.
    """
    items = read()
    first = next(items, None)
    if first is None or first[0] > seconds:
        rewind()
        first, items = None, read()
    yield from itertools.chain([] if first is None else [first], items)


def from_moment(items: Iterable[_Timed], seconds: float) -> Iterator[tuple[float, _Timed]]:
    """What is seen from ``seconds`` on, each with the time at which it comes into sight.

    The first is the first frame presented then or later, unless the one before it is held for longer than a pause:

        frames    . . . . .                 . . .
                       seconds |            └ the next
                          └ the one before is still seen: it is given as of ``seconds``

    Args:
        items: the first of each is its presentation time, in order.
        seconds: the moment.
    """
    before: _Timed | None = None
    is_there = False
    for item in items:
        if not is_there and item[0] < seconds - TOLERANCE_SECONDS:
            before = item
            continue
        if not is_there and before is not None and is_held(before[0], seconds, item[0]):
            yield seconds, before
        is_there = True
        yield item[0], item


def is_held(from_seconds: float, seconds: float, until_seconds: float) -> bool:
    """Whether a frame that is seen from one time until another is still seen at ``seconds``, as after a pause."""
    return until_seconds - from_seconds > MIN_PAUSE_SECONDS and until_seconds > seconds + TOLERANCE_SECONDS


def skip_to(packets: Iterator[Packet[VideoStream]], ticks: float) -> Iterator[Packet[VideoStream]]:
    """The packets that frames presented at ``ticks`` or later are decoded from, and some before.

    Those before are read, not decoded; a group of pictures is held until it is known whether it is needed, unless it is
    so large that it is rather decoded.
    """
    before: list[Packet[VideoStream]] = []
    group: list[Packet[VideoStream]] = []
    held_bytes = 0
    for packet in packets:
        if packet.is_keyframe:
            held_bytes -= sum(each.size for each in before)
            before, group = group, []
        group.append(packet)
        held_bytes += packet.size
        is_there = packet.pts is None or packet.pts >= ticks
        if is_there or held_bytes > _MAX_HELD_BYTES:
            # Pictures presented before a key frame may be decoded after it, and refer to the group before.
            yield from before if packet.is_keyframe and packet.pts != ticks else []
            break
    yield from group
    yield from packets

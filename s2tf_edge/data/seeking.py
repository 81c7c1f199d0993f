"""Reading a video from a moment on: by an index where there is one, by going through its packets where not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from av.packet import Packet
from av.video.stream import VideoStream

__all__ = ["read_from", "skip_to"]

_Timed = TypeVar("_Timed", bound=tuple[Any, ...])
_MAX_HELD_BYTES: Final = 64 * 2**20


def read_from(
    seconds: float, *, seek: Callable[[float], bool], rewind: Callable[[], object], read: Callable[[], Iterator[_Timed]]
) -> Iterator[_Timed]:
    """What ``read`` gives from a key frame at or before ``seconds`` on, or from the beginning where none can be found.

        frames   K . . . . K . . . . K . . .
                 |         |     |   └ a seek without an index may land here: behind what is needed, or all frames
                 |         |     └ seconds
                 |         └ a seek by an index lands here; what comes before ``seconds`` is given too
                 └ rewinding leads here

    Args:
        seconds: presentation time that is wanted.
        seek: goes to a key frame at or before; false where it cannot.
        rewind: goes back to the first frame.
        read: reads on from where a source stands; the first of each item is its presentation time.
    """
    is_sought = seek(seconds)
    items = read()
    first = next(items, None) if is_sought else None
    if is_sought and (first is None or first[0] > seconds):
        rewind()
        first, items = None, read()
    yield from itertools.chain([] if first is None else [first], items)


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

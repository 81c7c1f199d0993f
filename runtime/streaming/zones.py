"""Which parts of a source's frames are recognized: all of them, zones that stay, or regions that a function finds.

one reading       frame ─┬─ zone "door"   source 0, region door     zones that stay are sources of their own
of camera 0              └─ zone "till"   source 1, region till

one reading       frame ─┬─ track 17      source 0, region 17       regions that move are tracks of one source,
of camera 0              └─ track 18      source 0, region 18       which come and go
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Protocol

import av

from s2tf_edge.data.cropping import PixelBox
from s2tf_edge.data.frames import scale_frame, shown_size
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.regions import (
    Box,
    FindRegions,
    Region,
    RegionError,
    SampledFrame,
    is_large_enough,
    to_pixels,
    to_shares,
)

__all__ = ["FixedZones", "FoundZones", "Zone", "Zones", "make_zones"]


@dataclass(frozen=True)
class Zone:
    """A part of one frame."""

    source: int
    """Position of the source that it is in the records."""
    region: str | None
    """Name or id; None for the whole picture."""
    box: PixelBox | None
    """In pixels of the picture as it is shown; None for all of it."""
    shares: Box | None = None
    """The same as shares of the picture."""


class Zones(Protocol):
    """The zones of one source."""

    come_and_go: bool
    """Whether a zone may be missing from a frame."""

    def find(self, frame: av.VideoFrame, pts_seconds: float) -> list[Zone]:
        """The zones of a frame that a clip is made of.

        Raises:
            RegionError: a zone does not lie in the picture, or it cannot be said where they are.
        """


class FixedZones:
    """Zones that stay where they are, or the whole picture.

    Args:
        zones: for each its position in the records and its region; None for the whole picture.
    """

    come_and_go = False

    def __init__(self, zones: Sequence[tuple[int, Region | None]]) -> None:
        self._zones = zones
        self._size = 0, 0
        self._found: list[Zone] = []

    def find(self, frame: av.VideoFrame, pts_seconds: float) -> list[Zone]:
        """The same, but where the picture has another size."""
        del pts_seconds
        size = shown_size(frame)
        if size != self._size:
            self._found = [_place(source, region, *size) for source, region in self._zones]
            self._size = size
        return self._found


class FoundZones:
    """Regions that a function finds in each frame.

    Args:
        find: the function.
        source: position of the source in the records.
        times: where the time of the function goes.
    """

    come_and_go = True

    def __init__(self, find: FindRegions, *, source: int, times: StageTimes) -> None:
        self._find = find
        self._source = source
        self._times = times

    def find(self, frame: av.VideoFrame, pts_seconds: float) -> list[Zone]:
        """What the function says, cut to the picture; what lies outside of it is not there."""
        sampled = SampledFrame(image=scale_frame(frame), pts_seconds=pts_seconds, source=self._source)
        height, width = sampled.image.shape[:2]
        started = perf_counter()
        try:
            cut = {name: _cut(box, height, width) for name, box in map(_name_and_box, self._find(sampled))}
        except Exception as error:
            msg = f"`regions` failed at {pts_seconds:.2f} s ({type(error).__name__}: {error}); mend the function"
            raise RegionError(msg) from error
        self._times.add("regions", 1e3 * (perf_counter() - started))
        there = {name: box for name, box in cut.items() if is_large_enough(box)}
        return [Zone(self._source, name, box, to_shares(box, height, width)) for name, box in there.items()]


def make_zones(
    regions: Sequence[Region] | FindRegions, *, indices: Sequence[int], times: StageTimes
) -> FixedZones | FoundZones:
    """The zones of one source.

    Args:
        regions: as in ``ReadOptions``.
        indices: positions in the records: one for each region that stays, else one.
        times: of the source.
    """
    if callable(regions):
        return FoundZones(regions, source=indices[0], times=times)
    return FixedZones([*zip(indices, regions or (None,), strict=True)])


def _place(source: int, region: Region | None, height: int, width: int) -> Zone:
    if region is None:
        return Zone(source, None, None)
    box = region.pixels(height, width)
    return Zone(source, region.name, box, to_shares(box, height, width))


def _name_and_box(found: Region | tuple[str | int, Iterable[float]]) -> tuple[str, tuple[float, ...]]:
    if isinstance(found, Region):
        return found.name, found.box
    name, box = found
    left, top, width, height = (float(value) for value in box)
    return str(name), (left, top, width, height)


def _cut(box: tuple[float, ...], height: int, width: int) -> PixelBox:
    """The part of a box that lies in the picture; its width or height is not positive where none does."""
    left, top, across, down = to_pixels((box[0], box[1], box[2], box[3]), height, width)
    right, bottom = min(left + across, width), min(top + down, height)
    left, top = max(left, 0), max(top, 0)
    return left, top, right - left, bottom - top

"""The samples of each zone of a source, and the windows that they complete.

All zones of a source are sampled on its one grid of instants and complete their windows at the same ones, so that one
run of the network takes all of them. A region that comes and goes has a ring from its first frame on, and takes part
once it has a clip (T = 4, hop = 2):

    samples of the source    1 2 3 4 5 6 7 8 9 …
    windows of a zone              ↑   ↑   ↑
    a region that comes            1 2 3 4 5 6        samples of the region
    its windows                            ↑          it has T samples after the third window of the zone: with the next

Where a region is missing from a frame, the next frame that has it serves its samples, as where a source has fewer
frames than the grid has instants. One that stays away for longer than a gap is gone, and its memory free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from s2tf_edge.data.frames import scale_frame
from s2tf_edge.preprocess import center_crop
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.clip_ring import ClipRing, Window
from s2tf_edge.runtime.streaming.zones import Zone, Zones
from s2tf_edge.spec import ClipSpec

__all__ = ["MAX_TRACKS", "RegionGone", "ZoneRings"]

MAX_TRACKS: Final = 16
"""Regions of one source that are followed at a time, where they come and go: each has a clip in memory."""

_Image = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class RegionGone:
    """A region that has stayed away for longer than a gap; nothing more comes of it under its name."""

    source: int
    region: str | None


@dataclass(kw_only=True)
class _Lane:
    """One zone: its samples so far, and when it was seen last."""

    zone: Zone
    ring: ClipRing
    seen_seconds: float = 0.0
    missed: int = 0
    """Samples since, which the next frame serves."""
    windows: int = 0


class ZoneRings:
    """Takes the frames of one source that samples fall on, and gives the windows of its zones.

    Args:
        spec: of the clips.
        zones: where they are in a frame.
        hop: samples from the start of one window to the start of the next.
        gone_seconds: after which a zone that is missing is gone.
        times: where the time of scaling goes.
    """

    def __init__(self, spec: ClipSpec, zones: Zones, *, hop: int, gone_seconds: float, times: StageTimes) -> None:
        self._spec = spec
        self._zones = zones
        self._hop = hop
        self._gone_seconds = gone_seconds
        self._times = times
        self._lanes: dict[tuple[int, str | None], _Lane] = {}
        self._samples = 0
        self._presented_at = 0.0
        self._own_offset_seconds = 0.0
        self.left_out = 0
        """Regions of frames that were not followed because there were ``MAX_TRACKS`` of them already."""

    @property
    def current(self) -> tuple[Zone, ...]:
        """Where the zones are, as of the last frame."""
        return tuple(lane.zone for lane in self._lanes.values() if not lane.missed)

    def take(
        self,
        frame: av.VideoFrame,
        count: int,
        *,
        seconds: Callable[[int], float],
        presented_at: float,
        own_offset_seconds: float = 0.0,
    ) -> Iterator[RegionGone | Window]:
        """Takes a frame that serves ``count`` samples, one or more, and yields what it completes.

        Args:
            frame: of any size.
            count: samples that it serves.
            seconds: the presentation time of the n-th of them, from 0.
            presented_at: ``perf_counter`` when the source presented it.
            own_offset_seconds: from presentation time to the source's own.

        Raises:
            RegionError: see ``Zones.find``.
            UsageError: the picture cannot be scaled.
        """
        pts_seconds = seconds(0)
        found = self._zones.find(frame, pts_seconds)
        yield from self._drop_gone(found, pts_seconds)
        images = self._scale(frame, self._follow(found))
        self._presented_at, self._own_offset_seconds = presented_at, own_offset_seconds
        # A ring full of one frame stays as it is: whole hops are left out from its middle, but for a window or two.
        left_out = max(0, count - self._spec.frames - self._hop + 1) // self._hop * self._hop
        count -= left_out
        for lane, image in images:
            for _ in range(min(lane.missed, self._spec.frames)):
                lane.ring.push(image, pts_seconds)
            lane.missed = 0
        for index in range(count):
            self._samples += 1
            shown_seconds = seconds(index if index < self._spec.frames - 1 else index + left_out)
            for lane, image in images:
                lane.ring.push(image, shown_seconds)
                lane.seen_seconds = shown_seconds
            yield from self._windows([lane for lane, _ in images])
        present = {id(lane) for lane, _ in images}
        for lane in self._lanes.values():
            lane.missed += 0 if id(lane) in present else count

    def clear(self) -> None:
        """Forgets all samples, as at a gap, and the zones that come and go with them."""
        self._samples = 0
        for lane in self._lanes.values():
            lane.ring.clear()
            lane.windows = 0
        if self._zones.come_and_go:
            self._lanes.clear()

    def finish(self) -> Iterator[Window]:
        """Ends all zones: one that has had no window gives one, padded with its last frame where it is too short."""
        for lane in self._lanes.values():
            yield from self._finish(lane)

    def _follow(self, found: Sequence[Zone]) -> list[tuple[_Lane, Zone]]:
        """The lane of each zone; a new one for one that is new, while there is room."""
        followed = []
        for zone in found:
            key = zone.source, zone.region
            if key not in self._lanes:
                if self._zones.come_and_go and len(self._lanes) >= MAX_TRACKS:
                    self.left_out += 1
                    continue
                self._lanes[key] = _Lane(zone=zone, ring=ClipRing(self._spec.frames, self._spec.size))
            followed.append((self._lanes[key], zone))
        return followed

    def _scale(self, frame: av.VideoFrame, followed: Sequence[tuple[_Lane, Zone]]) -> list[tuple[_Lane, _Image]]:
        started = perf_counter()
        images = []
        for lane, zone in followed:
            scaled = scale_frame(frame, self._spec.resize_short_side, box=zone.box)
            images.append((lane, center_crop(scaled[None], self._spec.size)[0]))
            lane.zone = zone
        if images:
            self._times.add("scale", 1e3 * (perf_counter() - started))
        return images

    def _windows(self, lanes: Sequence[_Lane]) -> Iterator[Window]:
        # The first window is complete with sample T, each further one after ``hop`` more: T = 4, hop = 2
        #     samples   1 2 3 4 5 6 7 8
        #     windows         ↑   ↑   ↑
        if (self._samples - self._spec.frames) % self._hop:
            return
        for lane in lanes:
            if len(lane.ring) >= self._spec.frames:
                yield self._make_window(lane)

    def _drop_gone(self, found: Sequence[Zone], pts_seconds: float) -> Iterator[RegionGone | Window]:
        there = {(zone.source, zone.region) for zone in found}
        is_gone = {
            key
            for key, lane in self._lanes.items()
            if key not in there and pts_seconds - lane.seen_seconds > self._gone_seconds
        }
        for source, region in sorted(is_gone, key=str):
            lane = self._lanes.pop((source, region))
            # One that was there for a clip has a window, whatever its place on the grid; a glimpse has none.
            yield from self._finish(lane) if len(lane.ring) >= self._spec.frames else ()
            yield RegionGone(source=source, region=region)

    def _finish(self, lane: _Lane) -> Iterator[Window]:
        if lane.windows or not len(lane.ring):
            return
        image, pts_seconds = lane.ring.newest()
        for _ in range(self._spec.frames - len(lane.ring)):
            lane.ring.push(image, pts_seconds)
        yield self._make_window(lane)

    def _make_window(self, lane: _Lane) -> Window:
        lane.windows += 1
        view, t_start, t_end = lane.ring.view()
        # The ring moves on while the network runs, so the window leaves it as a copy.
        return Window(
            source=lane.zone.source,
            region=lane.zone.region,
            box=lane.zone.shares,
            frames=view.copy(),
            t_start=t_start,
            t_end=t_end,
            presented_at=self._presented_at,
            own_offset_seconds=self._own_offset_seconds,
            stretch=lane.ring.stretch,
            samples=len(lane.ring),
        )

"""From the frames of one source to the clips that a network is run on.

A frame that a clip needs is scaled and cropped once and stored in a ring; a window of T samples is then one contiguous
view. Samples lie on one grid of instants from the first frame after a start or a gap, by the rule of
``s2tf_edge.clips``, so that a stream and a file read at once give the same clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final

import av

from s2tf_edge.clips import SampleClock, pause_seconds
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.clip_ring import Window
from s2tf_edge.runtime.streaming.records import Gap
from s2tf_edge.runtime.streaming.zone_rings import RegionGone, ZoneRings
from s2tf_edge.runtime.streaming.zones import FixedZones, Zone, Zones
from s2tf_edge.spec import ClipSpec

__all__ = ["Windower", "gap_seconds"]

_GAP_FRAMES: Final = 3
_MAX_FRAME_SECONDS: Final = 10.0


def gap_seconds(spec: ClipSpec, *, frame_seconds: float = 0.0) -> float:
    """Time without a frame from which on the signal of a live source counts as lost.

    Args:
        spec: no window survives a pause of three of its periods.
        frame_seconds: the usual time between two frames of the source, where it is known: the frames of a slow source
            are no gaps. It counts up to 10 s: a source may claim anything.
    """
    return max(pause_seconds(spec), _GAP_FRAMES * min(frame_seconds, _MAX_FRAME_SECONDS))


class Windower:
    """Cuts one source into windows that start ``hop`` samples apart.

    Where one frame serves so many samples that windows would repeat each other, most of those are left out. No window
    has frames from both sides of a gap. What lies between two gaps is treated as a source of its own: where it is too
    short for a window, it gives one that is padded with its last frame.
    """

    def __init__(
        self,
        spec: ClipSpec,
        *,
        hop: int,
        gap_seconds: float,
        times: StageTimes,
        source: int = 0,
        zones: Zones | None = None,
    ) -> None:
        """Begins with no frame.

        Args:
            spec: of the clips.
            hop: samples from the start of one window to the start of the next.
            gap_seconds: time without a frame from which on the signal counts as lost; infinite for a file, in which a
                picture that is held is a picture.
            times: where the time of scaling goes.
            source: position of the source in the records.
            zones: the parts of the picture that are recognized; all of it unless given.
        """
        self._spec = spec
        self._gap_seconds = gap_seconds
        self._source = source
        zones = FixedZones([(source, None)]) if zones is None else zones
        # However long a picture may be held: what is missing from one is not there.
        gone_seconds = gap_seconds if math.isfinite(gap_seconds) else pause_seconds(spec)
        self._rings = ZoneRings(spec, zones, hop=hop, gone_seconds=gone_seconds, times=times)
        self._clock: SampleClock | None = None
        self._last: av.VideoFrame | None = None
        self._last_seconds = 0.0
        self._own_offset_seconds = 0.0
        self._restarts = False
        self._presented_at = 0.0
        self.out_of_order = 0
        """Frames left out because they were presented before one that had already come."""

    @property
    def zones(self) -> tuple[Zone, ...]:
        """Where the zones are, as of the last frame that a clip is made of."""
        return self._rings.current

    @property
    def regions_left_out(self) -> int:
        """Regions of frames that were not followed because there were too many at a time."""
        return self._rings.left_out

    def add(
        self,
        frame: av.VideoFrame,
        *,
        pts_seconds: float,
        presented_at: float,
        own_seconds: float | None = None,
        restarts: bool = False,
        cause: str = "pause",
    ) -> Iterator[Gap | RegionGone | Window]:
        """Takes the next frame of the source and yields what it completes.

        Args:
            frame: of any size; it is scaled only if a sample falls on it.
            pts_seconds: its presentation time.
            presented_at: ``perf_counter`` when the source presented it.
            own_seconds: its time by the source's own clock; None where that is the same.
            restarts: whether the source's clock started anew with it.
            cause: of the gap before it, if there turns out to be one.
        """
        offset = 0.0 if own_seconds is None else own_seconds - pts_seconds
        if self._clock is not None:
            # times of frames   1.00 1.04 1.08   2.90    a gap, if live: ring and clock start anew, at 2.90
            #                   1.00 1.04 1.02           out of order: left out
            step = pts_seconds - self._last_seconds
            restarts = self._restarts = self._restarts or restarts
            if step <= 0:
                self.out_of_order += 1
                return
            if restarts or step > self._gap_seconds:
                yield from self._end_stretch(pts_seconds, offset, cause="clock" if restarts else cause)
        self._clock = self._clock or SampleClock(self._spec, start_seconds=pts_seconds)
        yield from self._hold(pts_seconds)
        self._last, self._own_offset_seconds = frame, offset
        self._last_seconds, self._presented_at = pts_seconds, presented_at
        yield from self._sample(frame, self._clock.take(pts_seconds), lambda _: pts_seconds)

    def finish(self, *, shown_until: float | None = None) -> Iterator[RegionGone | Window]:
        """Ends what came since the last gap: too short for a window, it gives one, padded with its last frame.

        Args:
            shown_until: until when that frame is seen, where it is known; as long as it says itself otherwise, as the
                last picture of a slide show is.
        """
        if shown_until is None and self._last is not None and self._last.time_base is not None:
            shown_until = self._last_seconds + float((self._last.duration or 0) * self._last.time_base)
        if shown_until is not None:
            yield from self._hold(shown_until)
        yield from self._rings.finish()

    def _hold(self, until_seconds: float) -> Iterator[RegionGone | Window]:
        """Shows the last frame at every instant up to the next one, if it is held: its samples are of those times."""
        if self._last is None or self._clock is None:
            return
        first, period = self._clock.next_seconds, self._spec.period_seconds
        yield from self._sample(self._last, self._clock.hold(until_seconds), lambda index: first + index * period)

    def _end_stretch(self, pts_seconds: float, offset: float, *, cause: str) -> Iterator[Gap | RegionGone | Window]:
        """Ends what came before a gap, up to whose other side it is ``pts_seconds``."""
        yield from self.finish()
        yield Gap.between(
            self._source,
            self._last_seconds,
            pts_seconds,
            cause=cause,
            offsets_seconds=(self._own_offset_seconds, offset),
        )
        self._rings.clear()
        self._clock, self._last, self._restarts = None, None, False

    def _sample(
        self, frame: av.VideoFrame, count: int, seconds: Callable[[int], float]
    ) -> Iterator[RegionGone | Window]:
        """Gives a frame to the rings, where samples fall on it, the n-th of them with the time ``seconds(n)``."""
        if count:
            yield from self._rings.take(
                frame,
                count,
                seconds=seconds,
                presented_at=self._presented_at,
                own_offset_seconds=self._own_offset_seconds,
            )

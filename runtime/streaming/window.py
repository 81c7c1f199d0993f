"""From the frames of one source to the clips that a network is run on.

A frame that a clip needs is scaled and cropped once and stored in a ring; a window of T samples is then one contiguous
view. Samples lie on one grid of instants from the first frame after a start or a gap, by the rule of
``s2tf_edge.clips``, so that a stream and a file read at once give the same clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import av

from s2tf_edge.clips import SampleClock
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.clip_ring import Window
from s2tf_edge.runtime.streaming.records import Gap
from s2tf_edge.runtime.streaming.zone_rings import RegionGone, ZoneRings
from s2tf_edge.runtime.streaming.zones import FixedZones, Zone, Zones
from s2tf_edge.spec import ClipSpec

__all__ = ["Windower", "gap_seconds"]

_MIN_GAP_SECONDS: Final = 1.0
_GAP_PERIODS: Final = 3
_MAX_FRAME_SECONDS: Final = 10.0


def gap_seconds(spec: ClipSpec, *, frame_seconds: float = 0.0) -> float:
    """Time without a frame from which on the signal counts as lost.

    Args:
        spec: no window survives a pause of three of its periods.
        frame_seconds: the usual time between two frames of the source, where it is known: the frames of a slow source
            are no gaps. It counts up to 10 s: a file may claim anything.
    """
    return max(
        _MIN_GAP_SECONDS, _GAP_PERIODS * spec.period_seconds, _GAP_PERIODS * min(frame_seconds, _MAX_FRAME_SECONDS)
    )


class Windower:
    """Cuts one source into windows that start ``hop`` samples apart.

    Where one frame serves so many samples that windows would repeat each other, most of those are left out.
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
            gap_seconds: time without a frame from which on the signal counts as lost.
            times: where the time of scaling goes.
            source: position of the source in the records.
            zones: the parts of the picture that are recognized; all of it unless given.
        """
        self._spec = spec
        self._gap_seconds = gap_seconds
        self._source = source
        zones = FixedZones([(source, None)]) if zones is None else zones
        self._rings = ZoneRings(spec, zones, hop=hop, gap_seconds=gap_seconds, times=times)
        self._clock: SampleClock | None = None
        self._last_seconds = 0.0
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
        self, frame: av.VideoFrame, *, pts_seconds: float, presented_at: float, cause: str = "pause"
    ) -> Iterator[Gap | RegionGone | Window]:
        """Takes the next frame of the source and yields what it completes.

        Args:
            frame: of any size; it is scaled only if a sample falls on it.
            pts_seconds: its presentation time.
            presented_at: ``perf_counter`` when the source presented it.
            cause: of the gap before it, if there turns out to be one.
        """
        if self._clock is not None:
            # times of frames   1.00 1.04 1.08   2.90    a gap: ring and clock start anew, at 2.90
            #                   1.00 1.04 1.02           out of order: left out
            #                   1.00 1.04 0.00           a gap too, as the source's clock was set back
            step = pts_seconds - self._last_seconds
            if abs(step) > self._gap_seconds:
                cause = cause if step > 0 else "clock"
                yield Gap(source=self._source, t_start=self._last_seconds, t_end=pts_seconds, cause=cause)
                self._rings.clear()
                self._clock = None
            elif step <= 0:
                self.out_of_order += 1
                return
        self._clock = self._clock or SampleClock(self._spec, start_seconds=pts_seconds)
        self._last_seconds = pts_seconds
        count = self._clock.take(pts_seconds)
        if count:
            yield from self._rings.take(frame, count, pts_seconds=pts_seconds, presented_at=presented_at)

    def finish(self) -> Iterator[Window]:
        """Ends the source: one that was too short for a window gives one, padded with its last frame."""
        yield from self._rings.finish()

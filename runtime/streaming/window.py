"""From the frames of one source to the clips that a network is run on.

A frame that a clip needs is scaled and cropped once and stored in a ring; a window of T samples is then one contiguous
view. Samples lie on one grid of instants from the first frame after a start or a gap, by the rule of
``s2tf_edge.clips``, so that a stream and a file read at once give the same clips.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from s2tf_edge.clips import SampleClock
from s2tf_edge.data.video import scale_frame
from s2tf_edge.errors import UsageError
from s2tf_edge.preprocess import center_crop
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.records import Gap
from s2tf_edge.spec import ClipSpec

__all__ = ["ClipRing", "Window", "Windower", "gap_seconds"]

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


@dataclass(frozen=True, kw_only=True)
class Window:
    """One clip of one source."""

    source: int
    frames: NDArray[np.uint8]
    """Uint8 [T, S, S, 3] in RGB, cropped."""
    t_start: float
    """Presentation time of the first frame, in seconds."""
    t_end: float
    """Presentation time of the last frame, in seconds."""
    presented_at: float
    """``perf_counter`` when the source presented the newest frame."""
    made_at: float = field(default_factory=perf_counter)
    """``perf_counter`` when the window was complete."""


class ClipRing:
    """The last T samples, always contiguous.

    Every sample is stored twice, T slots apart, so that the last T of them lie side by side wherever the ring stands
    (T = 4, after samples a to f):

        slot     0   1   2   3   4   5   6   7
        holds    e   f   c   d   e   f   c   d
                         └── window ───┘             starts at slot 6 mod 4 = 2: one view, nothing is moved
    """

    def __init__(self, frames: int, size: int) -> None:
        self._frames = frames
        self._images = np.zeros((2 * frames, size, size, 3), np.uint8)
        self._pts_seconds = np.zeros(2 * frames)
        self._count = 0

    def __len__(self) -> int:
        """Samples since the last ``clear``, all of them counted."""
        return self._count

    def push(self, image: NDArray[np.uint8], pts_seconds: float) -> None:
        """Stores one sample, uint8 [S, S, 3], in place of the oldest."""
        slot = self._count % self._frames
        for copy in (slot, slot + self._frames):
            self._images[copy] = image
            self._pts_seconds[copy] = pts_seconds
        self._count += 1

    def clear(self) -> None:
        """Forgets all samples."""
        self._count = 0

    def newest(self) -> tuple[NDArray[np.uint8], float]:
        """The last sample, uint8 [S, S, 3], and its time.

        Raises:
            UsageError: the ring is empty.
        """
        if not self._count:
            msg = "the ring is empty; push a sample first"
            raise UsageError(msg)
        slot = (self._count - 1) % self._frames
        return self._images[slot].copy(), float(self._pts_seconds[slot])

    def view(self) -> tuple[NDArray[np.uint8], float, float]:
        """The last T samples as a view, uint8 [T, S, S, 3], and the times of the first and the last.

        Raises:
            UsageError: fewer than T samples are there.
        """
        if self._count < self._frames:
            msg = f"the ring holds {self._count} of the {self._frames} samples of a window; push more first"
            raise UsageError(msg)
        first = self._count % self._frames
        last = first + self._frames - 1
        return self._images[first : last + 1], float(self._pts_seconds[first]), float(self._pts_seconds[last])


class Windower:
    """Cuts one source into windows that start ``hop`` samples apart.

    Where one frame serves so many samples that windows would repeat each other, most of those are left out.
    """

    def __init__(self, spec: ClipSpec, *, hop: int, gap_seconds: float, times: StageTimes, source: int = 0) -> None:
        self._spec = spec
        self._hop = hop
        self._gap_seconds = gap_seconds
        self._times = times
        self._source = source
        self._ring = ClipRing(spec.frames, spec.size)
        self._clock: SampleClock | None = None
        self._last_seconds = 0.0
        self._presented_at = 0.0
        self._windows = 0
        self.out_of_order = 0
        """Frames left out because they were presented before one that had already come."""

    def add(
        self, frame: av.VideoFrame, *, pts_seconds: float, presented_at: float, cause: str = "pause"
    ) -> Iterator[Gap | Window]:
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
                self._ring.clear()
                self._clock = None
            elif step <= 0:
                self.out_of_order += 1
                return
        self._clock = self._clock or SampleClock(self._spec, start_seconds=pts_seconds)
        self._last_seconds, self._presented_at = pts_seconds, presented_at
        yield from self._sample(frame, self._clock.take(pts_seconds))

    def finish(self) -> Iterator[Window]:
        """Ends the source: one that was too short for a window gives one, padded with its last frame."""
        missing = self._spec.frames - len(self._ring)
        if self._windows or not len(self._ring) or missing <= 0:
            return
        image, pts_seconds = self._ring.newest()
        for _ in range(missing):
            self._ring.push(image, pts_seconds)
        yield self._make_window()

    def _sample(self, frame: av.VideoFrame, count: int) -> Iterator[Window]:
        if not count:
            return
        started = perf_counter()
        scaled = scale_frame(frame, self._spec.resize_short_side)
        image = center_crop(scaled[None], self._spec.size)[0]
        self._times.add("scale", 1e3 * (perf_counter() - started))
        # A ring full of one frame stays as it is: whole hops are left out, but for its first window or two.
        count -= max(0, count - self._spec.frames - self._hop + 1) // self._hop * self._hop
        for _ in range(count):
            self._ring.push(image, self._last_seconds)
            # The first window is complete with sample T, each further one after ``hop`` more: T = 4, hop = 2
            #     samples   1 2 3 4 5 6 7 8
            #     windows         ↑   ↑   ↑
            beyond = len(self._ring) - self._spec.frames
            if beyond >= 0 and beyond % self._hop == 0:
                yield self._make_window()

    def _make_window(self) -> Window:
        self._windows += 1
        view, t_start, t_end = self._ring.view()
        # The ring moves on while the network runs, so the window leaves it as a copy.
        return Window(
            source=self._source, frames=view.copy(), t_start=t_start, t_end=t_end, presented_at=self._presented_at
        )

"""From the frames of one source to the clips that a network is run on.

A frame that a clip needs is scaled and cropped once and stored in a ring; a window of T samples is then one contiguous
view. Samples lie on one grid of instants from the first frame after a start or a gap, by the rule of
``s2tf_edge.clips``, so that a stream and a file read at once give the same clips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from s2tf_edge.clips import SampleClock, pause_seconds
from s2tf_edge.data.video import scale_frame
from s2tf_edge.errors import UsageError
from s2tf_edge.preprocess import center_crop
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.records import Gap
from s2tf_edge.spec import ClipSpec

__all__ = ["ClipRing", "Window", "Windower", "gap_seconds"]

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
    own_offset_seconds: float = 0.0
    """From presentation time to the source's own."""
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

    Where one frame serves so many samples that windows would repeat each other, most of those are left out. No window
    has frames from both sides of a gap. What lies between two gaps is treated as a source of its own: where it is too
    short for a window, it gives one that is padded with its last frame.

    Args:
        spec: of the clips.
        hop: samples from the start of one window to the start of the next.
        gap_seconds: time without a frame from which on the signal counts as lost; infinite for a file, in which a
            picture that is held is a picture.
        times: where the time of scaling goes.
        source: the source's number.
    """

    def __init__(self, spec: ClipSpec, *, hop: int, gap_seconds: float, times: StageTimes, source: int = 0) -> None:
        self._spec = spec
        self._hop = hop
        self._gap_seconds = gap_seconds
        self._times = times
        self._source = source
        self._ring = ClipRing(spec.frames, spec.size)
        self._clock: SampleClock | None = None
        self._last: av.VideoFrame | None = None
        self._last_seconds = 0.0
        self._own_offset_seconds = 0.0
        self._presented_at = 0.0
        self._windows = 0
        self.out_of_order = 0
        """Frames left out because they were presented before one that had already come."""

    def add(
        self,
        frame: av.VideoFrame,
        *,
        pts_seconds: float,
        presented_at: float,
        own_seconds: float | None = None,
        restarts: bool = False,
        cause: str = "pause",
    ) -> Iterator[Gap | Window]:
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
            if restarts or step > self._gap_seconds:
                yield from self._end_stretch(pts_seconds, offset, cause="clock" if restarts else cause)
            elif step <= 0:
                self.out_of_order += 1
                return
        self._clock = self._clock or SampleClock(self._spec, start_seconds=pts_seconds)
        yield from self._hold(pts_seconds)
        self._last, self._own_offset_seconds = frame, offset
        self._last_seconds, self._presented_at = pts_seconds, presented_at
        yield from self._sample(frame, self._clock.take(pts_seconds), lambda _: pts_seconds)

    def finish(self) -> Iterator[Window]:
        """Ends what came since the last gap: too short for a window, it gives one, padded with its last frame.

        That frame is held for as long as it says, as the last picture of a slide show is.
        """
        if self._last is not None and self._last.time_base is not None:
            yield from self._hold(self._last_seconds + float((self._last.duration or 0) * self._last.time_base))
        missing = self._spec.frames - len(self._ring)
        if self._windows or not len(self._ring) or missing <= 0:
            return
        image, pts_seconds = self._ring.newest()
        for _ in range(missing):
            self._ring.push(image, pts_seconds)
        yield self._make_window()

    def _hold(self, until_seconds: float) -> Iterator[Window]:
        """Shows the last frame at every instant up to the next one, if it is held: its samples are of those times."""
        if self._last is None or self._clock is None:
            return
        first, period = self._clock.next_seconds, self._spec.period_seconds
        yield from self._sample(self._last, self._clock.hold(until_seconds), lambda index: first + index * period)

    def _end_stretch(self, pts_seconds: float, offset: float, *, cause: str) -> Iterator[Gap | Window]:
        """Ends what came before a gap, up to whose other side it is ``pts_seconds``."""
        yield from self.finish()
        yield Gap.between(
            self._source,
            self._last_seconds,
            pts_seconds,
            cause=cause,
            offsets_seconds=(self._own_offset_seconds, offset),
        )
        self._ring.clear()
        self._clock, self._last, self._windows = None, None, 0

    def _sample(self, frame: av.VideoFrame, count: int, seconds: Callable[[int], float]) -> Iterator[Window]:
        """Pushes a frame as often as samples fall on it, the n-th of them with the time ``seconds(n)``, from 0."""
        if not count:
            return
        started = perf_counter()
        scaled = scale_frame(frame, self._spec.resize_short_side)
        image = center_crop(scaled[None], self._spec.size)[0]
        self._times.add("scale", 1e3 * (perf_counter() - started))
        # A ring full of one frame stays as it is: whole hops are left out from its middle, but for a window or two.
        left_out = max(0, count - self._spec.frames - self._hop + 1) // self._hop * self._hop
        for index in range(count - left_out):
            self._ring.push(image, seconds(index if index < self._spec.frames - 1 else index + left_out))
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
            source=self._source,
            frames=view.copy(),
            t_start=t_start,
            t_end=t_end,
            presented_at=self._presented_at,
            own_offset_seconds=self._own_offset_seconds,
        )

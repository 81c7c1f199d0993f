"""What a window is, and the ring of samples that windows are cut from."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.streaming.regions import Box

__all__ = ["ClipRing", "Window"]


_STRETCHES: Final = itertools.count()


@dataclass(frozen=True, kw_only=True)
class Window:
    """One clip of one source."""

    source: int
    region: str | None = None
    """Name or id of the region that it shows; None for the whole picture."""
    box: Box | None = None
    """Where the region was in the newest frame, in shares of the picture as it is shown."""
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
    stretch: int = 0
    """What it is part of: no other stretch between two gaps, of any source, has that number."""
    samples: int = 0
    """Samples of that stretch up to its last frame."""
    made_at: float = field(default_factory=perf_counter)
    """``perf_counter`` when the window was complete."""

    @property
    def key(self) -> tuple[int, str | None]:
        """Source and region: what newer windows take the place of."""
        return self.source, self.region


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
        self.stretch = next(_STRETCHES)
        """Number of all that was pushed since the last ``clear``."""

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
        self.stretch = next(_STRETCHES)

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

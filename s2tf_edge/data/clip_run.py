"""Several clips of one video, read in one go: each frame is decoded once, however many of them show it.

video    K . . . . . . K . . . . . . . K . . . . . . . . . . . . . . . . . . . K . . .
clips      |-------|                                                     |-------|
|-------|        ← one run                                 a run of its own: what lies between
|-------|                                            would take longer than a seek
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from s2tf_edge.clips import clip_start_seconds
from s2tf_edge.data.seeking import TOLERANCE_SECONDS, is_held
from s2tf_edge.data.selective import FrameChooser
from s2tf_edge.data.video import frames_around, probe, read_clip, scaled
from s2tf_edge.spec import ClipSpec

__all__ = ["read_clips"]

_SEEK_FROM_SECONDS: Final = 5.0
"""Time between two clips from which on the second is sought: about what lies between two key frames."""


def read_clips(path: str | Path, spec: ClipSpec, *, places: Sequence[float]) -> Iterator[NDArray[np.uint8]]:
    """The clips that ``read_clip`` gives one by one.

    Args:
        path: a video file.
        spec: which frames to take, and the short side to scale them to.
        places: where in the video (``at``), ascending.

    Yields:
        Uint8 [T, h, w, 3], not yet cropped, in the order of ``places``; no more of them in memory than overlap.

    Raises:
        InputFileError: the file cannot be read, holds no frame, or its picture changes size or cannot be scaled.
        UsageError: a place lies outside [0, 1].
    """
    info = probe(path)
    if info.parts > 1:
        # Where the clock starts anew, a moment is found by going through all packets before it.
        yield from (read_clip(path, spec, at=at) for at in places)
        return
    times = {"first_seconds": info.first_seconds, "last_seconds": info.last_seconds}
    clips = [_FillingClip(path, spec, at=at, start_seconds=clip_start_seconds(spec, at=at, **times)) for at in places]
    for run in _runs(clips, spec):
        if len(run) == 1:
            yield run[0].read_alone()
        else:
            yield from _read_run(path, spec, run)


def _runs(clips: Sequence[_FillingClip], spec: ClipSpec) -> Iterator[list[_FillingClip]]:
    run: list[_FillingClip] = []
    for clip in clips:
        if run and clip.start_seconds - run[-1].start_seconds - spec.span_seconds > _SEEK_FROM_SECONDS:
            yield run
            run = []
        run.append(clip)
    if run:
        yield run


def _read_run(path: str | Path, spec: ClipSpec, run: Sequence[_FillingClip]) -> Iterator[NDArray[np.uint8]]:
    waiting = list(run)
    for seconds, frame in frames_around(path, run[0].start_seconds):
        picture = _ShownFrame(path, frame, spec.resize_short_side)
        for clip in waiting:
            clip.show(seconds, picture)
        while waiting and waiting[0].is_full:
            yield waiting.pop(0).frames()
        if not waiting:
            return
    yield from (clip.frames() for clip in waiting)


class _ShownFrame:
    """A decoded frame, scaled once and only if a clip samples it."""

    def __init__(self, path: str | Path, frame: av.VideoFrame, short_side: int) -> None:
        self._path = path
        self._frame = frame
        self._short_side = short_side

    @functools.cached_property
    def image(self) -> NDArray[np.uint8]:
        return scaled(self._path, self._frame, short_side=self._short_side)


class _FillingClip:
    """A clip that fills while frames come by, by the rule of ``from_moment`` and ``FrameChooser``."""

    def __init__(self, path: str | Path, spec: ClipSpec, *, at: float, start_seconds: float) -> None:
        self._path = path
        self._spec = spec
        self._at = at
        self.start_seconds = start_seconds
        self._before: tuple[float, _ShownFrame] | None = None
        self._chooser: FrameChooser[_ShownFrame] = FrameChooser(spec)
        self._is_there = False
        self._images: list[NDArray[np.uint8]] = []

    @property
    def is_full(self) -> bool:
        return self._chooser.is_full

    def show(self, seconds: float, picture: _ShownFrame) -> None:
        """Offers the next frame in order of presentation."""
        if self.is_full:
            return
        if not self._is_there and seconds < self.start_seconds - TOLERANCE_SECONDS:
            self._before = (seconds, picture)
            return
        if not self._is_there and self._before is not None and is_held(self._before[0], self.start_seconds, seconds):
            self._sample(self.start_seconds, self._before[1])
        self._is_there = True
        self._sample(seconds, picture)

    def frames(self) -> NDArray[np.uint8]:
        """All of it; the last frame is repeated where the video was too short.

        Raises:
            InputFileError: no frame was there, or they differ in size.
        """
        if len({image.shape for image in self._images}) != 1:
            # The end does not decode, or the size changes: it is placed within what there is, or refused, there.
            return self.read_alone()
        missing = self._spec.frames - len(self._images)
        return np.stack(self._images + self._images[-1:] * missing)

    def read_alone(self) -> NDArray[np.uint8]:
        """The same as if there were no other clip: what it does not show need not be decoded then.

        Raises:
            InputFileError: the file cannot be read, holds no frame, or its picture changes size or cannot be scaled.
        """
        return read_clip(self._path, self._spec, at=self._at)

    def _sample(self, seconds: float, picture: _ShownFrame) -> None:
        for each, count in self._chooser.show(seconds, picture):
            self._images += [each.image] * count

"""Videos whose scaled frames are kept: read once, and from then on as fast as memory is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.data.files import LabeledFile
from s2tf_edge.data.frame_store import FrameStore, StoredFrames
from s2tf_edge.data.frames import scale_frame
from s2tf_edge.data.labeled import LabeledVideo, LabeledVideos
from s2tf_edge.data.seeking import from_moment
from s2tf_edge.data.selective import choose_frames
from s2tf_edge.data.video import place_clip, probe, read_frames
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.preprocess import scaled_size
from s2tf_edge.spec import ClipSpec

__all__ = ["CachedClip", "CachedVideo", "cached", "estimate_bytes"]

_MAX_PROBES: Final = 24
"""For an estimate; each reads a file."""


@dataclass(frozen=True, kw_only=True)
class CachedVideo(LabeledFile):
    """One video of which all frames are kept, for clips at any time and of any speed."""

    store: FrameStore

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> NDArray[np.uint8]:
        """As ``LabeledFile.read``, to the bit."""
        key = self.store.key(self.path, "video", spec.resize_short_side)
        if key is None:
            return super().read(spec, at=at)
        frames = self.store.load(key)
        size = _bytes_of(self, spec) if frames is None else None
        if size is not None and self.store.has_room(size):
            self._keep(key, spec.resize_short_side)
            frames = self.store.load(key)
        return super().read(spec, at=at) if frames is None else _cut_clip(frames, spec, at)

    def _keep(self, key: str, short_side: int) -> None:
        """Keeps all frames, unless they are not of one size, or none decodes."""
        info = probe(self.path)
        times: list[float] = [info.first_seconds, info.last_seconds]
        images: list[NDArray[np.uint8]] = []
        try:
            for seconds, frame in read_frames(self.path):
                times.append(seconds)
                images.append(scale_frame(frame, short_side))
        except UsageError:
            # Read without the cache, the clips that show such a frame say so.
            return
        if len({image.shape for image in images}) == 1:
            self.store.save(key, times=np.array(times), images=images)


@dataclass(frozen=True, kw_only=True)
class CachedClip(LabeledFile):
    """One video of which only the clips that were read are kept, as it is read at the same place each time."""

    store: FrameStore

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> NDArray[np.uint8]:
        """As ``LabeledFile.read``, to the bit."""
        key = self.store.key(self.path, "clip", spec.frames, spec.stride, spec.fps, spec.resize_short_side, at)
        frames = None if key is None else self.store.load(key)
        if frames is not None:
            return np.array(frames.images)
        clip = super().read(spec, at=at)
        if key is not None:
            self.store.save(key, times=np.zeros(2 + len(clip)), images=list(clip))
        return clip


def cached(videos: LabeledVideos, store: FrameStore, kind: type[CachedVideo] | type[CachedClip]) -> LabeledVideos:
    """A data set whose files are read through a store; what is no file is made as before."""
    wrapped: list[LabeledVideo] = [
        kind(path=video.path, label=video.label, store=store) if isinstance(video, LabeledFile) else video
        for video in videos.videos
    ]
    return dataclasses.replace(videos, videos=wrapped)


def estimate_bytes(videos: LabeledVideos, spec: ClipSpec) -> int:
    """About how much the frames of a data set take, by some of its files."""
    files = [video for video in videos.videos if isinstance(video, LabeledFile)]
    sizes = [size for video in files[:: len(files) // _MAX_PROBES + 1] if (size := _bytes_of(video, spec)) is not None]
    return int(np.mean(sizes) * len(files)) if sizes else 0


def _bytes_of(video: LabeledFile, spec: ClipSpec) -> int | None:
    """Of all frames, scaled; None where it cannot be read."""
    try:
        info = probe(video.path)
        height, width = scaled_size(info.height, info.width, short_side=spec.resize_short_side)
    except (InputFileError, UsageError):
        return None
    return info.frames * height * width * 3


def _cut_clip(frames: StoredFrames, spec: ClipSpec, at: float) -> NDArray[np.uint8]:
    first, last, *times = frames.times.tolist()

    def seen_from(start_seconds: float) -> Iterator[tuple[float, int]]:
        for seconds, (_, index) in from_moment(zip(times, range(len(times)), strict=True), start_seconds):
            yield seconds, index

    def sample(start_seconds: float) -> list[int]:
        return [index for index, count in choose_frames(seen_from(start_seconds), spec) for _ in range(count)]

    shown = place_clip(spec, at=at, first_seconds=first, last_seconds=last, sample=sample, find_last=lambda: max(times))
    return frames.images[shown + shown[-1:] * (spec.frames - len(shown))]

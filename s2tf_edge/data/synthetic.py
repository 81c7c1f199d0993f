"""A data set that makes itself, and videos of its actions with the truth about what they show when."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from s2tf_edge.clips import clip_room, clip_start_seconds
from s2tf_edge.data.container import add_video_stream
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.scenes import LABELS, Scene
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.spec import ClipSpec

__all__ = ["SPLITS", "Segment", "SyntheticVideo", "synthetic_videos", "write_video"]

SPLITS: Final = ("train", "test")
"""Names of the two parts of a data set."""
_SEEDS_OF_A_SPLIT: Final = 2**32
"""Each split of each data set draws from a range of scene seeds of its own."""
_DURATION_SECONDS: Final = 4.0
"""Length of the video that a ``SyntheticVideo`` stands for; ``at`` places a clip within it."""
_CHUNK_FRAMES: Final = 16


@dataclass(frozen=True, kw_only=True)
class SyntheticVideo:
    """A scene as one video of a data set."""

    name: str
    label: int
    seed: int

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> NDArray[np.uint8]:
        """Draws one clip, at the very instants that ``spec`` samples.

        Args:
            spec: which instants, and the side of the picture.
            at: where in the video, from 0 to 1.

        Returns:
            Uint8 [T, S, S, 3] with S = ``spec.resize_short_side``.

        Raises:
            UsageError: ``at`` lies outside [0, 1].
        """
        start = clip_start_seconds(spec, first_seconds=0.0, last_seconds=_DURATION_SECONDS, at=at)
        times = start + spec.period_seconds * np.arange(spec.frames, dtype=np.float64)
        return Scene(label=self.label, seed=self.seed).render(times, spec.resize_short_side)

    def room(self, spec: ClipSpec) -> float:
        """How far a clip can move within the video, in lengths of a clip."""
        return clip_room(spec, first_seconds=0.0, last_seconds=_DURATION_SECONDS)


def synthetic_videos(*, clips: int = 400, split: str = "train", seed: int = 0) -> LabeledVideos:
    """A data set of scenes, as many of each class, no scene of one split in the other.

    Args:
        clips: number of videos.
        split: ``train`` or ``test``.
        seed: zero or more; each gives other scenes.

    Raises:
        UsageError: a value is not allowed.
    """
    if split not in SPLITS or not 0 < clips <= _SEEDS_OF_A_SPLIT or seed < 0:
        msg = (
            f"synthetic data take a split of {' or '.join(SPLITS)}, one clip or more and a seed from 0, "
            f"got split={split}, clips={clips}, seed={seed}"
        )
        raise UsageError(msg)
    first = (seed * len(SPLITS) + SPLITS.index(split)) * _SEEDS_OF_A_SPLIT
    videos = [
        SyntheticVideo(name=f"synthetic/{seed}/{split}/{index}", label=index % len(LABELS), seed=first + index)
        for index in range(clips)
    ]
    return LabeledVideos(name="synthetic", labels=LABELS, videos=videos, flips=False)


@dataclass(frozen=True, kw_only=True)
class Segment:
    """What a part of a video shows."""

    label: str
    start_seconds: float
    end_seconds: float


def write_video(
    path: str | Path,
    *,
    clips: Sequence[tuple[str, float]],
    fps: int = 25,
    size: tuple[int, int] = (240, 320),
    seed: int = 0,
) -> list[Segment]:
    """Writes a video of actions one after the other, each in a scene of its own.

    Args:
        path: where to; the ending names the container, such as ``.mp4``.
        clips: label and length in seconds of each action.
        fps: frames a second.
        size: height and width in pixels, both even.
        seed: of the scenes; the same one gives the same pictures.

    Returns:
        The actions with their times.

    Raises:
        InputFileError: the file cannot be written.
        UsageError: a label is unknown, an action is shorter than a frame, or a size is odd or tiny.
    """
    _check(clips, fps=fps, size=size)
    counts = [round(seconds * fps) for _, seconds in clips]
    ends = np.cumsum(counts) / fps
    try:
        with av.open(str(path), mode="w") as container:
            stream = add_video_stream(container, fps=fps, size=size)
            for index, ((label, _), count) in enumerate(zip(clips, counts, strict=True)):
                scene = Scene(label=LABELS.index(label), seed=seed * _SEEDS_OF_A_SPLIT + index)
                for image in _pictures(scene, count=count, fps=fps, size=size):
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
    except (av.FFmpegError, ValueError) as error:
        msg = f"cannot write a video to {path} ({error}); give a path such as demo.mp4 in a folder that exists"
        raise InputFileError(msg) from error
    return [
        Segment(label=label, start_seconds=float(end) - count / fps, end_seconds=float(end))
        for (label, _), count, end in zip(clips, counts, ends, strict=True)
    ]


def _check(clips: Sequence[tuple[str, float]], *, fps: int, size: tuple[int, int]) -> None:
    for label, seconds in clips:
        if label not in LABELS or round(seconds * fps) < 1:
            msg = f"an action takes a label of {', '.join(LABELS)} and a frame or more, got {label!r}, {seconds} s"
            raise UsageError(msg)
    if not clips or min(size) < 16 or size[0] % 2 or size[1] % 2:
        msg = f"a video takes an action or more and an even size from 16, got {len(clips)} of {size[1]}×{size[0]}"
        raise UsageError(msg)


def _pictures(scene: Scene, *, count: int, fps: int, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """Some at a time, so that a long action takes no more memory than a short one."""
    for first in range(0, count, _CHUNK_FRAMES):
        yield from scene.render(np.arange(first, min(first + _CHUNK_FRAMES, count)) / fps, size)

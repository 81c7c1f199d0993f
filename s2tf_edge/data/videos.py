"""Videos: what every data set is to calibration and evaluation, whether its videos have labels or not."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from s2tf_edge.errors import UsageError
from s2tf_edge.spec import ClipSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ManyClipsVideo", "Video", "Videos", "read_clips"]

AnyVideos = TypeVar("AnyVideos", bound="Videos")


class Video(Protocol):
    """One video."""

    @property
    def name(self) -> str:
        """A path, or what a made video was made from; a list may hold one twice."""

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> NDArray[np.uint8]:
        """The frames of one clip.

        Args:
            spec: which frames to take, and the short side to scale them to.
            at: where in the video, from 0 (the clip begins with the video) to 1 (it ends with it).

        Returns:
            Uint8 [T, H, W, 3] in RGB, scaled so that the short side is ``spec.resize_short_side``, not yet cropped.

        Raises:
            InputFileError: the video cannot be read or holds no frame.
        """

    def room(self, spec: ClipSpec) -> float:
        """How far a clip can move from ``at=0`` to ``at=1``, in lengths of a clip; 0 where the video is no longer.

        Raises:
            InputFileError: the video cannot be read or holds no frame.
        """


@runtime_checkable
class ManyClipsVideo(Protocol):
    """A video that gives several clips for less work than one after the other."""

    def read_clips(self, spec: ClipSpec, *, places: Sequence[float]) -> Iterator[NDArray[np.uint8]]:
        """What ``read`` gives at each of the ascending ``places``.

        Raises:
            InputFileError: the video cannot be read or holds no frame.
        """


def read_clips(video: Video, spec: ClipSpec, *, places: Sequence[float]) -> Iterator[NDArray[np.uint8]]:
    """Clips of a video at ascending ``places``, as ``Video.read`` gives them one by one.

    Raises:
        InputFileError: the video cannot be read or holds no frame.
    """
    if len(places) > 1 and isinstance(video, ManyClipsVideo):
        return video.read_clips(spec, places=places)
    return (video.read(spec, at=at) for at in places)


@dataclass(frozen=True, kw_only=True)
class Videos:
    """A data set: videos by a name."""

    name: str
    """What the user called it, such as ``synthetic`` or a folder."""
    videos: Sequence[Video]

    def __len__(self) -> int:
        return len(self.videos)

    def class_of(self, index: int) -> int | None:
        """The label of a video; None where the data set has none."""
        del index
        return None

    def subset(self: AnyVideos, indices: Sequence[int]) -> AnyVideos:
        """The videos at ``indices``, in that order, with all the labels."""
        return dataclasses.replace(self, videos=[self.videos[index] for index in indices])

    def limit(self: AnyVideos, count: int | None) -> AnyVideos:
        """At most ``count`` videos, as many of each class as there are, the same ones each time; all of them for None.

        Raises:
            UsageError: ``count`` is not positive.
        """
        if count is not None and count < 1:
            msg = f"limit must be one or more, got {count}"
            raise UsageError(msg)
        if count is None or count >= len(self):
            return self
        return self.subset(sorted(self.in_turns()[:count]))

    def in_turns(self, *, seed: int = 0) -> list[int]:
        """All indices in a shuffled order in which the classes take turns, so that any beginning of it is balanced."""
        # Here, as s2tf-export --help, which needs to know what videos are, would wait for it.
        import numpy as np

        order: list[int] = np.random.default_rng(seed).permutation(len(self)).tolist()
        drawn: Counter[int | None] = Counter()
        turns = {}
        for index in order:
            label = self.class_of(index)
            turns[index] = drawn[label]
            drawn[label] += 1
        return sorted(order, key=turns.__getitem__)

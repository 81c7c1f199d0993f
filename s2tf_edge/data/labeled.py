"""Labeled videos: what every data set is to training, and to whatever measures accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from s2tf_edge.data.videos import Video, Videos

__all__ = ["LabeledVideo", "LabeledVideos"]


class LabeledVideo(Video, Protocol):
    """One video of a known class."""

    @property
    def label(self) -> int:
        """Index into the data set's labels."""


@dataclass(frozen=True, kw_only=True)
class LabeledVideos(Videos):
    """A data set with class names, to which its videos refer."""

    labels: tuple[str, ...]
    videos: Sequence[LabeledVideo]
    flips: bool = True
    """Whether a mirrored video keeps its class; false where classes are directions."""

    def class_of(self, index: int) -> int:
        """The label of a video."""
        return self.videos[index].label

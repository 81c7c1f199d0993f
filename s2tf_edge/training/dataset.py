"""Labeled videos as a PyTorch data set, with an augmentation that depends on seed and epoch alone."""

from __future__ import annotations

import dataclasses
import itertools
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from s2tf_edge.data.labeled import LabeledVideo, LabeledVideos
from s2tf_edge.errors import InputFileError
from s2tf_edge.preprocess import preprocess
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.augmentation import Augmentation
from s2tf_edge.training.distillation.teaching import Teaching
from s2tf_edge.training.pasts import fill_up, reach_back
from s2tf_edge.training.unreadable import Unreadable

__all__ = ["ClipDataset"]


Item = tuple[Tensor, int | Tensor] | tuple[Tensor, int | Tensor, int]


class ClipDataset(Dataset[Item | None]):
    """Clips of videos, with their labels.

    Without an augmentation, index ``i`` is the center crop of the center clip of video ``i``, or None where that cannot
    be read. With one, index ``epoch * len + i`` is a clip of video ``i % len(videos)`` in that epoch: at a random time,
    in a random crop; ``repeats`` clips of each video make an epoch. With a teaching, it comes with its row of targets;
    with a ``prefix``, it has so many frames more, and comes with the number of the first that counts.

    Attributes:
        unreadable: the videos that could not be read, of all workers.
    """

    def __init__(
        self,
        videos: LabeledVideos,
        spec: ClipSpec,
        *,
        seed: int = 0,
        repeats: int = 1,
        augmentation: Augmentation | None = None,
        teaching: Teaching | None = None,
        prefix: int = 0,
    ) -> None:
        self._videos = videos
        self._spec = spec
        self._seed = seed
        self._repeats = repeats
        self._augmentation = augmentation
        self._teaching = teaching
        self._prefix = prefix
        side = "validation" if augmentation is None else "training"
        self.unreadable = Unreadable(videos, consequence=f"left out of {side}")

    def __len__(self) -> int:
        return len(self._videos) * self._repeats

    def __getitem__(self, index: int) -> Item | None:
        """The clip at ``index``; in training, where its video cannot be read, the next one that can stands in for it.

        Raises:
            InputFileError: too many videos cannot be read.
        """
        epoch, position = divmod(index, len(self))
        for number in itertools.count(position):
            place = number % len(self._videos)
            video = self._videos.videos[place]
            try:
                return self._clip(video, epoch, position)
            except InputFileError as error:
                # Ends at the latest when none is left.
                self.unreadable.add(place, error)
            if self._augmentation is None:
                break
        return None

    def _clip(self, video: LabeledVideo, epoch: int, position: int) -> Item:
        if self._augmentation is None:
            return torch.from_numpy(preprocess(video.read(self._spec), self._spec)), video.label
        rng = np.random.default_rng((self._seed, epoch, position))
        at, target = float(rng.random()), cast("int | Tensor", video.label)
        reading = self._augmentation.draw_speed(self._augmentation.reading_spec(self._spec), rng)
        if self._teaching is not None:
            at, target = self._teaching.target(video, reading, at)
        if not self._prefix:
            return self._augment(video.read(reading, at=at), rng), target
        reading, at = reach_back(video, reading, at=at, most=self._prefix)
        clip = self._augment(video.read(reading, at=at), rng)
        clip, start = fill_up(clip, self._spec.frames + self._prefix)
        return clip, target, start

    def _augment(self, frames: NDArray[np.uint8], rng: np.random.Generator) -> Tensor:
        assert self._augmentation is not None
        spec = dataclasses.replace(self._spec, frames=len(frames))
        return torch.from_numpy(self._augmentation(frames, spec, rng))

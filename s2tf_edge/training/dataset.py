"""Labeled videos as a PyTorch data set, in an order and with an augmentation that depend on seed and epoch alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from s2tf_edge.data.labeled import LabeledVideo, LabeledVideos
from s2tf_edge.errors import InputFileError
from s2tf_edge.preprocess import preprocess
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.augmentation import Augmentation
from s2tf_edge.training.distillation.teaching import Teaching
from s2tf_edge.training.unreadable import Unreadable

__all__ = ["ClipDataset", "EpochSampler"]


class ClipDataset(Dataset[tuple[Tensor, int | Tensor] | None]):
    """Clips of videos, with their labels.

    Without an augmentation, index ``i`` is the center crop of the center clip of video ``i``, or None where that cannot
    be read. With one, index ``epoch * len + i`` is a clip of video ``i % len(videos)`` in that epoch: at a random time,
    in a random crop; ``repeats`` clips of each video make an epoch. With a teaching, it comes with its row of targets.

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
    ) -> None:
        self._videos = videos
        self._spec = spec
        self._seed = seed
        self._repeats = repeats
        self._augmentation = augmentation
        self._teaching = teaching
        side = "validation" if augmentation is None else "training"
        self.unreadable = Unreadable(videos, consequence=f"left out of {side}")

    def __len__(self) -> int:
        return len(self._videos) * self._repeats

    def __getitem__(self, index: int) -> tuple[Tensor, int | Tensor] | None:
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

    def _clip(self, video: LabeledVideo, epoch: int, position: int) -> tuple[Tensor, int | Tensor]:
        if self._augmentation is None:
            return torch.from_numpy(preprocess(video.read(self._spec), self._spec)), video.label
        rng = np.random.default_rng((self._seed, epoch, position))
        at, target = float(rng.random()), cast("int | Tensor", video.label)
        reading = self._augmentation.draw_speed(self._augmentation.reading_spec(self._spec), rng)
        if self._teaching is not None:
            at, target = self._teaching.target(video, reading, at)
        frames = video.read(reading, at=at)
        return torch.from_numpy(self._augmentation(frames, self._spec, rng)), target


class EpochSampler(Sampler[int]):
    """Shuffles by seed and epoch, so that a resumed run sees the clips that an uninterrupted one would have seen.

    Each of ``world_size`` processes gets the same number of clips, every ``world_size``-th from ``rank`` on. ``epoch``
    is the first one's: a trainer that resumes begins to iterate before it says which epoch it is in.
    """

    def __init__(self, length: int, *, seed: int, rank: int = 0, world_size: int = 1, epoch: int = 0) -> None:
        self._length = length
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._epoch = epoch

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._length // self._world_size

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(self._length)
        mine = order[self._rank :: self._world_size][: len(self)]
        yield from (self._epoch * self._length + mine).tolist()

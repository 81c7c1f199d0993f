"""Labeled videos as a PyTorch data set, with an augmentation that depends on seed and epoch alone."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from s2tf_edge.data.labeled import LabeledVideo, LabeledVideos
from s2tf_edge.errors import InputFileError
from s2tf_edge.preprocess import normalize, preprocess, scale_frames
from s2tf_edge.spec import ClipSpec

__all__ = ["Augmentation", "ClipDataset"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is varied in training clips."""

    min_scale: float
    """Smallest crop, as a share of the short side."""
    brightness: float
    """Largest change of brightness and contrast, as a share."""
    flips: bool
    """Whether clips may be mirrored."""

    def __call__(self, frames: NDArray[np.uint8], spec: ClipSpec, rng: np.random.Generator) -> NDArray[np.float32]:
        """A random view of a clip: uint8 [T, H, W, 3] → float32 [3, T, S, S], the same crop in every frame."""
        cropped = scale_frames(self._crop(frames, rng), spec.size)
        if self.flips and rng.random() < 0.5:
            cropped = cropped[:, :, ::-1]
        clip = normalize(np.ascontiguousarray(cropped), spec)
        contrast = 1 + rng.uniform(-self.brightness, self.brightness)
        shift = rng.uniform(-self.brightness, self.brightness) / float(np.mean(spec.std)) / 2
        return (clip * np.float32(contrast) + np.float32(shift)).astype(np.float32, copy=False)

    def _crop(self, frames: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        height, width = frames.shape[1:3]
        side = round(min(height, width) * rng.uniform(self.min_scale, 1))
        top = int(rng.integers(height - side + 1))
        left = int(rng.integers(width - side + 1))
        return frames[:, top : top + side, left : left + side]


class ClipDataset(Dataset[tuple[Tensor, int]]):
    """Clips of videos, with their labels.

    Without an augmentation, index ``i`` is the center crop of the center clip of video ``i``. With one, index
    ``epoch * len + i`` is a clip of video ``i % len(videos)`` in that epoch: at a random time, in a random crop;
    ``repeats`` clips of each video make an epoch.
    """

    def __init__(
        self,
        videos: LabeledVideos,
        spec: ClipSpec,
        *,
        seed: int = 0,
        repeats: int = 1,
        augmentation: Augmentation | None = None,
    ) -> None:
        self._videos = videos
        self._spec = spec
        self._seed = seed
        self._repeats = repeats
        self._augmentation = augmentation
        self._unreadable: set[str] = set()

    def __len__(self) -> int:
        return len(self._videos) * self._repeats

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """The clip at ``index``; where its video cannot be read, the next one that can be stands in for it.

        Raises:
            InputFileError: none of the videos can be read.
        """
        epoch, position = divmod(index, len(self))
        for offset in range(len(self._videos)):
            video = self._videos.videos[(position + offset) % len(self._videos)]
            try:
                return self._clip(video, epoch, position), video.label
            except InputFileError as error:
                self._report(video, error)
        msg = f"none of the {len(self._videos)} videos of {self._videos.name} can be read"
        raise InputFileError(msg)

    def _clip(self, video: LabeledVideo, epoch: int, position: int) -> Tensor:
        if self._augmentation is None:
            return torch.from_numpy(preprocess(video.read(self._spec), self._spec))
        rng = np.random.default_rng((self._seed, epoch, position))
        frames = video.read(self._spec, at=float(rng.random()))
        return torch.from_numpy(self._augmentation(frames, self._spec, rng))

    def _report(self, video: LabeledVideo, error: InputFileError) -> None:
        if video.name not in self._unreadable:
            self._unreadable.add(video.name)
            logger.warning("left out of training: %s", error)

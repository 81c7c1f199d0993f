"""How long a run will take, by one clip that is read and learned from before it begins."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from s2tf_edge.data.training_data import TrainingData
from s2tf_edge.errors import InputFileError
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.preprocess import preprocess
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.loaders import leave_cores_to
from s2tf_edge.training.pasts import find_prefix

__all__ = ["expected_seconds", "rounded_time"]

_TRIED_VIDEOS = 3
_TRIED_CLIPS = 2
"""In a batch: norms need more than one value."""
_PASSES_OF_A_STEP = 3
"""Forward, and backward to inputs and to weights; validation has the first alone."""


def expected_seconds(
    config: TrainConfig, data: TrainingData, network: VideoNetwork, *, unlabeled: int = 0, processes: int = 1
) -> float | None:
    """Seconds for all epochs, within a factor of two or so; None where none of the first videos can be read.

    Args:
        config: the settings.
        data: both sides.
        network: of that kind; its gradients and running means are changed.
        unlabeled: more videos to train on.
        processes: how many share the clips of an epoch.
    """
    with leave_cores_to(config.workers):
        reading, clip = _time_reading(data, network)
        if clip is None:
            return None
        learning = _time_learning(network, torch.from_numpy(np.stack([clip] * _TRIED_CLIPS))) / _TRIED_CLIPS
    # A past is read as a whole, and half of it seen in the mean.
    past = find_prefix(config, network) / network.spec.frames
    videos = len(data.train) + unlabeled
    trained = (
        videos * config.repeats(videos) * _together(reading * (1 + past), learning * (1 + past / 2), config.workers)
    )
    validated = len(data.validation) * _together(reading, learning / _PASSES_OF_A_STEP, config.workers)
    return config.epochs * (trained + validated) / processes


def rounded_time(seconds: float) -> str:
    """A duration in the unit that it is spoken of in: ``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _together(reading: float, learning: float, workers: int) -> float:
    """Seconds of a clip: workers read while the network learns."""
    return max(reading / workers, learning) if workers else reading + learning


def _time_reading(data: TrainingData, network: VideoNetwork) -> tuple[float, NDArray[Any] | None]:
    for video in data.train.videos[:_TRIED_VIDEOS]:
        started = time.perf_counter()
        try:
            clip = preprocess(video.read(network.spec), network.spec)
        except InputFileError:
            continue  # The run itself tells of it.
        return time.perf_counter() - started, clip
    return 0.0, None


def _time_learning(network: VideoNetwork, clips: torch.Tensor) -> float:
    """Seconds of the second of two steps: the first also sets up kernels and memory."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device).train()
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        logits, _ = network(clips.to(device), return_saliency=True)
        logits.sum().backward()
        float(logits.detach().sum())  # Waits for a GPU.
        seconds = time.perf_counter() - started
    return seconds

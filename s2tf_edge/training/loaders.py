"""What reads the clips of a run and puts them into batches."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.dataset import Augmentation, ClipDataset
from s2tf_edge.training.sampling import EpochSampler, ShareSampler

__all__ = ["Loaders", "leave_cores_to", "make_loaders"]

Loaders = tuple[DataLoader[Any], DataLoader[Any]]
"""Of training and validation clips."""


def make_loaders(
    config: TrainConfig,
    *,
    videos: LabeledVideos,
    validation: LabeledVideos,
    spec: ClipSpec,
    rank: int = 0,
    world_size: int = 1,
    epoch: int = 0,
    steps: int = 0,
) -> Loaders:
    """Loaders of (clips float32 [N, 3, T, S, S], labels int64 [N]).

    Args:
        config: augmentation, batch size, workers, seed.
        videos: what to train on.
        validation: what to measure on.
        spec: the clip.
        rank: which of ``world_size`` processes this is; each reads clips of its own.
        world_size: processes.
        epoch: the first that is read, counted from zero.
        steps: batches of that epoch that are behind a run which resumes.
    """
    augmentation = Augmentation(
        min_scale=config.min_scale, brightness=config.brightness, flips=config.flip and videos.flips
    )
    repeats = config.repeats(len(videos))
    dataset = ClipDataset(videos, spec, seed=config.seed, repeats=repeats, augmentation=augmentation)
    sampler = EpochSampler(
        len(dataset),
        seed=config.seed,
        rank=rank,
        world_size=world_size,
        epoch=epoch,
        skip=steps * config.batch_size,
    )
    share = ShareSampler(len(validation), rank=rank, world_size=world_size)
    options: dict[str, Any] = {
        "batch_size": config.batch_size,
        "num_workers": config.workers,
        "persistent_workers": config.workers > 0,
        "worker_init_fn": _leave_signals_to_the_parent,
    }
    return (
        DataLoader(dataset, sampler=sampler, drop_last=len(sampler) > config.batch_size, **options),
        DataLoader(ClipDataset(validation, spec), sampler=share, **options),
    )


@contextmanager
def leave_cores_to(workers: int) -> Iterator[None]:
    """Leaves the workers a core each; one thread more, waiting for a busy core, brings nothing."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) - workers)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _leave_signals_to_the_parent(_worker: int) -> None:
    """In a worker: Ctrl-C is the trainer's to answer; SIGTERM ends the worker at once, whatever the trainer does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

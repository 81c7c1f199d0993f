"""What reads the clips of a run and puts them into batches."""

from __future__ import annotations

import logging
import os
import signal
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_collate

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.augmentation import Augmentation
from s2tf_edge.training.caching import FrameCache
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.dataset import ClipDataset
from s2tf_edge.training.distillation.teaching import Teaching
from s2tf_edge.training.sampling import EpochSampler, ShareSampler
from s2tf_edge.training.unreadable import Unreadable

__all__ = ["Loaders", "find_unreadable", "leave_cores_to", "log_unreadable", "make_loaders"]

logger = logging.getLogger(__name__)

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
    teaching: Teaching | None = None,
    prefix: int = 0,
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
        teaching: gives training clips rows of targets in place of labels.
        prefix: most frames before a training clip; batches then have ``prefix`` frames more, and where each begins,
            int64 [N].
    """
    augmentation = Augmentation(settings=config, flips=videos.flips)
    cache = FrameCache(config.cache) if config.cache is not None else None
    if cache is not None:
        videos = cache.for_training(videos, augmentation.reading_spec(spec))
        validation = cache.for_validation(validation)
    repeats = config.repeats(len(videos))
    dataset = ClipDataset(
        videos,
        spec,
        seed=config.seed,
        repeats=repeats,
        augmentation=augmentation,
        teaching=teaching,
        prefix=prefix,
    )
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
    loaders = (
        DataLoader(dataset, sampler=sampler, drop_last=len(sampler) > config.batch_size, **options),
        _ReadableBatches(ClipDataset(validation, spec), sampler=share, collate_fn=_collate_readable, **options),
    )
    if cache is not None:
        weakref.finalize(loaders[0], cache.close)
    return loaders


def log_unreadable(loaders: Loaders) -> int:
    """Says at the end of a run how many videos could not be read, and returns the number."""
    training, validation = map(find_unreadable, loaders)
    for unreadable, became in ((training, "others took their place"), (validation, "left out of its top-1")):
        if unreadable.names:
            logger.warning("%s; %s", unreadable, became)
    return len(training.names) + len(validation.names)


def find_unreadable(loader: DataLoader[Any]) -> Unreadable:
    """The videos of a loader that could not be read so far."""
    assert isinstance(loader.dataset, ClipDataset)
    return loader.dataset.unreadable


class _ReadableBatches(DataLoader[Any]):
    """Leaves out batches of which no clip could be read."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # the stub has the base class of torch's iterators
        return (batch for batch in super().__iter__() if batch is not None)


def _collate_readable(items: list[tuple[Tensor, int] | None]) -> Any:
    readable = [item for item in items if item is not None]
    return default_collate(readable) if readable else None


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

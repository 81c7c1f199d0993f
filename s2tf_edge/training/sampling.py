"""Which clips a process reads, and in which order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

__all__ = ["EpochSampler", "ShareSampler"]


class EpochSampler(Sampler[int]):
    """Shuffles by seed and epoch, so that a resumed run sees the clips that an uninterrupted one would have seen.

    Each of ``world_size`` processes gets the same number of clips, every ``world_size``-th from ``rank`` on: with
    batches of N clips their k-th batches together are the k-th batch of N · ``world_size`` clips that one process
    would have.

        order   7 2 9 4 1 8 0 3      N = 2, world_size = 2
        rank 0  7   9 | 1   0
        rank 1    2   4 | 8   3      first step: 7 2 9 4, second: 1 8 0 3

    Args:
        length: clips in an epoch.
        seed: that decides about the order, with the epoch.
        rank: which of the processes this is.
        world_size: processes.
        epoch: the first one's: a trainer that resumes begins to iterate before it says which epoch it is in.
        skip: this process's clips of that epoch which are behind a run that resumes; whoever iterates after it, to
            measure something on all clips, begins at the first.
    """

    def __init__(
        self, length: int, *, seed: int, rank: int = 0, world_size: int = 1, epoch: int = 0, skip: int = 0
    ) -> None:
        self._length = length
        self._seed = seed
        self._rank = rank
        self._world_size = world_size
        self._epoch = epoch
        self._skip = skip

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer at the start of each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Clips of a whole epoch, also where some are skipped: a trainer counts on from those."""
        return self._length // self._world_size

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(self._length)
        mine = order[self._rank :: self._world_size][: len(self)]
        skip, self._skip = self._skip, 0
        yield from (self._epoch * self._length + mine[skip:]).tolist()


class ShareSampler(Sampler[int]):
    """Every ``world_size``-th clip in order; each clip is read by one process, none is read twice to fill up.

    Fewer clips than processes are read by all of them: each has something to do then, and the mean is the same.
    """

    def __init__(self, length: int, *, rank: int = 0, world_size: int = 1) -> None:
        shared = length >= world_size
        self._indices = range(rank, length, world_size) if shared else range(length)

    def __len__(self) -> int:
        return len(self._indices)

    def __iter__(self) -> Iterator[int]:
        yield from self._indices

"""Clips, as many at once as a network takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from s2tf_edge.runtime.session import Clips

__all__ = ["Batches"]


class Batches:
    """Batches of one size; the last is filled up with the last clip.

    It does not tell its length: knowing it, NNCF leaves a pass at the last batch, and the pass is never finished.
    """

    def __init__(self, clips: Iterable[Clips], *, size: int) -> None:
        """Reads nothing yet.

        Args:
            clips: each with the batch axis of length 1 in front.
            size: of the batches.
        """
        self._clips = clips
        self._size = size

    def __iter__(self) -> Iterator[Clips]:
        clips = iter(self._clips)
        while part := list(itertools.islice(clips, self._size)):
            batch: Any = np.concatenate(part + part[-1:] * (self._size - len(part)))
            yield batch

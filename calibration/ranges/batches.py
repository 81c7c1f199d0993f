"""Clips, as many at once as a network takes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.runtime.session import Clips

__all__ = ["Batches", "Feed", "Inputs"]

Feed = Mapping[str, NDArray[Any]]
"""All inputs of a graph, by their names."""
Inputs = Clips | Feed
"""What ranges are measured on: a clip, with a batch axis of length 1 in front; of a graph that steps, its inputs."""


class Batches:
    """Batches of one size; the last is filled up with the last clip. Inputs of a step are whole batches already.

    It does not tell its length: knowing it, NNCF leaves a pass at the last batch, and the pass is never finished.
    """

    def __init__(self, clips: Iterable[Inputs], *, size: int) -> None:
        """Reads nothing yet.

        Args:
            clips: see ``Inputs``; all of them of one kind.
            size: of the batches.
        """
        self._clips = clips
        self._size = size

    def __iter__(self) -> Iterator[Inputs]:
        clips: Iterator[Any] = iter(self._clips)
        for first in clips:
            if isinstance(first, Mapping):
                yield first
                continue
            part = [first, *itertools.islice(clips, self._size - 1)]
            batch: Any = np.concatenate(part + part[-1:] * (self._size - len(part)))
            yield batch

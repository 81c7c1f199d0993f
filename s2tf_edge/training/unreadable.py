"""Videos that cannot be read: reported, counted over all workers, and borne up to a share."""

from __future__ import annotations

import logging

import torch
from torch import distributed

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import InputFileError
from s2tf_edge.words import first_few

__all__ = ["Unreadable"]

logger = logging.getLogger(__name__)

_PERCENT = 1
_SHOWN = 5


class Unreadable:
    """Which videos of a data set could not be read; workers that get a copy count together, processes where they join.

    Args:
        videos: the data set.
        consequence: what becomes of one, such as ``left out of training``.
    """

    def __init__(self, videos: LabeledVideos, *, consequence: str) -> None:
        self._videos = videos
        self._consequence = consequence
        # One byte each, written by whoever finds out: nothing to lock.
        self._found = torch.zeros(len(videos), dtype=torch.uint8).share_memory_()  # type: ignore[no-untyped-call]

    @property
    def names(self) -> list[str]:
        """Of the videos found so far, in the order of the data set."""
        return self._names(self._indices())

    @property
    def allowed(self) -> int:
        """How many a run goes on with: one percent, and one of a small data set."""
        return max(1, len(self._videos) * _PERCENT // 100)

    def __str__(self) -> str:
        names = self.names
        return f"{len(names)} of {len(self._videos)} videos could not be read: {first_few(names, _SHOWN)}"

    def add(self, index: int, error: InputFileError) -> None:
        """Counts a video, and says so the first time.

        Raises:
            InputFileError: there are too many.
        """
        if not self._found[index]:
            self._found[index] = 1
            logger.warning("%s: %s", self._consequence, error)
        names = self.names
        if len(names) == len(self._videos):
            msg = f"none of the {len(names)} videos of {self._videos.name} can be read; the last: {error}"
            raise InputFileError(msg) from error
        if len(names) > self.allowed:
            raise self._too_many(names, last=f"the last: {error}; ") from error

    def join(self) -> None:
        """Counts what the other processes of the run have found, too: each of them has to call it.

        Raises:
            InputFileError: together there are too many.
        """
        if not distributed.is_available() or not distributed.is_initialized():
            return
        parts: list[list[int]] = [[] for _ in range(distributed.get_world_size())]
        distributed.all_gather_object(parts, self._indices())
        # What all of them were told, so that all of them go on or none does: workers may find another one meanwhile.
        found = sorted({index for part in parts for index in part})
        self._found[found] = 1
        if len(found) > self.allowed:
            raise self._too_many(self._names(found))

    def _indices(self) -> list[int]:
        # Of a copy: other processes write meanwhile, and ``nonzero`` fails where it counts more at the end than before.
        found: list[int] = self._found.clone().nonzero().flatten().tolist()
        return found

    def _names(self, indices: list[int]) -> list[str]:
        return [self._videos.videos[index].name for index in indices]

    def _too_many(self, names: list[str], *, last: str = "") -> InputFileError:
        return InputFileError(
            f"{len(names)} of {len(self._videos)} videos of {self._videos.name} cannot be read, more than "
            f"{_PERCENT} %: {first_few(names, _SHOWN)}; {last}repair them, or take them out"
        )

"""Data sets that come split: a training side beside one or two to validate and to test on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError, UsageError

__all__ = ["SIDES", "SIDES_BY_NAME", "DataSide", "Side", "SplitVideos", "Use"]

logger = logging.getLogger(__name__)

Side = Literal["train", "val", "test"]
Use = Side
"""What videos are wanted for: to learn or to calibrate from, to validate on meanwhile, or to measure on."""

SIDES: Final[tuple[Side, ...]] = ("train", "val", "test")
SIDES_BY_NAME: Final[Mapping[str, Side]] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
    "test": "test",
    "testing": "test",
}
"""What folders and lists of a side are called, in lower case."""
_FIRST_FOR: Final[Mapping[Use, tuple[Side, ...]]] = {
    "train": SIDES,
    "val": ("val", "test", "train"),
    "test": ("test", "val", "train"),
}


@dataclass(frozen=True, kw_only=True)
class DataSide:
    """One side of a data set, still to be opened."""

    title: str
    """What it is called where it lies, such as ``valid`` or ``testlist01.txt``."""
    open: Callable[[Sequence[str] | None], Videos]
    """Takes the names of the classes in the order to count them; None for its own."""


@dataclass(frozen=True, kw_only=True)
class SplitVideos:
    """A data set and its sides; one of them is there at least."""

    name: str
    """What the user called it."""
    sides: Mapping[Side, DataSide]
    part: Side | None = None
    """The one side that was asked for, as in ``ucf101:ROOT?part=train``."""
    is_published: bool = False
    """Whether the split is one that everybody's figures refer to, and is kept as it is for that."""

    def __post_init__(self) -> None:
        if self.part is not None and self.part not in self.sides:
            msg = f"{self.name} has no part {self.part!r}; it has {', '.join(self.sides)}"
            raise UsageError(msg)

    @property
    def validation(self) -> DataSide | None:
        """The side that a training run chooses its best epoch by: ``val`` where there is one, else ``test``."""
        return self.sides.get("val") or self.sides.get("test")

    def open(self, use: Use, *, labels: Sequence[str] | None = None) -> Videos:
        """The videos of the side that was asked for, or of the one that is right for ``use``; the log says which.

        That is the one of the same name; to measure on ``val`` where there is no ``test``, and the other way round.
        """
        if self.part is not None:
            return self.sides[self.part].open(labels)
        side = next(self.sides[each] for each in _FIRST_FOR[use] if each in self.sides)
        videos = side.open(labels)
        logger.info("%s comes split: %s is taken, %d videos", self.name, side.title, len(videos))
        return videos

    def open_train(self) -> Videos:
        """The videos to train on.

        Raises:
            InputFileError: the data set has no such side, or it cannot be read.
        """
        if self.part is not None:
            return self.sides[self.part].open(None)
        if "train" not in self.sides:
            titles = " and ".join(side.title for side in self.sides.values())
            msg = f"{self.name} holds {titles} but no train beside it; add one, or give a folder of class folders"
            raise InputFileError(msg)
        return self.sides["train"].open(None)

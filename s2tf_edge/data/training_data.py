"""The two sides of a training run: what to learn from, and what to measure on meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from s2tf_edge.data.datasets import find_split, open_data, open_whole, require_labels
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.side_checks import (
    check_class_folders,
    check_classes_of_sides,
    check_names,
    refuse_shared_videos,
    warn_of_shared_groups,
)
from s2tf_edge.data.sides import SplitVideos
from s2tf_edge.data.splits import split_by_group
from s2tf_edge.errors import UsageError

__all__ = ["TrainingData", "divide_videos", "open_training_data"]

_SHARE: Final = "0.2"
"""Of the videos, to validate on where nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """Both sides, with the same labels."""

    train: LabeledVideos
    validation: LabeledVideos
    """Empty where all videos are trained on."""
    origin: str
    """Where the validation videos come from, in a few words."""
    share: float | None = None
    """Which share of the videos was drawn for it; None where it is a side or a data set of its own."""
    group_by: str | None = None
    """The pattern by which groups of videos stay on one side; only with a share."""
    is_published: bool = False
    """Whether both sides are the authors' own, which figures of others refer to."""


def open_training_data(
    data: str | Path, *, validation: str | None = None, group_by: str | None = None, seed: int = 0
) -> TrainingData:
    """Opens a data set to train on, and refuses what is surely wrong with it.

    Args:
        data: what ``open_data`` takes.
        validation: the share of the videos to validate on, such as ``0.2``, or another data set, as ``open_data`` takes
            it; 0 trains on all of them and validates on none. Of what comes split, a share is drawn from the training
            side. None for the side that is there to validate on, or else a fifth of the videos.
        group_by: as in ``split_by_group``; only with a share.
        seed: of the draw.

    Returns:
        Both sides, with the labels of the first.

    Raises:
        InputFileError: a data set cannot be read; it has a single class, a class folder is empty, a class is on the
            validation side alone, or a video is on both sides.
        UsageError: the share or ``group_by`` is not allowed, or the draw leaves a class without a training video.
    """
    sides = find_split(data)
    whole = require_labels(open_whole(data) if sides is None else sides.open_train())
    found = _divide(whole, sides, validation=validation, group_by=group_by, seed=seed)
    for side in {whole.name: whole, found.validation.name: found.validation}.values():
        check_class_folders(side)
    check_names(whole)
    check_classes_of_sides(found.train, found.validation, is_drawn=found.share is not None)
    refuse_shared_videos(found.train, found.validation, only_warn=found.is_published)
    if group_by is None and not found.is_published:
        warn_of_shared_groups(found.train, found.validation, is_drawn=found.share is not None)
    return found


def divide_videos(
    whole: LabeledVideos, *, validation: str | None = None, group_by: str | None = None, seed: int = 0
) -> TrainingData:
    """Both sides of videos that are open already, whose classes may be few or many: nobody but a teacher named them.

    Args:
        whole: the videos.
        validation: as for ``open_training_data``; a data set must have classes among those of ``whole``.
        group_by: as in ``split_by_group``; only with a share.
        seed: of the draw.

    Raises:
        InputFileError: the data set to validate on cannot be read, or a video is on both sides.
        UsageError: the share or ``group_by`` is not allowed, or there is too little to divide.
    """
    found = _divide(whole, None, validation=validation, group_by=group_by, seed=seed)
    refuse_shared_videos(found.train, found.validation)
    return found


def _divide(
    whole: LabeledVideos, sides: SplitVideos | None, *, validation: str | None, group_by: str | None, seed: int
) -> TrainingData:
    own = sides.validation if sides is not None and sides.part is None else None
    if validation is None and own is not None:
        _refuse_groups(group_by, own.title)
        other = require_labels(own.open(whole.labels))
        is_published = sides is not None and sides.is_published
        return TrainingData(train=whole, validation=other, origin=own.title, is_published=is_published)
    given = _SHARE if validation is None else validation
    try:
        share = float(given)
    except ValueError:
        _refuse_groups(group_by, given)
        return TrainingData(train=whole, validation=open_data(given, labels=whole.labels, use="val"), origin=given)
    return _draw(whole, share, group_by=group_by, seed=seed)


def _refuse_groups(group_by: str | None, origin: str) -> None:
    if group_by is not None:
        msg = (
            f"`group_by` splits one data set in two, but {origin} is there to validate on; leave `group_by` out, or "
            "give a share such as `validation=0.2`"
        )
        raise UsageError(msg)


def _draw(whole: LabeledVideos, share: float, *, group_by: str | None, seed: int) -> TrainingData:
    if share == 0:
        if group_by is not None:
            msg = "`group_by` has nothing to split where all videos are trained on; leave one of the two out"
            raise UsageError(msg)
        return TrainingData(train=whole, validation=whole.subset([]), origin="none", share=0.0)
    train, validation = split_by_group(whole, fraction=share, group_by=group_by, seed=seed)
    return TrainingData(
        train=train, validation=validation, origin=f"a share of {share:g}, drawn", share=share, group_by=group_by
    )

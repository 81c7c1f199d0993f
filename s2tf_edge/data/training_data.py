"""The two sides of a training run: what to learn from, and what to measure on meanwhile."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from s2tf_edge.data.datasets import find_split, open_whole, require_labels, share_of, split
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.side_checks import (
    check_class_folders,
    check_classes_of_sides,
    check_names,
    refuse_shared_videos,
    warn_of_shared_groups,
)
from s2tf_edge.data.sides import SplitVideos
from s2tf_edge.errors import UsageError

__all__ = ["TrainingData", "divide_videos", "open_training_data"]

logger = logging.getLogger(__name__)


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
        validation: the share of the videos to validate on, such as ``0.2``; or a list of videos of the folder, which
            are then set aside; or another data set, as ``open_data`` takes it. 0 trains on all of them and validates on
            none. Of what comes split, a share is drawn from the training side. None for the side that is there to
            validate on, or else a fifth of the videos.
        group_by: as in ``split_by_group``; only with a share above 0.
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
    check_classes_of_sides(
        found.train, found.validation, is_drawn=found.share is not None, is_published=found.is_published
    )
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
    if validation is not None or own is None:
        share = share_of(validation)
        train, other = split(whole, validation, group_by=group_by, seed=seed)
        origin = f"a share of {share:g}, drawn" if share is not None else str(validation)
        if share is None and sides is None and _lists_some_of(whole, other):
            train, origin = _without(whole, other), f"set aside as {validation} lists them"
        return TrainingData(train=train, validation=other, origin=origin, share=share, group_by=group_by)
    if group_by is not None:
        msg = (
            f"`group_by` splits one data set in two, but {own.title} is there to validate on; leave `group_by` out, or "
            "give a share such as `validation=0.2`"
        )
        raise UsageError(msg)
    is_published = sides is not None and sides.is_published
    if sides is not None and "val" not in sides.sides and not is_published:
        logger.warning("%s chooses the best epoch, as there is no val: its figures will flatter", own.title)
    other = require_labels(own.open(whole.labels))
    return TrainingData(train=whole, validation=other, origin=own.title, is_published=is_published)


def _lists_some_of(whole: LabeledVideos, listed: LabeledVideos) -> bool:
    """Whether a list file names videos of a folder and no others, and leaves some of them.

    Of two lists each is what was meant to be on its side: what both have is a mistake.
    """
    if not (Path(whole.name).is_dir() and Path(listed.name).is_file()):
        return False
    own, named = _files(whole), _files(listed)
    return bool(named) and set(named) < set(own)


def _without(whole: LabeledVideos, listed: LabeledVideos) -> LabeledVideos:
    named = set(_files(listed))
    return whole.subset([index for index, path in enumerate(_files(whole)) if path not in named])


def _files(videos: LabeledVideos) -> list[Path]:
    """The real path of each video."""
    return [Path(video.name).resolve() for video in videos.videos]

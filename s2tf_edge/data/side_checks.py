"""What is surely wrong with the two sides of a training run is refused before its first step; what may be, is said."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from pathlib import Path

from s2tf_edge.data.group_hints import find_shared_groups
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.same_videos import find_same_videos
from s2tf_edge.data.video_paths import find_videos, is_folder, list_folder
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.words import first_few

__all__ = [
    "check_class_folders",
    "check_classes_of_sides",
    "check_names",
    "refuse_shared_videos",
    "warn_of_shared_groups",
    "without_shared_videos",
]

logger = logging.getLogger(__name__)


def check_class_folders(videos: LabeledVideos) -> None:
    """Looks at the folders of a data set that give no class.

    One with files that are no videos, such as annotations, is told of: perhaps it is none.

    Raises:
        InputFileError: one is empty, though somebody made it for a class.
    """
    root = Path(videos.name)
    if not is_folder(root):
        return
    classes = _classes(videos)
    others = [path for path in list_folder(root)[0] if path.name not in classes and not find_videos(path)]
    empty = [path for path in others if not find_videos(path, is_wanted=lambda _: True)]
    if empty:
        msg = f"{first_few(empty, 3)}: an empty class folder; put its videos there, or remove it"
        raise InputFileError(msg)
    if others:
        logger.warning("no class, as there is no video in it: %s", first_few(others, 3))


def check_names(videos: LabeledVideos) -> None:
    """Warns of classes whose names differ in capitals, spaces and the like, and which are perhaps one."""
    alike = defaultdict(list)
    for label in sorted(_classes(videos)):
        alike[re.sub(r"[\s_-]+", "", label.casefold())].append(label)
    for names in (names for names in alike.values() if len(names) > 1):
        logger.warning("%s are different classes of %s; if they are one, name them alike", _quoted(names), videos.name)


def check_classes_of_sides(
    train: LabeledVideos, validation: LabeledVideos, *, is_drawn: bool, is_published: bool = False
) -> None:
    """Sees that there are classes to tell apart, and that those validated on are trained on.

    Args:
        train: one side.
        validation: the other, with the same labels; perhaps empty.
        is_drawn: whether it is a share of one data set.
        is_published: whether the split is kept as its authors made it.

    Raises:
        InputFileError: there is a single class, or one is on one side alone of sides that were neither drawn nor
            published.
        UsageError: the draw left a class on the validation side alone.
    """
    trained, validated = _classes(train), _classes(validation)
    if len(trained | validated) < 2:
        msg = f"{train.name} has a single class, {_quoted(trained)}; there must be two or more to be told apart"
        raise InputFileError(msg + _class_folders_below(Path(train.name), *trained))
    if untrained := sorted(validated - trained):
        says = f"there is no video to train on of {_quoted(untrained)}, only of the validation side"
        if is_drawn:
            msg = f"{says}; give another `seed`, `group_by` or share `validation`, so that other groups are drawn"
            raise UsageError(msg)
        msg = f"{says}, {validation.name}; add some to {train.name}, or leave the class out"
        raise InputFileError(msg)
    if idle := sorted(set(train.labels) - trained - validated):
        logger.warning("no video at all: %s; the network will have outputs for them all the same", _quoted(idle))
    if len(validation) and (unseen := sorted(trained - validated)):
        says = f"there is no video to validate on of {_quoted(unseen)}, only of the training side"
        if not (is_drawn or is_published):
            msg = f"{says}; add some to {validation.name}, or leave the class out"
            raise InputFileError(msg)
        logger.warning("%s; their accuracy stays unknown", says)


def refuse_shared_videos(train: LabeledVideos, validation: LabeledVideos, *, only_warn: bool = False) -> None:
    """Sees that no video is on both sides, under whatever name.

    Args:
        train: one side.
        validation: the other.
        only_warn: whether the split is kept all the same, as published ones are, so that figures compare.

    Raises:
        InputFileError: one is.
    """
    pairs = find_same_videos(train, validation)
    if not pairs:
        return
    one, other = pairs[0]
    what = str(one) if one == other else f"{one} and {other}"
    counted = "1 video is" if len(pairs) == 1 else f"{len(pairs)} videos are"
    says = f"{counted} on both sides, trained on and validated on: {what}"
    if not only_warn:
        msg = f"{says}{'' if len(pairs) == 1 else ' first'}; remove it from one of them"
        raise InputFileError(msg)
    logger.warning("%s; the split is kept as published", says)


def without_shared_videos(more: Videos, validation: Videos) -> Videos:
    """The videos of ``more`` that are not validated on, under whatever name; says how many are left out.

    Raises:
        InputFileError: none is left.
    """
    shared = {path for _, path in find_same_videos(validation, more)}
    if not shared:
        return more
    kept = [index for index, video in enumerate(more.videos) if Path(video.name) not in shared]
    if not kept:
        msg = f"all {len(shared)} videos of {more.name} are validated on; give others, or other videos to validate on"
        raise InputFileError(msg)
    logger.warning(
        "%d of the %d videos of %s are validated on, so nothing is learned from them", len(shared), len(more), more.name
    )
    return more.subset(kept)


def warn_of_shared_groups(train: LabeledVideos, validation: LabeledVideos, *, is_drawn: bool) -> None:
    """Warns of persons or long videos that the names of files show on both sides: figures would flatter then."""
    hint = find_shared_groups(train, validation)
    if hint is None:
        return
    advice = f"`group_by` '{hint.pattern}' keeps each on one side" if is_drawn else "split by them instead"
    logger.warning(
        "both sides have videos of one group, by their names: %s; what is measured so flatters on people and places "
        "that the network never saw: %s",
        first_few(hint.shared),
        advice,
    )


def _class_folders_below(root: Path, name: str) -> str:
    """Advice where the one class is a folder of folders with videos."""
    only = root / name
    if not is_folder(only) or not any(find_videos(folder) for folder in list_folder(only)[0]):
        return ""
    return f"; give {only}, if its folders are the classes"


def _classes(videos: LabeledVideos) -> set[str]:
    """Those of which there is a video."""
    return {videos.labels[label] for label in {video.label for video in videos.videos}}


def _quoted(names: set[str] | list[str]) -> str:
    return first_few(map(repr, sorted(names)))

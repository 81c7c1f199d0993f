"""A folder that comes split: ``ROOT/train/<class>`` beside ``ROOT/val/<class>`` or ``ROOT/test/<class>``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from s2tf_edge.data.files import open_folder
from s2tf_edge.data.sides import SIDES, SIDES_BY_NAME, DataSide, SplitVideos
from s2tf_edge.data.video_paths import find_videos, is_video_name, list_folder
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError
from s2tf_edge.words import first_few

__all__ = ["read_ready_split"]

_WORD: Final = re.compile(r"[a-z]+")


def read_ready_split(folder: Path) -> SplitVideos | None:
    """The sides of a folder; None where its folders are classes, or it holds videos of its own.

    A class may be called ``train``, where the other folders are none of a split.

    Raises:
        InputFileError: the folder cannot be listed, or it is unclear whether its folders are sides or classes.
    """
    folders, files = list_folder(folder)
    named = [path for path in folders if path.name.lower() in SIDES_BY_NAME]
    if any(is_video_name(path.name) for path in files):
        return None
    if not named:
        _refuse_sides_of_other_names(folder, folders)
        return None
    # Folders of something else, such as annotations, are neither.
    others = [path for path in folders if path not in named and find_videos(path)]
    kinds = {SIDES_BY_NAME[path.name.lower()] for path in named}
    if others and len(kinds) == 1:
        _refuse_sides_of_other_names(folder, folders)
        return None
    if others:
        raise _unclear(folder, named, others)
    if len(kinds) < len(named):
        names = " and ".join(path.name for path in named)
        msg = f"{folder} holds {names}, two of which stand for one side of a split; move one away"
        raise InputFileError(msg)
    sides = {SIDES_BY_NAME[path.name.lower()]: path for path in named}
    return SplitVideos(
        name=str(folder),
        sides={
            side: DataSide(title=sides[side].name, open=partial(_open_side, sides[side]))
            for side in SIDES
            if side in sides
        },
    )


def _refuse_sides_of_other_names(folder: Path, folders: Sequence[Path]) -> None:
    """Sees that ``train_set`` beside ``held out`` are not taken for classes.

    What tells is that one has the word of a side in its name, and all of them hold folders of the same names: classes
    that hold a folder for each person do so too, but none of them is called so.
    """
    if not any(set(_WORD.findall(path.name.lower())) & set(SIDES_BY_NAME) for path in folders):
        return
    within = {path: {below.name for below in list_folder(path)[0] if find_videos(below)} for path in folders}
    filled = {path: names for path, names in within.items() if names}
    if len(filled) > 1 and set.intersection(*filled.values()):
        sides, classes = first_few([path.name for path in filled]), first_few(sorted(set.union(*filled.values())), 3)
        msg = (
            f"{folder} holds {sides}, each with folders such as {classes}, which look like the sides of a split; call "
            "them train, val and test, or move away what is none of them"
        )
        raise InputFileError(msg)


def _open_side(folder: Path, labels: Sequence[str] | None) -> Videos:
    return open_folder(folder, labels=labels)


def _unclear(folder: Path, named: Sequence[Path], others: Sequence[Path]) -> InputFileError:
    sides, classes = first_few([path.name for path in named]), first_few([path.name for path in others], 3)
    return InputFileError(
        f"{folder} holds {sides}, which look like the sides of a split, beside {classes}; move those away, or, where "
        "all are classes, give a list file of 'path label' lines"
    )

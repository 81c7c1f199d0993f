"""Video files: found in a folder, by a glob or in a list, with labels where those give them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.clips import clip_room
from s2tf_edge.data.clip_run import read_clips
from s2tf_edge.data.directions import directions_among
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.list_file import LIST_SUFFIXES, check_entries, is_class_number, read_class_index, read_list
from s2tf_edge.data.listing_checks import check_classes, check_missing
from s2tf_edge.data.video import probe, read_clip
from s2tf_edge.data.video_paths import (
    VIDEO_SUFFIXES,
    find_videos,
    is_folder,
    is_glob,
    match_videos,
)
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError
from s2tf_edge.file_kinds import VIDEOS, check_kind
from s2tf_edge.spec import ClipSpec
from s2tf_edge.words import first_few

__all__ = [
    "LabeledFile",
    "VideoFile",
    "label_files",
    "list_files",
    "open_files",
    "open_folder",
    "open_list",
]

_MAX_NUMBER: Final = 100_000
_CLASS_INDEX: Final = "classInd.txt"


@dataclass(frozen=True, kw_only=True)
class VideoFile:
    """One video, in a file."""

    path: Path

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> NDArray[np.uint8]:
        """The frames of one clip, as ``s2tf_edge.data.video.read_clip`` gives them.

        Raises:
            InputFileError: the video cannot be read or holds no frame.
            UsageError: ``at`` lies outside [0, 1].
        """
        return read_clip(self.path, spec, at=at)

    def read_clips(self, spec: ClipSpec, *, places: Sequence[float]) -> Iterator[NDArray[np.uint8]]:
        """The clips at ascending ``places``; each frame is decoded once, as ``s2tf_edge.data.clip_run`` does.

        Raises:
            InputFileError: the video cannot be read or holds no frame.
            UsageError: a place lies outside [0, 1].
        """
        return read_clips(self.path, spec, places=places)

    def room(self, spec: ClipSpec) -> float:
        """How far a clip can move within the video, in lengths of a clip.

        Raises:
            InputFileError: the video cannot be read or holds no frame.
        """
        info = probe(self.path)
        return clip_room(spec, first_seconds=info.first_seconds, last_seconds=info.last_seconds)


@dataclass(frozen=True, kw_only=True)
class LabeledFile(VideoFile):
    """One video of a known class, in a file."""

    label: int


def list_files(text: str) -> list[Path]:
    """The files that a folder, a glob, a list (``.txt`` or ``.csv``) or the name of one file stands for, in order.

    The videos of a folder or glob, as ``s2tf_edge.data.video_paths`` finds them; whatever a list names, or the one
    file, whether it is there or not.

    Raises:
        InputFileError: a folder cannot be listed, or a list cannot be read.
    """
    path = Path(text)
    if is_folder(path):
        return find_videos(path)
    if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
        return [listed.path for listed in read_list(path)]
    return match_videos(text) if is_glob(text) else [path]


def open_files(data: str) -> Videos:
    """The videos of a glob, or one video: without labels.

    Raises:
        InputFileError: the glob matches no video, or a folder cannot be listed.
    """
    paths = list_files(data)
    if not paths:
        msg = f"{data} matches no video; put a glob in quotes, and end it in one of {' '.join(VIDEO_SUFFIXES)}"
        raise InputFileError(msg)
    return _without_labels(data, paths)


def open_folder(folder: Path, *, labels: Sequence[str] | None = None) -> Videos:
    """The videos in a folder, at any depth.

    Args:
        folder: holds either videos, which then have no labels, or class folders: its sub-folders that hold videos, at
            any depth, are the classes.
        labels: names of the classes in the order to count them; None for the sub-folders, sorted.

    Raises:
        InputFileError: the folder or one below it cannot be listed, it holds no video, or both kinds, or a class is not
            in ``labels``.
    """
    loose: list[Path] = []
    classes: dict[str, list[Path]] = {}
    for path in find_videos(folder):
        name, *below = path.relative_to(folder).parts
        (classes.setdefault(name, []) if below else loose).append(path)
    if loose and classes:
        raise _both_kinds(folder, loose, tuple(classes))
    if loose:
        return _without_labels(folder, loose)
    if not classes:
        check_kind(folder, VIDEOS)
        msg = f"{folder} holds no video ({' '.join(VIDEO_SUFFIXES)}); give a folder with videos, or of class folders"
        raise InputFileError(msg)
    names = check_classes(tuple(classes), labels, source=folder)
    return label_files(folder, [(path, name) for name, paths in classes.items() for path in paths], labels=names)


def open_list(path: Path, *, labels: Sequence[str] | None = None) -> Videos:
    """The videos of a list file: ``path``, ``path label`` or ``path,label`` a line.

    Args:
        path: the list, in UTF-8. Paths in it are relative to its folder. All lines have labels, or none has. Labels are
            names, or all of them numbers; a ``classInd.txt`` beside the list, as UCF101 has it, gives each number a
            name.
        labels: names of the classes in the order to count them; None for those listed: names sorted, numbers from 0.

    Raises:
        InputFileError: the list cannot be read, a line is malformed, more than a hundredth of the videos are missing,
            or a class is not in ``labels``.
    """
    entries = read_list(path)
    check_entries(entries, path)
    listed = [entry.label for entry in entries if entry.label is not None]
    paths = [entry.path for entry in entries]
    # Path.is_file raises where a name is longer than a file's may be.
    there = {video for video in set(paths) if os.path.isfile(video)}  # noqa: PTH113
    missing = [str(video) for video in paths if video not in there]
    check_missing(missing, listed=len(paths), source=str(path), advice=_of_ucf101(path))
    if not listed:
        return _without_labels(path, [video for video in paths if video in there])
    if all(map(is_class_number, listed)):
        listed, found = _name_classes(listed, path)
    else:
        found = tuple(sorted(set(listed)))
    names = check_classes(found, labels, source=path)
    pairs = [pair for pair in zip(paths, listed, strict=True) if pair[0] in there]
    return label_files(path, pairs, labels=names)


def label_files(name: str | Path, files: Iterable[tuple[Path, str]], *, labels: Sequence[str]) -> LabeledVideos:
    """A data set of files, each with the name of its class, which is among ``labels``."""
    index = {label: position for position, label in enumerate(labels)}
    videos = [LabeledFile(path=path, label=index[label]) for path, label in files]
    return LabeledVideos(name=str(name), labels=tuple(labels), videos=videos, flips=not directions_among(labels))


def _of_ucf101(path: Path) -> str | None:
    """Advice on UCF101's own lists, whose paths count from another folder than theirs."""
    split = re.fullmatch(r"t(?:rain|est)list0([1-3])\.txt", path.name)
    return f"UCF101 as it comes is read as 'ucf101:ROOT?split={split[1]}'" if split else None


def _without_labels(name: str | Path, paths: Sequence[Path]) -> Videos:
    return Videos(name=str(name), videos=[VideoFile(path=path) for path in paths])


def _both_kinds(folder: Path, loose: Sequence[Path], classes: Sequence[str]) -> InputFileError:
    own, folders = first_few([path.name for path in loose], 1), first_few(classes, 3)
    return InputFileError(
        f"{folder} holds videos of its own ({own}) as well as folders of videos ({folders}), so it is "
        f"unclear whether the folders are classes; move the videos into them, or give the glob '{folder / '**'}' for "
        "all of them without labels"
    )


def _name_classes(numbers: list[str], path: Path) -> tuple[list[str], tuple[str, ...]]:
    """The name of each number, and the names of all classes in order."""
    values = [int(number) for number in numbers]
    class_index = path.parent / _CLASS_INDEX
    if class_index.is_file():
        classes = read_class_index(class_index)
    else:
        classes = {value: str(value) for value in range(min(max(values), _MAX_NUMBER) + 1)}
    unknown = sorted(set(values) - set(classes))
    if unknown:
        msg = f"{path} has labels {unknown[:5]} that {class_index.name} does not name, or beyond {_MAX_NUMBER}"
        raise InputFileError(msg)
    return [classes[value] for value in values], tuple(classes[value] for value in sorted(classes))

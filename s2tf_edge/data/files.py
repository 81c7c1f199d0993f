"""Labeled video files: found in folders of class folders, or listed in a text file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.video import read_clip
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.spec import ClipSpec

__all__ = ["VIDEO_SUFFIXES", "VideoFile", "list_lines", "open_folder", "open_list"]

VIDEO_SUFFIXES: Final = (
    *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
)
"""Endings, in lower case, of the files that are taken for videos."""

# The ending tells where the path stops, for both paths and labels may hold spaces and commas.
_ENTRY: Final = re.compile(
    rf"(?P<path>.+(?:{'|'.join(re.escape(suffix) for suffix in VIDEO_SUFFIXES)}))(?:\s*,\s*|\s+)(?P<label>.+)",
    re.IGNORECASE,
)
_MAX_LIST_BYTES: Final = 256 * 2**20
_MAX_NUMBER: Final = 100_000
_CLASS_INDEX: Final = "classInd.txt"


@dataclass(frozen=True, kw_only=True)
class VideoFile:
    """One video of a known class, in a file."""

    path: Path
    label: int

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


def open_folder(folder: Path, *, labels: Sequence[str] | None = None) -> LabeledVideos:
    """The videos in a folder of class folders, at any depth within a class, sorted; hidden files are left out.

    Args:
        folder: its sub-folders that hold videos are the classes.
        labels: names of the classes in the order to count them; None for the sub-folders, sorted.

    Raises:
        InputFileError: the folder cannot be listed, or has no sub-folder with a video.
        UsageError: a class is not in ``labels``.
    """
    folders = [path for path in _list_folder(folder) if path.is_dir()]
    seen = {path.resolve() for path in (folder, *folders)}
    classes = {path.name: paths for path in folders if (paths := _find_videos(path, seen))}
    if not classes:
        found = f"{len(folders)} folders, none of them with a video" if folders else "no folder"
        msg = f"{folder} holds {found}; give a folder of class folders with videos ({' '.join(VIDEO_SUFFIXES)})"
        raise InputFileError(msg)
    names = _check_classes(tuple(classes), labels, source=folder)
    videos = [VideoFile(path=path, label=names.index(name)) for name, paths in classes.items() for path in paths]
    return LabeledVideos(name=str(folder), labels=names, videos=videos)


def open_list(path: Path, *, labels: Sequence[str] | None = None) -> LabeledVideos:
    """The videos of a list file: ``path label`` or ``path,label`` a line; empty lines and ``#`` comments are left out.

    Args:
        path: the list, in UTF-8. Paths in it are relative to its folder. Labels are names, or all of them numbers; a
            ``classInd.txt`` beside the list, as UCF101 has it, gives each number a name.
        labels: names of the classes in the order to count them; None for those listed: names sorted, numbers from 0.

    Raises:
        InputFileError: the list cannot be read, a line is malformed, or a video is missing.
        UsageError: a class is not in ``labels``.
    """
    entries = _read_entries(path)
    listed = [label for _, label in entries]
    if all(label.isdecimal() for label in listed):
        listed, found = _name_classes(listed, path)
    else:
        found = tuple(sorted(set(listed)))
    names = _check_classes(found, labels, source=path)
    index = {name: position for position, name in enumerate(names)}
    paths = [path.parent / video for video, _ in entries]
    missing = [video for video in paths if not video.is_file()]
    if missing:
        msg = f"{path} lists {len(missing)} videos of {len(paths)} that do not exist, the first is {missing[0]}"
        raise InputFileError(msg)
    videos = [VideoFile(path=video, label=index[label]) for video, label in zip(paths, listed, strict=True)]
    return LabeledVideos(name=str(path), labels=names, videos=videos)


def list_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line of a list; empty lines and ``#`` comments are left out.

    Raises:
        InputFileError: the list cannot be read or is not UTF-8.
    """
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield number, text


def _read_entries(path: Path) -> list[tuple[str, str]]:
    entries: list[tuple[str, str]] = []
    for number, text in list_lines(path):
        match = _ENTRY.fullmatch(text)
        if match is None:
            msg = (
                f"{path}, line {number}: expected 'path label' or 'path,label' with a path that ends in one of "
                f"{' '.join(VIDEO_SUFFIXES)}, got {text[:80]!r}"
            )
            raise InputFileError(msg)
        entries.append((match["path"], match["label"]))
    if not entries:
        msg = f"{path} lists no video; write one 'path label' or 'path,label' a line"
        raise InputFileError(msg)
    return entries


def _name_classes(numbers: list[str], path: Path) -> tuple[list[str], tuple[str, ...]]:
    """The name of each number, and the names of all classes in order."""
    values = [int(number) for number in numbers]
    class_index = path.parent / _CLASS_INDEX
    if class_index.is_file():
        lines = (line.split(maxsplit=1) for line in _read_text(class_index).splitlines() if line.strip())
        classes = {int(fields[0]): fields[-1].strip() for fields in lines if fields[0].isdecimal()}
    else:
        classes = {value: str(value) for value in range(min(max(values), _MAX_NUMBER) + 1)}
    unknown = sorted(set(values) - set(classes))
    if unknown:
        msg = f"{path} has labels {unknown[:5]} that {class_index.name} does not name, or beyond {_MAX_NUMBER}"
        raise InputFileError(msg)
    return [classes[value] for value in values], tuple(classes[value] for value in sorted(classes))


def _check_classes(found: tuple[str, ...], labels: Sequence[str] | None, *, source: Path) -> tuple[str, ...]:
    """The classes of a data set: ``labels``, among which all that were found must be, or, for None, what was found."""
    unknown = sorted(set(found) - set(found if labels is None else labels))
    if unknown:
        expected = ", ".join(list(labels or ())[:10])
        msg = f"{source} has classes {unknown[:5]} that are not among those expected: {expected}"
        raise UsageError(msg)
    return found if labels is None else tuple(labels)


def _find_videos(folder: Path, seen: set[Path]) -> list[Path]:
    """The videos below ``folder``; a folder already in ``seen``, to which a link leads back, is not read again."""
    found: list[Path] = []
    for path in _list_folder(folder):
        if path.is_dir():
            if (real := path.resolve()) not in seen:
                seen.add(real)
                found += _find_videos(path, seen)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            found.append(path)
    return found


def _list_folder(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        msg = f"cannot list the folder {folder}: {error.strerror}"
        raise InputFileError(msg) from error


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_LIST_BYTES:
            msg = f"{path} is larger than {_MAX_LIST_BYTES} bytes, so it is not a list of videos"
            raise InputFileError(msg)
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise InputFileError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path} is not a text file; a list of videos is UTF-8 text, one video a line"
        raise InputFileError(msg) from error

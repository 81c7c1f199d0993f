"""Text files that list videos, one a line, each with a label or without."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from s2tf_edge.data.video_paths import VIDEO_SUFFIXES, is_video_name
from s2tf_edge.errors import InputFileError
from s2tf_edge.text_file import read_text

__all__ = [
    "LIST_SUFFIXES",
    "ListedVideo",
    "check_entries",
    "is_class_number",
    "read_class_index",
    "read_lines",
    "read_list",
    "split_line",
]

LIST_SUFFIXES: Final = (".txt", ".csv")
"""Endings, in lower case, of files that are lists rather than videos, where a file may be either."""

# The ending tells where the path stops, for both paths and labels may hold spaces and commas.
_PATH: Final = rf"(?P<path>.+(?:{'|'.join(re.escape(suffix) for suffix in VIDEO_SUFFIXES)}))"
_UNLABELED: Final = re.compile(_PATH, re.IGNORECASE)
_LABELED: Final = re.compile(rf"{_PATH}(?:\s*,\s*|\s+)(?P<label>.+)", re.IGNORECASE)
_MAX_LIST_BYTES: Final = 256 * 2**20
_MAX_DIGITS: Final = 18


@dataclass(frozen=True, kw_only=True)
class ListedVideo:
    """One line of a list."""

    line: int
    """From 1."""
    path: Path
    """Relative to the list's folder; whatever the line says, where nothing in it ends like a video."""
    label: str | None = None


def read_list(path: Path) -> list[ListedVideo]:
    """The lines of a list: ``path``, ``path label`` or ``path,label``; empty ones and ``#`` comments are left out.

    Raises:
        InputFileError: the list cannot be read or is not UTF-8.
    """
    lines = enumerate(read_lines(path), start=1)
    stripped = ((number, line.strip()) for number, line in lines)
    return [
        _parse(text, line=number, folder=path.parent) for number, text in stripped if text and not text.startswith("#")
    ]


def read_lines(path: Path) -> list[str]:
    """All lines of a list, as they are.

    Raises:
        InputFileError: the list cannot be read or is not UTF-8.
    """
    return read_text(path, max_bytes=_MAX_LIST_BYTES).splitlines()


def read_class_index(path: Path) -> dict[int, str]:
    """The names of numbered classes, from lines such as ``1 ApplyEyeMakeup``.

    Raises:
        InputFileError: the file cannot be read or is not UTF-8.
    """
    lines = (line.split(maxsplit=1) for line in read_lines(path) if line.strip())
    return {int(fields[0]): fields[-1].strip() for fields in lines if is_class_number(fields[0])}


def is_class_number(text: str) -> bool:
    """Whether it is the number of a class: digits, and no more than Python makes a number of."""
    return text.isdecimal() and len(text) <= _MAX_DIGITS


def check_entries(entries: Sequence[ListedVideo], path: Path) -> None:
    """Refuses what ``read_list`` found in ``path``, where it is no list of videos.

    Raises:
        InputFileError: there are none, a line names no video, or only some lines have a label.
    """
    for entry in entries:
        if not is_video_name(entry.path.name):
            text = str(entry.path.relative_to(path.parent) if entry.path.is_relative_to(path.parent) else entry.path)
            is_header = entry is entries[0] and any(is_video_name(other.path.name) for other in entries)
            advice = "; take it out, if it names columns" if is_header else ""
            msg = (
                f"{path}, line {entry.line}: expected 'path', 'path label' or 'path,label' with a path that ends in "
                f"one of {' '.join(VIDEO_SUFFIXES)}, got {text[:80]!r}{advice}"
            )
            raise InputFileError(msg)
    if not entries:
        msg = f"{path} lists no video; write one 'path', 'path label' or 'path,label' a line"
        raise InputFileError(msg)
    bare = [entry.line for entry in entries if entry.label is None]
    if 0 < len(bare) < len(entries):
        labeled = next(entry.line for entry in entries if entry.label is not None)
        msg = f"{path} has a label in line {labeled} and none in line {bare[0]}; give all videos a label, or none"
        raise InputFileError(msg)


def split_line(text: str) -> tuple[str, str | None]:
    """What a line of a list names, and its label; all of a line in which nothing ends like a video is the name."""
    match = None if _UNLABELED.fullmatch(text) else _LABELED.fullmatch(text)
    return (text, None) if match is None else (match["path"], match["label"])


def _parse(text: str, *, line: int, folder: Path) -> ListedVideo:
    name, label = split_line(text)
    return ListedVideo(line=line, path=folder / name, label=label)

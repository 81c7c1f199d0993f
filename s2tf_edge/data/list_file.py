"""Text files that list videos, one a line, each with a label or without."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from s2tf_edge.data.video_paths import VIDEO_SUFFIXES
from s2tf_edge.text_file import read_text

__all__ = ["LIST_SUFFIXES", "ListedVideo", "read_class_index", "read_list"]

LIST_SUFFIXES: Final = (".txt", ".csv")
"""Endings, in lower case, of files that are lists rather than videos, where a file may be either."""

# The ending tells where the path stops, for both paths and labels may hold spaces and commas.
_PATH: Final = rf"(?P<path>.+(?:{'|'.join(re.escape(suffix) for suffix in VIDEO_SUFFIXES)}))"
_UNLABELED: Final = re.compile(_PATH, re.IGNORECASE)
_LABELED: Final = re.compile(rf"{_PATH}(?:\s*,\s*|\s+)(?P<label>.+)", re.IGNORECASE)
_MAX_LIST_BYTES: Final = 256 * 2**20


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
    found = []
    for number, line in enumerate(read_text(path, max_bytes=_MAX_LIST_BYTES).splitlines(), start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            found.append(_parse(text, line=number, folder=path.parent))
    return found


def read_class_index(path: Path) -> dict[int, str]:
    """The names of numbered classes, from lines such as ``1 ApplyEyeMakeup``.

    Raises:
        InputFileError: the file cannot be read or is not UTF-8.
    """
    lines = (line.split(maxsplit=1) for line in read_text(path, max_bytes=_MAX_LIST_BYTES).splitlines() if line.strip())
    return {int(fields[0]): fields[-1].strip() for fields in lines if fields[0].isdecimal()}


def _parse(text: str, *, line: int, folder: Path) -> ListedVideo:
    match = None if _UNLABELED.fullmatch(text) else _LABELED.fullmatch(text)
    if match is None:
        return ListedVideo(line=line, path=folder / text)
    return ListedVideo(line=line, path=folder / match["path"], label=match["label"])

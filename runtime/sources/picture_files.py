"""Numbered pictures in folders: which of them follow on each other."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from s2tf_edge.data.video_paths import find_videos

__all__ = ["PICTURE_SUFFIXES", "PictureFiles", "find_folder", "find_pattern", "group", "is_picture"]

PICTURE_SUFFIXES: Final = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
"""Endings, in lower case, of the files that are taken for pictures."""
_NUMBERED: Final = re.compile(r"(?P<head>.*?)(?P<digits>[0-9]+)(?P<tail>[^0-9]*)", re.DOTALL)
"""A name without its suffix, around the last number in it."""
_PATTERN: Final = re.compile(r"(?P<head>[^%]*)%(?:0(?P<width>[0-9]{1,2}))?d(?P<tail>[^%]*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class PictureFiles:
    """The pictures of one sequence, in order of their numbers."""

    name: str
    paths: tuple[Path, ...]
    numbers: tuple[int, ...]
    """Of each of them."""

    @classmethod
    def of(cls, name: str, numbered: Iterable[tuple[int, Path]]) -> PictureFiles:
        """Those pictures, in whatever order they come."""
        found = sorted(numbered)
        return cls(name=name, paths=tuple(path for _, path in found), numbers=tuple(number for number, _ in found))


def is_picture(path: Path) -> bool:
    """Whether a file's name is that of a picture."""
    return path.suffix.lower() in PICTURE_SUFFIXES


def find_folder(folder: Path) -> list[PictureFiles]:
    """The sequences in a folder and the folders below it; names of one sequence differ in their last number alone.

        shots/frame_0001.jpg  frame_0002.jpg  frame_0004.jpg          one sequence, with a hole
        shots/1_left.png  2_left.png  1_right.png  2_right.png        two

    A picture without a number, or one that is alone, belongs to none.
    """
    found = group(find_videos(folder, is_wanted=lambda name: is_picture(Path(name))))
    folders = [pictures.paths[0].parent for pictures in found]
    # Where a folder holds nothing else, its own name says enough.
    return [
        replace(pictures, name=str(parent)) if folders.count(parent) == 1 else pictures
        for parent, pictures in zip(folders, found, strict=True)
    ]


def find_pattern(text: str) -> PictureFiles | None:
    """The pictures that a pattern such as ``shots/%04d.png`` stands for; None where ``text`` is no such pattern."""
    path = Path(text)
    match = _PATTERN.fullmatch(path.name)
    # Path.exists and is_dir raise where a name is too long for a file.
    if match is None or not is_picture(path) or os.path.exists(path):  # noqa: PTH110
        return None
    width = int(match["width"] or 0)
    name = re.compile(f"{re.escape(match['head'])}([0-9]+){re.escape(match['tail'])}")
    numbered = []
    for file in path.parent.iterdir() if os.path.isdir(path.parent) else ():  # noqa: PTH112
        found = name.fullmatch(file.name)
        if found and len(found[1]) == max(width, len(str(int(found[1])))):
            numbered.append((int(found[1]), file))
    return PictureFiles.of(text, numbered)


def group(paths: Iterable[Path]) -> list[PictureFiles]:
    """The sequences among pictures, in order of their names."""
    groups: dict[tuple[Path, str, str], list[tuple[int, Path]]] = {}
    for path in paths:
        if match := _NUMBERED.fullmatch(path.stem):
            key = (path.parent, match["head"], match["tail"] + path.suffix.lower())
            groups.setdefault(key, []).append((int(match["digits"]), path))
    return [
        PictureFiles.of(str(parent / f"{head}%d{tail}"), numbered)
        for (parent, head, tail), numbered in sorted(groups.items())
        if len(numbered) > 1
    ]

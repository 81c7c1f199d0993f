"""Finding video files in folders and by globs: one way for streams, training, calibration and evaluation.

Paths come sorted. Links are followed, and each real folder is gone through once, so that loops end. Hidden files and
folders are left out, and whatever is neither a file nor a folder, such as a FIFO. Of a suffix, case does not matter.
"""

from __future__ import annotations

import functools
import glob
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, Literal

from s2tf_edge.errors import InputFileError

__all__ = [
    "VIDEO_SUFFIXES",
    "find_videos",
    "is_folder",
    "is_glob",
    "is_video_name",
    "list_folder",
    "match_videos",
    "walk_videos",
]

VIDEO_SUFFIXES: Final = (
    *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"),
)
"""Endings, in lower case, of the files that are taken for videos."""

_ANY_DEPTH: Final = "**"
_SUFFIX: Final = re.compile(r"\.\w+")

logger = logging.getLogger(__name__)


def is_video_name(name: str) -> bool:
    """Whether a file of that name is taken for a video."""
    return Path(name).suffix.lower() in VIDEO_SUFFIXES


def is_folder(path: Path) -> bool:
    """Whether there is a folder.

    Raises:
        InputFileError: that cannot be found out, as a folder on the way must not be entered, or the name is too long.
    """
    try:
        return path.is_dir()
    except OSError as error:
        msg = f"cannot look for {str(path)[:200]}: {error.strerror}"
        raise InputFileError(msg) from error


def is_glob(text: str) -> bool:
    """Whether ``text`` is a pattern rather than the name of something that is there."""
    return glob.has_magic(text) and not is_folder(Path(text)) and not Path(text).exists()


def find_videos(folder: Path, *, is_wanted: Callable[[str], bool] = is_video_name) -> list[Path]:
    """The videos in a folder, at any depth.

    Args:
        folder: links in it are followed, and each folder is gone through once; what is hidden is left out.
        is_wanted: tells by the name of a file whether it is one; another function finds pictures.

    Raises:
        InputFileError: the folder, or one below it, cannot be listed.
    """
    search = _Search()
    files = (entry.path for _, entries in search.walk(folder) for entry in entries if entry.kind == "file")
    return search.finish(path for path in files if is_wanted(path.name))


def walk_videos(folder: Path) -> Iterator[Path]:
    """The videos in a folder as ``find_videos`` has them, each as it is found: of a million no list is made.

    In order of their names, folder by folder; what lies behind links to folders comes last.

    Raises:
        InputFileError: the folder, or one below it, cannot be listed.
    """
    search, seen, links = _Search(), set[tuple[int, int]](), deque([folder])
    while links:
        yield from search.walk_in_order(links.popleft(), seen, links)
    search.finish(())


def list_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """The folders and the files directly in a folder, links to such included, each in order.

    Raises:
        InputFileError: the folder cannot be listed.
    """
    found: dict[str, list[Path]] = {"folder": [], "file": []}
    for entry in _Search().entries(folder):
        found.setdefault(entry.kind, []).append(entry.path)
    return sorted(found["folder"]), sorted(found["file"])


def match_videos(pattern: str) -> list[Path]:
    """The videos that a glob such as ``clips/**/*.mp4`` matches; ``**`` stands for folders at any depth.

    A pattern that ends in another suffix, such as ``*.h264``, asks for those files.

    Raises:
        InputFileError: a folder on the way cannot be listed.
    """
    search, parts = _Search(), Path(pattern).parts
    found = search.match(Path(), parts)
    return search.finish(
        path for path in found if _SUFFIX.fullmatch(Path(parts[-1]).suffix) or is_video_name(path.name)
    )


@dataclass(frozen=True)
class _FolderEntry:
    """What is in a folder under a name."""

    path: Path
    kind: Literal["file", "folder", "broken link", "other"]
    is_link: bool


class _Search:
    """One search, which remembers the broken links on its way to tell of them at its end."""

    def __init__(self) -> None:
        self._broken: dict[Path, None] = {}

    def walk(self, root: Path) -> Iterator[tuple[Path, list[_FolderEntry]]]:
        """``root`` and all folders below it, each once, with what they hold.

        Links wait until no real folder is left: one from a class to another then takes no video of it away.
        """
        seen: set[Path] = set()
        folders, links = deque([root]), deque[Path]()
        while folders or links:
            folder = folders.popleft() if folders else links.popleft()
            real = folder.resolve()
            if real in seen:
                continue
            seen.add(real)
            entries = self.entries(folder)
            yield folder, entries
            for entry in entries:
                if entry.kind == "folder":
                    (links if entry.is_link else folders).append(entry.path)

    def walk_in_order(self, folder: Path, seen: set[tuple[int, int]], links: deque[Path]) -> Iterator[Path]:
        """The videos in ``folder`` that was not gone through before; links to folders are left for later."""
        key = _identity(folder)
        if key in seen:
            return
        seen.add(key)
        for entry in sorted(self.entries(folder), key=lambda entry: entry.path.name):
            if entry.kind == "folder" and entry.is_link:
                links.append(entry.path)
            elif entry.kind == "folder":
                yield from self.walk_in_order(entry.path, seen, links)
            elif entry.kind == "file" and is_video_name(entry.path.name):
                yield entry.path

    def match(self, folder: Path, parts: Sequence[str]) -> Iterator[Path]:
        """The files below ``folder`` that the parts of a pattern match, some perhaps twice."""
        part, rest = parts[0], parts[1:]
        if part == _ANY_DEPTH:
            while rest[:1] == (_ANY_DEPTH,):
                rest = rest[1:]
            for below, _ in self.walk(folder) if is_folder(folder) else ():
                yield from self.match(below, rest or ("*",))
        elif rest and not glob.has_magic(part):
            yield from self.match(folder / part, rest)
        elif is_folder(folder):
            kind = "folder" if rest else "file"
            for entry in self.entries(folder):
                if entry.kind == kind and _fits(entry.path.name, part):
                    yield from self.match(entry.path, rest) if rest else [entry.path]

    def finish(self, paths: Iterable[Path]) -> list[Path]:
        """The paths in order, none of them twice, after telling of broken links."""
        # By parts: how paths themselves compare depends on the version of Python.
        found = sorted(set(paths), key=lambda path: path.parts)
        if self._broken:
            _warn_of_broken_links(len(self._broken), next(iter(self._broken)))
        return found

    def entries(self, folder: Path) -> list[_FolderEntry]:
        """What a folder holds, without what is hidden."""
        try:
            with os.scandir(folder) as found:
                entries = [_look_at(entry) for entry in found if not entry.name.startswith(".")]
        except OSError as error:
            msg = f"cannot list the folder {folder}: {error.strerror}"
            raise InputFileError(msg) from error
        # Of a link to nothing the name alone tells whether it stood for a video, or perhaps for a folder.
        names = (entry.path for entry in entries if entry.kind == "broken link")
        self._broken |= dict.fromkeys(path for path in names if is_video_name(path.name) or not path.suffix)
        return entries


def _identity(folder: Path) -> tuple[int, int]:
    try:
        found = folder.stat()
    except OSError as error:
        msg = f"cannot list the folder {folder}: {error.strerror}"
        raise InputFileError(msg) from error
    return found.st_dev, found.st_ino


def _look_at(entry: os.DirEntry[str]) -> _FolderEntry:
    path, is_link = Path(entry.path), entry.is_symlink()
    try:
        if entry.is_dir():
            return _FolderEntry(path, "folder", is_link)
        if entry.is_file():
            return _FolderEntry(path, "file", is_link)
        return _FolderEntry(path, "other" if path.exists() else "broken link", is_link)
    except OSError:
        # A link to itself, or into a folder that must not be entered.
        return _FolderEntry(path, "broken link", is_link)


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(_lower_suffix(name), _lower_suffix(pattern))


def _lower_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{suffix.lower()}" if dot else name


@functools.lru_cache(maxsize=4096)
def _warn_of_broken_links(count: int, first: Path) -> None:
    """Once, however often a folder is listed."""
    links = "1 link leads nowhere and is" if count == 1 else f"{count} links lead nowhere and are"
    logger.warning("%s left out: %s%s", links, first, "" if count == 1 else " and others")

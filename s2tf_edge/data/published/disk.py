"""What of a published data set lies on the disk: its videos by their names, and the folder of its lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from s2tf_edge.data.video_paths import find_videos, list_folder
from s2tf_edge.words import first_few

__all__ = ["VideoIndex", "describe_folder", "find_list_folder"]

_LIST_FOLDERS: Final = ("annotations", "splits", "lists")
"""What users call the folder that they unpack lists into."""


class VideoIndex:
    """The videos at any depth of a folder, by the name of their class folder and their own.

    Copies that were converted have another suffix, and the lists of UCF101 spell some names with other capitals than
    the files: neither matters, unless there are several such files.
    """

    def __init__(self, root: Path) -> None:
        self._paths: dict[tuple[str, str], list[Path]] = {}
        for path in find_videos(root):
            self._paths.setdefault(_key(path.parent.name, path.name), []).append(path)

    def __len__(self) -> int:
        return len(self._paths)

    def find(self, folder: str, name: str) -> Path | None:
        """The video ``name`` of a class folder; None where there is none."""
        found = self._paths.get(_key(folder, name), [])
        return next((path for path in found if path.name == name), found[0] if found else None)


def find_list_folder(root: Path, *, named: Sequence[str], pattern: str) -> Path | None:
    """The folder whose files match ``pattern``: ``root``, one of those in it, or beside it under one of the names.

    Args:
        root: what the user gave.
        named: what the archives of the authors unpack into.
        pattern: a glob for the lists.
    """
    names = (*named, *_LIST_FOLDERS)
    places = [folder / name for folder in (root, root.absolute().parent) for name in names]
    return next((place for place in (root, *places) if any(place.glob(pattern))), None)


def describe_folder(folder: Path) -> str:
    """What a folder holds, in a few words."""
    folders, files = list_folder(folder)
    names: Iterable[str] = (f"{path.name}/" for path in folders)
    held = [*names, *(path.name for path in files)]
    return f"it holds {first_few(held)}" if held else "it is empty"


def _key(folder: str, name: str) -> tuple[str, str]:
    return folder.casefold(), Path(name).stem.casefold()

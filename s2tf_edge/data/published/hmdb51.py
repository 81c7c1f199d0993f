"""HMDB51 (Kuehne et al., 2011): ``<class>/*.avi`` and, for each class and split, ``<class>_test_split1.txt``.

Lines are ``name.avi 1``: 1 is for training, 2 for testing, 0 for neither. Names hold whatever a keyboard has, ``#``
as their first letter, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from s2tf_edge.data.files import label_files
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.list_file import read_lines
from s2tf_edge.data.listing_checks import check_classes, check_missing
from s2tf_edge.data.published.address import PublishedAddress
from s2tf_edge.data.published.disk import VideoIndex, describe_folder, find_list_folder
from s2tf_edge.data.sides import DataSide, Side, SplitVideos
from s2tf_edge.errors import InputFileError

__all__ = ["read_hmdb51"]

_FOLDER: Final = "testTrainMulti_7030_splits"
_FOLDERS: Final = (_FOLDER, f"test_train_splits/{_FOLDER}", "test_train_splits")
_SIDES: Final[dict[str, Side | None]] = {"0": None, "1": "train", "2": "test"}


class _HmdbEntry(NamedTuple):
    label: str
    name: str
    side: Side | None


def read_hmdb51(address: PublishedAddress) -> SplitVideos:
    """One of the three published splits.

    Raises:
        InputFileError: lists or videos are missing, or a line is malformed.
    """
    lists = find_list_folder(address.root, named=_FOLDERS, pattern="*_test_split?.txt")
    if lists is None:
        msg = (
            f"{address.root} has no list of HMDB51, neither in itself nor in {_FOLDER}: {describe_folder(address.root)}"
            "; unpack test_train_splits.rar into it, which has a file such as wave_test_split1.txt for each class"
        )
        raise InputFileError(msg)
    ending = f"_test_split{address.split}.txt"
    paths = sorted(lists.glob(f"*{ending}"))
    if not paths:
        msg = f"{lists} has no list of split={address.split}, such as wave{ending}; {describe_folder(lists)}"
        raise InputFileError(msg)
    entries = [entry for path in paths for entry in _read(path, path.name.removesuffix(ending))]
    classes = tuple(path.name.removesuffix(ending) for path in paths)
    index = VideoIndex(address.root)
    sides: dict[Side, DataSide] = {}
    for side in ("train", "test"):
        own, title = [entry for entry in entries if entry.side == side], f"the {side} side of *{ending}"
        if own:
            source = f"{lists} ({title})"
            sides[side] = DataSide(title=title, open=partial(_open, source, own, classes, index))
    if not sides:
        msg = f"the lists *{ending} in {lists} name no video for training or testing; unpack them again"
        raise InputFileError(msg)
    return SplitVideos(name=address.text, sides=sides, part=address.part, is_published=True)


def _read(path: Path, label: str) -> list[_HmdbEntry]:
    entries = []
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            name, *flag = line.rsplit(maxsplit=1)
            if len(flag) != 1 or flag[0] not in _SIDES:
                got = repr(line.strip()[:80])
                msg = f"{path}, line {number}: expected 'name.avi 1' with a 0, 1 or 2 at its end, got {got}"
                raise InputFileError(msg)
            entries.append(_HmdbEntry(label=label, name=name.strip(), side=_SIDES[flag[0]]))
    return entries


def _open(
    source: str,
    entries: Sequence[_HmdbEntry],
    classes: tuple[str, ...],
    index: VideoIndex,
    labels: Sequence[str] | None,
) -> LabeledVideos:
    found = [(index.find(entry.label, entry.name), entry) for entry in entries]
    missing = [f"{entry.label}/{entry.name}" for video, entry in found if video is None]
    check_missing(missing, listed=len(entries), source=source)
    pairs = [(video, entry.label) for video, entry in found if video is not None]
    return label_files(source, pairs, labels=check_classes(classes, labels, source=source))

"""UCF101 (Soomro et al., 2012): ``UCF-101/<Class>/v_*.avi``, ``trainlist01.txt``, ``testlist01.txt``, ``classInd.txt``.

Lines of training lists are ``ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1``; those of test lists have no number.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from s2tf_edge.data.files import label_files
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.list_file import ListedVideo, check_entries, read_class_index, read_list
from s2tf_edge.data.listing_checks import check_classes, check_missing
from s2tf_edge.data.published.address import PublishedAddress
from s2tf_edge.data.published.disk import VideoIndex, describe_folder, find_list_folder
from s2tf_edge.data.sides import DataSide, Side, SplitVideos
from s2tf_edge.errors import InputFileError

__all__ = ["read_ucf101"]

_ARCHIVE: Final = "UCF101TrainTestSplits-RecognitionTask"
_FOLDERS: Final = ("ucfTrainTestlist", f"{_ARCHIVE}/ucfTrainTestlist", _ARCHIVE)
_CLASS_INDEX: Final = "classInd.txt"
_SIDES: Final[tuple[Side, ...]] = ("train", "test")


def read_ucf101(address: PublishedAddress) -> SplitVideos:
    """One of the three published splits.

    Raises:
        InputFileError: lists or videos are missing, or do not fit together.
    """
    lists = find_list_folder(address.root, named=_FOLDERS, pattern="t*list0?.txt")
    if lists is None:
        msg = (
            f"{address.root} has no list of UCF101, in itself or in {_FOLDERS[0]}: "
            f"{describe_folder(address.root)}; unpack {_ARCHIVE}.zip into it, which has trainlist01.txt and others"
        )
        raise InputFileError(msg)
    paths = {side: lists / f"{side}list0{address.split}.txt" for side in _SIDES}
    for path in paths.values():
        if not path.is_file():
            msg = f"{path} does not exist, which split={address.split} needs; {describe_folder(lists)}"
            raise InputFileError(msg)
    entries = {side: read_list(path) for side, path in paths.items()}
    for side, path in paths.items():
        check_entries(entries[side], path)
    classes = _UcfClasses(lists, [entry for side in _SIDES for entry in entries[side]])
    index = VideoIndex(address.root)
    sides = {
        side: DataSide(title=path.name, open=partial(_open, path, entries[side], classes, index))
        for side, path in paths.items()
    }
    return SplitVideos(name=address.text, sides=sides, part=address.part, is_published=True)


class _UcfClasses:
    """Names of the classes in their published order, by any spelling of them, or by number."""

    def __init__(self, lists: Path, entries: Sequence[ListedVideo]) -> None:
        path = lists / _CLASS_INDEX
        numbered = read_class_index(path) if path.is_file() else {}
        names = numbered or dict(enumerate(sorted({entry.path.parent.name for entry in entries}), start=1))
        self.names = tuple(names[number] for number in sorted(names))
        self._by_number = {str(number): name for number, name in numbered.items()}
        self._by_spelling = {name.casefold(): name for name in self.names}

    def name_of(self, entry: ListedVideo, path: Path) -> str:
        """The class of a line: that of its folder, which its number says once more."""
        folder = entry.path.parent.name
        name = self._by_spelling.get(folder.casefold())
        if name is None:
            msg = f"{path}, line {entry.line}: {_CLASS_INDEX} has no class {folder!r}"
            raise InputFileError(msg)
        numbered = self._by_number.get(entry.label or "", name)
        if numbered != name:
            msg = (
                f"{path}, line {entry.line}: {entry.label} is {numbered} by {_CLASS_INDEX}, not {folder} as the folder"
            )
            raise InputFileError(msg)
        return name


def _open(
    path: Path, entries: Sequence[ListedVideo], classes: _UcfClasses, index: VideoIndex, labels: Sequence[str] | None
) -> LabeledVideos:
    found = [(index.find(entry.path.parent.name, entry.path.name), entry) for entry in entries]
    missing = [f"{entry.path.parent.name}/{entry.path.name}" for video, entry in found if video is None]
    check_missing(missing, listed=len(entries), source=str(path))
    pairs = [(video, classes.name_of(entry, path)) for video, entry in found if video is not None]
    return label_files(path, pairs, labels=check_classes(classes.names, labels, source=path))

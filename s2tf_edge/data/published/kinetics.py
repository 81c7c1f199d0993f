"""Kinetics (Kay et al., 2017): ``train.csv`` and ``val.csv`` by YouTube id and time, or ``train/<class>`` folders.

The authors' files have a header, ``label,youtube_id,time_start,time_end,split``; downloads are called
``<id>_000012_000022.mp4``, with the seconds of the cut, or ``<id>.mp4``, in a folder for the side or one for each
class.
Lists of ``path label`` under the same names, as SlowFast has them, are taken as well.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from s2tf_edge.data.files import label_files, open_list
from s2tf_edge.data.list_file import read_lines
from s2tf_edge.data.listing_checks import check_classes, check_missing
from s2tf_edge.data.published.address import PublishedAddress
from s2tf_edge.data.published.disk import describe_folder
from s2tf_edge.data.ready_split import read_ready_split
from s2tf_edge.data.sides import SIDES, SIDES_BY_NAME, DataSide, Side, SplitVideos
from s2tf_edge.data.video_paths import find_videos
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError

__all__ = ["is_kinetics_csv", "open_kinetics_csv", "read_kinetics"]

_FOLDERS: Final = ("", "annotations", "kinetics400", "kinetics", "k400/annotations")
_CSV: Final = re.compile(rf"(?:.*[_-])?({'|'.join(SIDES_BY_NAME)})\.csv")
_ID: Final = "youtube_id"
_MAX_MISSING: Final = 0.5
"""Videos vanish from YouTube, and nobody has all; where most are missing, it is the wrong folder."""


class _KineticsRow(NamedTuple):
    label: str
    names: tuple[str, ...]
    """What the file may be called, without its suffix."""


def read_kinetics(address: PublishedAddress) -> SplitVideos:
    """The sides that are there.

    Raises:
        InputFileError: there are neither lists with classes nor folders of sides, or most videos are missing.
    """
    root = address.root
    lists = _find_lists(root)
    sides = _read_sides(root, lists)
    if not sides:
        found = read_ready_split(root)
        if found is None:
            raise _nothing(root, lists)
        sides = dict(found.sides)
    return SplitVideos(name=address.text, sides=sides, part=address.part, is_published=True)


def is_kinetics_csv(path: Path) -> bool:
    """Whether a list is one of the authors', by its header."""
    return path.suffix.lower() == ".csv" and _ID in _header(path)


def open_kinetics_csv(path: Path, *, labels: Sequence[str] | None = None) -> Videos:
    """The videos of one of the authors' lists, at any depth of its folder.

    Raises:
        InputFileError: the list cannot be read, has no classes, or most of its videos are missing.
    """
    rows = _read_rows(path)
    if not rows:
        msg = f"{path} names no class of any video; give train.csv or val.csv, whose first column is label"
        raise InputFileError(msg)
    return _open(path, rows, _index(path.parent), labels)


def _find_lists(root: Path) -> dict[Side, Path]:
    for folder in (root / name for name in _FOLDERS):
        named = [(path, _CSV.fullmatch(path.name.lower())) for path in sorted(folder.glob("*.csv"))]
        found = {SIDES_BY_NAME[match[1]]: path for path, match in named if match}
        if found:
            return {side: found[side] for side in SIDES if side in found}
    return {}


def _read_sides(root: Path, lists: Mapping[Side, Path]) -> dict[Side, DataSide]:
    """Sides of which there is something; the one for testing has no classes in some releases, and seldom videos."""
    if not lists:
        return {}
    index = _index(root)
    sides = {}
    for side, path in lists.items():
        if not is_kinetics_csv(path):
            sides[side] = DataSide(title=path.name, open=partial(_open_plain, path))
            continue
        rows = _read_rows(path)
        if any(_find(row, index) for row in rows) if side == "test" else rows:
            sides[side] = DataSide(title=path.name, open=partial(_open, path, rows, index))
    return sides


def _nothing(root: Path, lists: Mapping[Side, Path]) -> InputFileError:
    if not lists:
        return InputFileError(
            f"{root} has neither train.csv and val.csv nor folders train/<class> and val/<class>: "
            f"{describe_folder(root)}; give the folder that has them"
        )
    names = " and ".join(path.name for path in lists.values())
    return InputFileError(
        f"{root}: no class of any video is in {names}; put train.csv and val.csv there, whose first column is label, "
        "or folders train/<class> and val/<class>"
    )


def _open_plain(path: Path, labels: Sequence[str] | None) -> Videos:
    return open_list(path, labels=labels)


def _open(path: Path, rows: Sequence[_KineticsRow], index: Mapping[str, Path], labels: Sequence[str] | None) -> Videos:
    found = [(_find(row, index), row) for row in rows]
    missing = [row.names[0] for video, row in found if video is None]
    check_missing(missing, listed=len(rows), source=str(path), allowed=_MAX_MISSING)
    pairs = [(video, row.label) for video, row in found if video is not None]
    classes = tuple(sorted({row.label for row in rows}))
    return label_files(path, pairs, labels=check_classes(classes, labels, source=path))


def _index(root: Path) -> dict[str, Path]:
    return {path.stem: path for path in find_videos(root)}


def _find(row: _KineticsRow, index: Mapping[str, Path]) -> Path | None:
    return next((index[name] for name in row.names if name in index), None)


def _header(path: Path) -> list[str]:
    """The names of the columns; none of a file whose first line is no line of a table."""
    try:
        first = next(csv.reader(read_lines(path)[:1]), [])
    except csv.Error:
        return []
    return [name.strip().lower() for name in first]


def _read_rows(path: Path) -> list[_KineticsRow]:
    """The rows that have a class."""
    names = _header(path)
    try:
        rows = list(csv.reader(read_lines(path)[1:]))
    except csv.Error as error:
        msg = f"cannot read {path} as a table: {error}; download the list again"
        raise InputFileError(msg) from error
    fields = (dict(zip(names, (text.strip() for text in row), strict=False)) for row in rows)
    return [_KineticsRow(label=row["label"], names=_names(row, path)) for row in fields if row.get("label")]


def _names(row: Mapping[str, str], path: Path) -> tuple[str, ...]:
    video = row.get(_ID, "")
    times = (row.get("time_start", ""), row.get("time_end", ""))
    if not video:
        msg = f"{path} has a row of the class {row['label']} without {_ID}; download the list again"
        raise InputFileError(msg)
    try:
        start, end = (int(float(text)) for text in times)
    except (ValueError, OverflowError):
        return (video,)
    return f"{video}_{start:06d}_{end:06d}", f"{video}_{start}_{end}", video

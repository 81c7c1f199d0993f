"""Data sets by what a user calls them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from s2tf_edge.data.container import redacted
from s2tf_edge.data.files import open_files, open_folder, open_list
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.published import is_published, open_published, published_from_any_folder
from s2tf_edge.data.published.kinetics import is_kinetics_csv, open_kinetics_csv
from s2tf_edge.data.ready_split import read_ready_split
from s2tf_edge.data.scenes import LABELS
from s2tf_edge.data.sides import SplitVideos, Use
from s2tf_edge.data.splits import split_by_group
from s2tf_edge.data.synthetic import synthetic_videos
from s2tf_edge.data.video_paths import is_folder, is_glob, is_video_name
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.file_kinds import VIDEOS, check_kind

__all__ = [
    "find_split",
    "from_any_folder",
    "open_data",
    "open_videos",
    "open_whole",
    "require_labels",
    "share_of",
    "split",
]

_SYNTHETIC: Final = "synthetic"
_LABELED: Final = (
    "a folder of class folders, a list file of 'path label' lines, 'ucf101:ROOT', 'hmdb51:ROOT', 'kinetics:ROOT' or "
    "'synthetic'"
)
_SHARE: Final = "0.2"
"""Of the videos, to validate on where nothing else is said."""
_UNLABELED: Final = "a folder, glob or list of videos, or one video"
_OPTIONS: Final[dict[str, Callable[[str], Any]]] = {"clips": int, "split": str, "seed": int}


def open_videos(data: str | Path, *, labels: Sequence[str] | None = None, use: Use = "test") -> Videos:
    """A data set, whose videos may have no labels.

    Args:
        data: one of

            - a folder of class folders, or of videos without labels: see ``s2tf_edge.data.files.open_folder``;
            - a folder that comes split: see ``s2tf_edge.data.ready_split``;
            - a list file of ``path``, ``path label`` or ``path,label`` lines: see ``s2tf_edge.data.files.open_list``;
            - ``ucf101:ROOT?split=1``, ``hmdb51:ROOT?split=1`` or ``kinetics:ROOT``, each with ``part=train`` where that
              side is wanted: see ``s2tf_edge.data.published``;
            - a glob such as ``clips/**/*.mp4``, or one video: without labels;
            - ``synthetic``, or ``synthetic?clips=400&split=train&seed=0``: see ``s2tf_edge.data.synthetic``.
        labels: names of the classes in the order to count them; None for those of the data set.
        use: which side is taken of what comes split: ``train`` to calibrate or to learn, ``val`` to validate on,
            ``test`` to measure on.

    Returns:
        ``LabeledVideos`` where they have labels.

    Raises:
        InputFileError: nothing is there, it holds no videos, listed videos are missing, or a class is not in
            ``labels``.
        UsageError: an option of a data set is unknown or its value not allowed.
    """
    sides = find_split(data)
    return open_whole(data, labels=labels) if sides is None else sides.open(use, labels=labels)


def find_split(data: str | Path) -> SplitVideos | None:
    """The sides of what comes split, None of any other data.

    Raises:
        InputFileError: a folder or a list of it cannot be read, or is not what it should be.
        UsageError: an option of a published data set is unknown or its value not allowed.
    """
    path = Path(data)
    if is_folder(path):
        return read_ready_split(path)
    return open_published(str(data)) if is_published(str(data)) else None


def open_whole(data: str | Path, *, labels: Sequence[str] | None = None) -> Videos:
    """What does not come split; arguments and errors as for ``open_videos``."""
    text, path = str(data), Path(data)
    if is_folder(path):
        return open_folder(path, labels=labels)
    if _is_synthetic(text):
        return _open_synthetic(text.partition("?")[2], labels)
    if path.is_file():
        return _open_file(path, labels)
    if is_glob(text) and "://" not in text:
        return open_files(text)
    # An address may hold a password.
    msg = f"{redacted(text)} does not exist; give {_LABELED}; or, where labels are not needed, {_UNLABELED}"
    raise InputFileError(msg)


def open_data(data: str | Path, *, labels: Sequence[str] | None = None, use: Use = "test") -> LabeledVideos:
    """A data set whose videos have labels; arguments and errors as for ``open_videos``.

    Raises:
        InputFileError: they have none, too.
    """
    return require_labels(open_videos(data, labels=labels, use=use))


def require_labels(videos: Videos) -> LabeledVideos:
    """The same videos, which must have labels.

    Raises:
        InputFileError: they have none.
    """
    if isinstance(videos, LabeledVideos):
        return videos
    msg = f"the videos of {videos.name} have no labels, which are needed here; give {_LABELED}"
    raise InputFileError(msg)


def from_any_folder(data: str) -> str:
    """A data set's name, by which it is found from any folder: paths and globs are made absolute."""
    if Path(data).exists():
        return str(Path(data).absolute())
    if is_published(data):
        return published_from_any_folder(data)
    return str(Path(data).absolute()) if is_glob(data) and not _is_synthetic(data) else data


def split(
    videos: LabeledVideos, validation: str | None = None, *, group_by: str | None = None, seed: int = 0
) -> tuple[LabeledVideos, LabeledVideos]:
    """Training and validation videos.

    Args:
        videos: the data set.
        validation: the share of it to validate on, such as ``0.2``, which is what None stands for; 0 for none of it; or
            another data set, as ``open_data`` takes it.
        group_by: as in ``split_by_group``; only with a share above 0.
        seed: of the draw.

    Raises:
        InputFileError: the other data set cannot be read, or has classes that ``videos`` lacks.
        UsageError: the share or ``group_by`` is not allowed.
    """
    share = share_of(validation)
    if group_by is not None and not share:
        there = f"{validation} is there to validate on" if share is None else "all videos are trained on"
        msg = (
            f"`group_by` splits one data set in two, but {there}; leave `group_by` out, or give a share such as "
            "`validation=0.2`"
        )
        raise UsageError(msg)
    if share is None:
        return videos, open_data(str(validation), labels=videos.labels, use="val")
    if not share:
        return videos, videos.subset([])
    return split_by_group(videos, fraction=share, group_by=group_by, seed=seed)


def share_of(validation: str | None) -> float | None:
    """The share that ``validation`` of ``split`` asks for; None where it names a data set."""
    try:
        return float(_SHARE if validation is None else validation)
    except ValueError:
        return None


def _open_file(path: Path, labels: Sequence[str] | None) -> Videos:
    if is_video_name(path.name):
        return open_files(str(path))
    check_kind(path, VIDEOS)
    return open_kinetics_csv(path, labels=labels) if is_kinetics_csv(path) else open_list(path, labels=labels)


def _is_synthetic(data: str) -> bool:
    return data.partition("?")[0] == _SYNTHETIC and not Path(data).exists()


def _open_synthetic(query: str, labels: Sequence[str] | None) -> LabeledVideos:
    options: dict[str, Any] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in _OPTIONS:
            msg = f"synthetic has no option {key!r}; it takes {', '.join(_OPTIONS)}, as in 'synthetic?clips=400&seed=1'"
            raise UsageError(msg)
        try:
            options[key] = _OPTIONS[key](value)
        except ValueError as error:
            msg = f"synthetic takes a whole number for {key}, got {value!r}"
            raise UsageError(msg) from error
    if labels is not None and tuple(labels) != LABELS:
        msg = f"synthetic has the classes {', '.join(LABELS)}, not those expected: {', '.join(list(labels)[:10])}"
        raise InputFileError(msg)
    name = f"{_SYNTHETIC}?{query}" if query else _SYNTHETIC
    return dataclasses.replace(synthetic_videos(**options), name=name)

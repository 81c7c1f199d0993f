"""Data sets by what a user calls them, and their split into training and validation videos."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from s2tf_edge.data.container import redacted
from s2tf_edge.data.files import open_files, open_folder, open_list
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.scenes import LABELS
from s2tf_edge.data.splits import split_by_group
from s2tf_edge.data.synthetic import synthetic_videos
from s2tf_edge.data.video_paths import is_folder, is_glob, is_video_name
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.file_kinds import VIDEOS, check_kind

__all__ = ["from_any_folder", "open_data", "open_videos", "split"]

_SYNTHETIC: Final = "synthetic"
_LABELED: Final = "a folder of class folders, a list file of 'path label' lines, or 'synthetic'"
_UNLABELED: Final = "a folder, glob or list of videos, or one video"
_OPTIONS: Final[dict[str, Callable[[str], Any]]] = {"clips": int, "split": str, "seed": int}


def open_videos(data: str | Path, *, labels: Sequence[str] | None = None) -> Videos:
    """A data set, whose videos may have no labels.

    Args:
        data: one of

            - a folder of class folders, or of videos without labels: see ``s2tf_edge.data.files.open_folder``;
            - a list file of ``path``, ``path label`` or ``path,label`` lines: see ``s2tf_edge.data.files.open_list``;
            - a glob such as ``clips/**/*.mp4``, or one video: without labels;
            - ``synthetic``, or ``synthetic?clips=400&split=train&seed=0``: see ``s2tf_edge.data.synthetic``.
        labels: names of the classes in the order to count them; None for those of the data set.

    Returns:
        ``LabeledVideos`` where they have labels.

    Raises:
        InputFileError: nothing is there, it holds no videos, or a listed video is missing.
        UsageError: an option of ``synthetic`` is unknown or its value not allowed, or a class is not in ``labels``.
    """
    text, path = str(data), Path(data)
    if is_folder(path):
        return open_folder(path, labels=labels)
    if _is_synthetic(text):
        return _open_synthetic(text.partition("?")[2], labels)
    if path.is_file():
        if is_video_name(path.name):
            return open_files(text)
        check_kind(path, VIDEOS)
        return open_list(path, labels=labels)
    if is_glob(text) and "://" not in text:
        return open_files(text)
    # An address may hold a password.
    msg = f"{redacted(text)} does not exist; give {_LABELED}; or, where labels are not needed, {_UNLABELED}"
    raise InputFileError(msg)


def open_data(data: str | Path, *, labels: Sequence[str] | None = None) -> LabeledVideos:
    """A data set whose videos have labels; arguments and errors as for ``open_videos``.

    Raises:
        InputFileError: they have none, too.
    """
    videos = open_videos(data, labels=labels)
    if isinstance(videos, LabeledVideos):
        return videos
    msg = f"the videos of {data} have no labels, which are needed here; give {_LABELED}"
    raise InputFileError(msg)


def from_any_folder(data: str) -> str:
    """A data set's name, by which it is found from any folder: paths and globs are made absolute."""
    is_path = Path(data).exists() or (is_glob(data) and not _is_synthetic(data))
    return str(Path(data).absolute()) if is_path else data


def split(
    videos: LabeledVideos, validation: str, *, group_by: str | None = None, seed: int = 0
) -> tuple[LabeledVideos, LabeledVideos]:
    """Training and validation videos.

    Args:
        videos: the data set.
        validation: the share of it to validate on, such as ``0.2``, or another data set, as ``open_data`` takes it.
        group_by: as in ``split_by_group``; only with a share.
        seed: of the draw.

    Raises:
        InputFileError: the other data set cannot be read.
        UsageError: the share or ``group_by`` is not allowed, or the other data set has classes that ``videos`` lacks.
    """
    try:
        fraction = float(validation)
    except ValueError:
        if group_by is not None:
            msg = f"group-by splits one data set in two, but {validation} is a second one; leave one of the two out"
            raise UsageError(msg) from None
        return videos, open_data(validation, labels=videos.labels)
    return split_by_group(videos, fraction=fraction, group_by=group_by, seed=seed)


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
        raise UsageError(msg)
    name = f"{_SYNTHETIC}?{query}" if query else _SYNTHETIC
    return dataclasses.replace(synthetic_videos(**options), name=name)

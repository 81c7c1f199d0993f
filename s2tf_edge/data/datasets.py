"""Data sets by what a user calls them, and their split into training and validation videos."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from s2tf_edge.data.files import open_folder, open_list
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.scenes import LABELS
from s2tf_edge.data.splits import split_by_group
from s2tf_edge.data.synthetic import synthetic_videos
from s2tf_edge.errors import InputFileError, UsageError

__all__ = ["open_data", "split"]

_SYNTHETIC: Final = "synthetic"
_OPTIONS: Final[dict[str, Callable[[str], Any]]] = {"clips": int, "split": str, "seed": int}


def open_data(data: str | Path, *, labels: Sequence[str] | None = None) -> LabeledVideos:
    """A data set.

    Args:
        data: one of

            - a folder of class folders: see ``s2tf_edge.data.files.open_folder``;
            - a list file of ``path label`` or ``path,label`` lines: see ``s2tf_edge.data.files.open_list``;
            - ``synthetic``, or ``synthetic?clips=400&split=train&seed=0``: see ``s2tf_edge.data.synthetic``.
        labels: names of the classes in the order to count them; None for those of the data set.

    Raises:
        InputFileError: nothing is there, it holds no videos, or a listed video is missing.
        UsageError: an option of ``synthetic`` is unknown or its value not allowed, or a class is not in ``labels``.
    """
    name, _, query = str(data).partition("?")
    path = Path(data)
    if name == _SYNTHETIC and not path.exists():
        return _open_synthetic(query, labels)
    if path.is_dir():
        return open_folder(path, labels=labels)
    if path.is_file():
        return open_list(path, labels=labels)
    msg = f"{data} does not exist; give a folder of class folders, a list file of 'path label' lines, or 'synthetic'"
    raise InputFileError(msg)


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

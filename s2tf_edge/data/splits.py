"""Splitting a data set into training and validation videos, the same way every time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.words import counted

__all__ = ["group_of", "split_by_group"]

Scalar = TypeVar("Scalar", bound=np.generic)


def split_by_group(
    videos: LabeledVideos, *, fraction: float, group_by: str | None = None, seed: int = 0
) -> tuple[LabeledVideos, LabeledVideos]:
    """Sets a share of the videos aside for validation.

    Args:
        videos: what to split.
        fraction: share of each class to validate on; with ``group_by``, share of the groups.
        group_by: a regular expression, searched for in each file's name; videos of which its first group is the same (a
            person, a long video that was cut up) stay on one side. None to draw from each class alone.
        seed: of the draw.

    Returns:
        Training and validation videos, each in the order of ``videos``.

    Raises:
        UsageError: the fraction lies outside (0, 1), there is too little to split, or ``group_by`` is not valid or does
            not match a name.
    """
    if not 0 < fraction < 1:
        msg = f"the share of validation videos must lie between 0 and 1, got {fraction}"
        raise UsageError(msg)
    rng = np.random.default_rng(seed)
    groups = [group_of(video.name, group_by) for video in videos.videos] if group_by is not None else None
    if groups is None:
        labels = np.array([video.label for video in videos.videos])
        chosen = np.concatenate([_draw(np.flatnonzero(labels == label), fraction, rng) for label in np.unique(labels)])
    else:
        chosen = np.flatnonzero(np.isin(groups, _draw(np.unique(groups), fraction, rng)))
    aside = set(chosen.tolist())
    kept = [index for index in range(len(videos)) if index not in aside]
    if not aside or not kept:
        what = counted(len(set(groups)), "group") if groups else counted(len(videos), "video")
        msg = f"cannot split {what} of {videos.name} in two; give more videos, or a list file to validate on"
        raise UsageError(msg)
    return videos.subset(kept), videos.subset(sorted(aside))


def group_of(name: str, pattern: str) -> str:
    """The first group of ``pattern`` in the file's name of a video.

    Raises:
        UsageError: the pattern is not valid, or does not match.
    """
    file_name = Path(name).name
    try:
        match = re.search(pattern, file_name)
        group = match[1] if match else None
    except (re.error, IndexError) as error:
        msg = f"`group_by` needs a regular expression with a group, such as '^([a-z]+)_', got {pattern!r} ({error})"
        raise UsageError(msg) from error
    if group is None:
        msg = f"`group_by` {pattern!r} does not match {file_name}; it must find a group in the name of every video"
        raise UsageError(msg)
    return str(group)


def _draw(items: NDArray[Scalar], fraction: float, rng: np.random.Generator) -> NDArray[Scalar]:
    """A share of ``items``: one or more, but never all, except that one alone is not drawn."""
    count = min(max(1, round(fraction * len(items))), len(items) - 1)
    return rng.permutation(items)[:count]

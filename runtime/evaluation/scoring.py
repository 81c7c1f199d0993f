"""Runs a network over videos, in units that one process or another takes whole.

A unit is as many videos as fill one run of the network, or a single one. Clips of two units never share a run, so that
what is computed of a video does not depend on which process does it, nor on how many there are.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.data.videos import Video, Videos
from s2tf_edge.errors import InputFileError
from s2tf_edge.process_group import ProcessGroup
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.evaluation.views import Views
from s2tf_edge.runtime.session import Clips, Session
from s2tf_edge.runtime.statistics import softmax
from s2tf_edge.spec import ClipSpec
from s2tf_edge.words import first_few, one_line

__all__ = ["ScoredVideos", "Scorer", "first_clip", "score_units", "score_videos"]

logger = logging.getLogger(__name__)

_ANY_BATCH: Final = 8
"""Clips at once, at most, where the network takes any number."""
_BATCH_BYTES: Final = 256 * 2**20
"""Their memory, at most, unless a single one has more."""


@dataclass(kw_only=True)
class ScoredVideos:
    """What is known of some videos, by their place in the data set."""

    scores: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    """Float64 [K]: softmax, averaged over the views."""
    failures: dict[int, str] = field(default_factory=dict)
    """What is wrong with those that cannot be read."""


class Scorer(Protocol):
    """Who scores units, if not the processes of a group: workers that have session and videos of their own."""

    def __call__(self, units: Sequence[range], *, progress: Progress) -> Iterator[ScoredVideos]:
        """What comes of all units, in any order and any parts."""


def score_videos(
    session: Session,
    data: Videos,
    *,
    views: Views,
    group: ProcessGroup | None = None,
    scorer: Scorer | None = None,
    progress: Progress = no_progress,
) -> ScoredVideos:
    """Scores the videos of a data set, and says which cannot be read.

    Args:
        session: open, unless there is a ``scorer``.
        data: with labels or without.
        views: of each video.
        group: the processes that share the work; each gets the scores of all.
        scorer: does all the work instead.
        progress: called after each video that this process scores.

    Raises:
        InputFileError: not one video could be read.
    """
    group = group or ProcessGroup()
    size = max(1, (session.info.batch or 1) // views.count)
    units = [range(first, min(first + size, len(data))) for first in range(0, len(data), size)]
    mine = units[group.rank :: group.size]
    found = ScoredVideos()
    parts = (
        scorer(units, progress=progress)
        if scorer is not None
        else group.share(lambda: score_units(session, data.videos, mine, views, progress=progress))
    )
    for part in parts:
        found.scores |= part.scores
        found.failures |= part.failures
    _report([found.failures[index] for index in sorted(found.failures)], total=len(data), name=data.name)
    return found


def score_units(
    session: Session,
    videos: Sequence[Video],
    units: Sequence[range],
    views: Views,
    *,
    progress: Progress = no_progress,
) -> ScoredVideos:
    """Scores some units: ranges of places in the data set, none of which shares a run of the network with another."""
    counted = _VideoCount(progress, total=sum(map(len, units)))
    found = ScoredVideos()
    most = session.info.batch or _clips_at_once(session.info.spec)
    for unit in units:
        clips = _clips(videos, unit, views, session.info.spec, found.failures, counted)
        # No more clips in memory than one run takes: all views of a long video can be gigabytes.
        while some := list(itertools.islice(clips, most)):
            for (index, _), row in zip(some, softmax(session.infer(_stack(some)).logits), strict=True):
                found.scores[index] = found.scores.get(index, 0) + row / views.count
    # One that cannot be read to its end may have given some clips before.
    for index in found.failures:
        found.scores.pop(index, None)
    return found


class _VideoCount:
    """Counts videos for a progress listener."""

    def __init__(self, progress: Progress, *, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def add(self) -> None:
        self._done += 1
        self._progress(self._done, self._total)


def first_clip(data: Videos, spec: ClipSpec) -> Clips:
    """The centered clip of the first video that can be read: [1, ...] in the layout and dtype of ``spec``.

    Raises:
        InputFileError: not one video can be read.
    """
    failures: dict[int, str] = {}
    counted = _VideoCount(no_progress, total=len(data))
    for first in _clips(data.videos, range(len(data)), Views(), spec, failures, counted):
        return _stack([first])
    raise _none_readable(list(failures.values()), data.name)


def _clips_at_once(spec: ClipSpec) -> int:
    one = int(np.prod(spec.input_shape())) * np.dtype(spec.dtype).itemsize
    return max(1, min(_ANY_BATCH, _BATCH_BYTES // one))


def _clips(
    videos: Sequence[Video], unit: range, views: Views, spec: ClipSpec, failures: dict[int, str], counted: _VideoCount
) -> Iterator[tuple[int, Clips]]:
    """All views of some videos, each with the index of its video; one that fails may have given some before."""
    for index in unit:
        try:
            for clip in views.clips(videos[index], spec):
                yield index, clip
        except InputFileError as error:
            failures[index] = one_line(error)
        counted.add()


def _stack(group: Sequence[tuple[int, Clips]]) -> Clips:
    stacked: Clips = np.stack([clip for _, clip in group])  # type: ignore[assignment]  # forgets which of two dtypes
    return stacked


def _report(failures: Sequence[str], *, total: int, name: str) -> None:
    if len(failures) == total:
        raise _none_readable(failures, name)
    if failures:
        few = first_few(failures, 3, separator="; ")
        logger.warning("%d of %d videos could not be read and are left out: %s", len(failures), total, few)


def _none_readable(failures: Sequence[str], name: str) -> InputFileError:
    if not failures:
        return InputFileError(f"{name} holds no videos; give a data set with one video or more")
    return InputFileError(f"none of the {len(failures)} videos of {name} could be read; the first: {failures[0]}")

"""What a session says of videos, from one centered clip or from several views of each; with labels, its accuracy.

with open_session("model_openvino_int8") as session:
    evaluation = evaluate(session, open_data("clips/test"), views=Views(temporal=10, spatial=3))
print(evaluation.top1.percent, evaluation.n)
"""

from __future__ import annotations

import difflib
import itertools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.videos import Video, Videos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.preprocess import preprocess
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.evaluation.accuracy import Evaluation
from s2tf_edge.runtime.evaluation.predictions import Predictions
from s2tf_edge.runtime.session import Clips, Session
from s2tf_edge.runtime.statistics import softmax
from s2tf_edge.spec import ClipSpec
from s2tf_edge.words import first_few

__all__ = ["Views", "evaluate", "first_clip", "network_classes"]

logger = logging.getLogger(__name__)

_MAX_VIEWS = 100


@dataclass(frozen=True, kw_only=True)
class Views:
    """How many clips of a video are scored; their softmax scores are averaged."""

    temporal: int = 1
    """Clips spread evenly from the start of the video to its end; a single one is centered."""
    spatial: int = 1
    """Crops spread evenly along the long side; a single one is centered."""

    def __post_init__(self) -> None:
        if not 1 <= self.temporal <= _MAX_VIEWS or not 1 <= self.spatial <= _MAX_VIEWS:
            msg = f"views must lie between 1x1 and {_MAX_VIEWS}x{_MAX_VIEWS}, got {self}"
            raise UsageError(msg)

    @classmethod
    def parse(cls, text: str) -> Views:
        """Reads ``10x3``: ten temporal positions with three crops each.

        Raises:
            UsageError: ``text`` is not of this form, or a number is out of range.
        """
        temporal, cross, spatial = text.lower().partition("x")
        if not (cross and temporal.isdecimal() and spatial.isdecimal()):
            msg = f"views must be TEMPORALxSPATIAL such as 1x1 or 10x3, got {text!r}"
            raise UsageError(msg)
        return cls(temporal=int(temporal), spatial=int(spatial))

    def __str__(self) -> str:
        return f"{self.temporal}x{self.spatial}"

    @property
    def count(self) -> int:
        """Clips of each video."""
        return self.temporal * self.spatial

    def clips(self, video: Video, spec: ClipSpec) -> Iterator[Clips]:
        """The views of a video, one at a time, each without the batch axis, in the layout and dtype of ``spec``.

        Raises:
            InputFileError: the video cannot be read.
        """
        for at in _evenly(self.temporal):
            frames = video.read(spec, at=at)
            for position in _evenly(self.spatial):
                yield preprocess(frames, spec, position=position)


def _evenly(count: int) -> list[float]:
    return [0.5] if count == 1 else [index / (count - 1) for index in range(count)]


@overload
def evaluate(
    session: Session,
    data: LabeledVideos,
    *,
    views: Views | None = None,
    limit: int | None = None,
    progress: Progress = no_progress,
) -> Evaluation: ...


@overload
def evaluate(
    session: Session,
    data: Videos,
    *,
    views: Views | None = None,
    limit: int | None = None,
    progress: Progress = no_progress,
) -> Predictions: ...


def evaluate(
    session: Session,
    data: Videos,
    *,
    views: Views | None = None,
    limit: int | None = None,
    progress: Progress = no_progress,
) -> Predictions:
    """Runs a network over a data set.

    Videos that cannot be read are left out, named in one warning and in the result.

    Args:
        session: open.
        data: its labels, where it has some, are matched by name with the network's, in any order; see
            ``network_classes``.
        views: one centered clip unless given.
        limit: at most so many videos, spread evenly over the data set.
        progress: called after each video.

    Returns:
        What the network says; an ``Evaluation`` of it where the videos have labels.

    Raises:
        UsageError: the network lacks a label of the data set, or ``limit`` is not positive.
        InputFileError: not one video could be read.
    """
    data = data.limit(limit)
    if not isinstance(data, LabeledVideos):
        return _predict(session, data, views or Views(), progress)[0]
    classes = network_classes(session.info.labels, data)
    found, scored = _predict(session, data, views or Views(), progress)
    return Evaluation(
        labels=found.labels,
        names=found.names,
        targets=np.array([classes[data.videos[index].label] for index in scored], np.int64),
        scores=found.scores,
        skipped=found.skipped,
    )


def _predict(session: Session, data: Videos, views: Views, progress: Progress) -> tuple[Predictions, list[int]]:
    """What the network says, and of which of the videos."""
    videos = data.videos
    failures: dict[int, InputFileError] = {}
    clips = _clips(videos, views, session.info.spec, failures, progress)
    scores: dict[int, NDArray[np.float64]] = {}
    # No more clips in memory than one run takes: all views of a long video can be gigabytes.
    while group := list(itertools.islice(clips, session.info.batch or 1)):
        for (index, _), found in zip(group, softmax(session.infer(_stack(group)).logits), strict=True):
            scores[index] = scores.get(index, 0) + found / views.count
    _report(list(failures.values()), total=len(videos), name=data.name)
    scored = [index for index in range(len(videos)) if index not in failures]
    predictions = Predictions(
        labels=session.info.labels,
        names=tuple(videos[index].name for index in scored),
        scores=np.stack([scores[index] for index in scored]).astype(np.float32),
        skipped=tuple(videos[index].name for index in sorted(failures)),
    )
    return predictions, scored


def network_classes(labels: Sequence[str], data: LabeledVideos) -> tuple[int, ...]:
    """For each label of the data set, the index of the same name among the network's ``labels``.

    Raises:
        UsageError: the network lacks one of them.
    """
    known = {label: index for index, label in enumerate(labels)}
    for label in data.labels:
        if label not in known:
            near = difflib.get_close_matches(label, known, n=3) or list(known)[:3]
            hint = f"it has {len(known)}, such as {', '.join(map(repr, near))}" if near else "it has no labels at all"
            msg = (
                f"the network lacks the label {label!r} of {data.name}: {hint}; evaluate on data with its classes, or "
                "on a glob of the videos, which goes without labels"
            )
            raise UsageError(msg)
    return tuple(known[label] for label in data.labels)


def first_clip(data: Videos, spec: ClipSpec) -> Clips:
    """The centered clip of the first video that can be read: [1, ...] in the layout and dtype of ``spec``.

    Raises:
        InputFileError: not one video can be read.
    """
    failures: dict[int, InputFileError] = {}
    for first in _clips(data.videos, Views(), spec, failures, no_progress):
        return _stack([first])
    raise _none_readable(list(failures.values()), data.name)


def _clips(
    videos: Sequence[Video],
    views: Views,
    spec: ClipSpec,
    failures: dict[int, InputFileError],
    progress: Progress,
) -> Iterator[tuple[int, Clips]]:
    """All views of all videos, each with the index of its video; one that fails may have given some before."""
    for index, video in enumerate(videos):
        try:
            for clip in views.clips(video, spec):
                yield index, clip
        except InputFileError as error:
            failures[index] = error
        progress(index + 1, len(videos))


def _stack(group: Sequence[tuple[int, Clips]]) -> Clips:
    stacked: Clips = np.stack([clip for _, clip in group])  # type: ignore[assignment]  # forgets which of two dtypes
    return stacked


def _report(failures: Sequence[InputFileError], *, total: int, name: str) -> None:
    if len(failures) == total:
        raise _none_readable(failures, name)
    if failures:
        few = first_few(failures, 3, separator="; ")
        logger.warning("%d of %d videos could not be read and are left out: %s", len(failures), total, few)


def _none_readable(failures: Sequence[InputFileError], name: str) -> InputFileError:
    if not failures:
        return InputFileError(f"{name} holds no videos; give a data set with one video or more")
    return InputFileError(f"none of the {len(failures)} videos of {name} could be read; the first: {failures[0]}")

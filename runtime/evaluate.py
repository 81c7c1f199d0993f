"""Accuracy of a session on labelled videos, from one centred clip or from several views of each.

with open_session("model_openvino_int8") as session:
    evaluation = evaluate(session, open_data("clips/test"), views=Views(temporal=10, spatial=3))
print(evaluation.top1.percent, evaluation.n)
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.data.labelled import LabelledVideo, LabelledVideos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.preprocess import preprocess
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.accuracy import Evaluation
from s2tf_edge.runtime.session import Clips, Session
from s2tf_edge.spec import ClipSpec

__all__ = ["Views", "evaluate", "first_clip", "network_classes"]

logger = logging.getLogger(__name__)

_MAX_VIEWS = 100
_NAMED_IN_WARNING = 3


@dataclass(frozen=True, kw_only=True)
class Views:
    """How many clips of a video are scored; their softmax scores are averaged."""

    temporal: int = 1
    """Clips spread evenly from the start of the video to its end; a single one is centred."""
    spatial: int = 1
    """Crops spread evenly along the long side; a single one is centred."""

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

    def clips(self, video: LabelledVideo, spec: ClipSpec) -> Clips:
        """All views of a video, ready for the network: [temporal · spatial, ...] in the layout and dtype of ``spec``.

        Raises:
            InputFileError: the video cannot be read.
        """
        frames = (video.read(spec, at=at) for at in _evenly(self.temporal))
        stacked: Clips = np.stack(  # type: ignore[assignment]  # stack forgets which of two dtypes it was
            [preprocess(clip, spec, position=at) for clip in frames for at in _evenly(self.spatial)]
        )
        return stacked


def _evenly(count: int) -> list[float]:
    return [0.5] if count == 1 else [index / (count - 1) for index in range(count)]


def evaluate(
    session: Session,
    data: LabelledVideos,
    *,
    views: Views | None = None,
    limit: int | None = None,
    batch: int = 1,
    progress: Progress = no_progress,
) -> Evaluation:
    """Runs a network over a data set.

    Videos that cannot be read are left out, named in one warning and in the result.

    Args:
        session: open.
        data: its labels are matched by name with the network's, in any order; see ``network_classes``.
        views: one centred clip unless given.
        limit: at most so many videos, spread evenly over the data set.
        batch: clips that one run takes, at most; a session with a fixed batch size has its own.
        progress: called after each video.

    Raises:
        UsageError: the network lacks a label of the data set, or ``limit`` or ``batch`` is not positive.
        InputFileError: not one video could be read.
    """
    if batch < 1:
        msg = f"batch must be one or more, got {batch}"
        raise UsageError(msg)
    views = views or Views()
    classes = network_classes(session.info.labels, data)
    videos = data.limit(limit).videos
    run = session.info.batch or batch
    step = max(1, run // views.count)
    scored: list[LabelledVideo] = []
    scores: list[NDArray[np.float32]] = []
    failures: list[tuple[LabelledVideo, InputFileError]] = []
    for start in range(0, len(videos), step):
        read = list(_read(videos[start : start + step], views, session.info.spec, failures))
        if read:
            scored += [video for video, _ in read]
            found = _softmax(session, np.concatenate([clips for _, clips in read]), run)
            scores.append(found.reshape(len(read), views.count, -1).mean(axis=1))
        progress(min(start + step, len(videos)), len(videos))
    _report(failures, total=len(videos), name=data.name)
    return Evaluation(
        labels=session.info.labels,
        names=tuple(video.name for video in scored),
        targets=np.array([classes[video.label] for video in scored], np.int64),
        scores=np.concatenate(scores),
        skipped=tuple(video.name for video, _ in failures),
    )


def network_classes(labels: Sequence[str], data: LabelledVideos) -> tuple[int, ...]:
    """For each label of the data set, the index of the same name among the network's ``labels``.

    Raises:
        UsageError: the network lacks one of them.
    """
    known = {label: index for index, label in enumerate(labels)}
    for label in data.labels:
        if label not in known:
            near = difflib.get_close_matches(label, known, n=3) or list(known)[:3]
            hint = f"it has {len(known)}, such as {', '.join(map(repr, near))}" if near else "it has no labels at all"
            msg = f"the network lacks the label {label!r} of {data.name}: {hint}; evaluate on data with its classes"
            raise UsageError(msg)
    return tuple(known[label] for label in data.labels)


def first_clip(data: LabelledVideos, spec: ClipSpec) -> Clips:
    """The centred clip of the first video that can be read: [1, ...] in the layout and dtype of ``spec``.

    Raises:
        InputFileError: not one video can be read.
    """
    failures: list[tuple[LabelledVideo, InputFileError]] = []
    for _, clips in _read(data.videos, Views(), spec, failures):
        return clips
    raise _none_readable(failures, data.name)


def _read(
    videos: Sequence[LabelledVideo],
    views: Views,
    spec: ClipSpec,
    failures: list[tuple[LabelledVideo, InputFileError]],
) -> Iterator[tuple[LabelledVideo, Clips]]:
    for video in videos:
        clips = _clips_or_none(video, views, spec, failures)
        if clips is not None:
            yield video, clips


def _clips_or_none(
    video: LabelledVideo, views: Views, spec: ClipSpec, failures: list[tuple[LabelledVideo, InputFileError]]
) -> Clips | None:
    try:
        return views.clips(video, spec)
    except InputFileError as error:
        failures.append((video, error))
        return None


def _softmax(session: Session, clips: Clips, run: int) -> NDArray[np.float32]:
    logits = np.concatenate([session.infer(clips[i : i + run]).logits for i in range(0, len(clips), run)])
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores: NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return scores


def _report(failures: list[tuple[LabelledVideo, InputFileError]], *, total: int, name: str) -> None:
    if len(failures) == total:
        raise _none_readable(failures, name)
    if failures:
        named = "; ".join(str(error) for _, error in failures[:_NAMED_IN_WARNING])
        more = f"; and {len(failures) - _NAMED_IN_WARNING} more" if len(failures) > _NAMED_IN_WARNING else ""
        logger.warning("%d of %d videos could not be read and are left out: %s%s", len(failures), total, named, more)


def _none_readable(failures: list[tuple[LabelledVideo, InputFileError]], name: str) -> InputFileError:
    if not failures:
        return InputFileError(f"{name} holds no videos; give a data set with one video or more")
    return InputFileError(f"none of the {len(failures)} videos of {name} could be read; the first: {failures[0][1]}")

"""The teacher's pass: it sees each video once, before training, and its scores are kept.

A teacher is often larger than all of a training step, and its clips are longer and wider than the student's, so asking
it about every training clip would make each epoch as slow as the teacher. Its scores of a few clips of each video,
half a clip apart, are asked for once; a training clip takes those of the clip that shows the same part of the video.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from s2tf_edge.data.videos import Video, Videos, read_clips
from s2tf_edge.errors import InputFileError
from s2tf_edge.preprocess import preprocess
from s2tf_edge.process_group import ProcessGroup
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.distillation.moments import spread_places, video_seconds
from s2tf_edge.training.distillation.score_store import ScoreStore, VideoScores
from s2tf_edge.training.distillation.teacher import Clips, Teacher, check_teacher
from s2tf_edge.words import first_few, one_line

__all__ = ["TeacherScores", "score_videos"]

logger = logging.getLogger(__name__)

_BAD_SHARE = 0.01


@dataclass(frozen=True, kw_only=True)
class TeacherScores:
    """What a teacher says of videos."""

    name: str
    """The teacher's."""
    fingerprint: str
    """The teacher's."""
    labels: tuple[str, ...]
    """Its classes (M)."""
    spec: ClipSpec
    """The clips it saw."""
    videos: Mapping[str, VideoScores]
    """By the name of the video; without those that could not be read."""


def score_videos(
    teacher: Teacher,
    videos: Videos,
    *,
    most: int,
    store: ScoreStore | None = None,
    group: ProcessGroup | None = None,
    progress: Progress = no_progress,
) -> TeacherScores:
    """Asks the teacher about each video, but for those whose scores are in ``store``.

    Args:
        teacher: whom to ask.
        videos: with labels or without; those of one name are one.
        most: clips of each, at most.
        store: where scores are kept.
        group: the processes that share the work; each gets the scores of all.
        progress: called after each video.

    Raises:
        InputFileError: the teacher tells fewer than two classes apart, or more than one video in a hundred, and more
            than one, cannot be read.
        VerificationError: a score is not finite.
    """
    check_teacher(teacher)
    group = group or ProcessGroup()
    different = list({video.name: video for video in videos.videos}.values())
    mine = different[group.rank :: group.size]
    found: dict[str, VideoScores] = {}
    failures: list[str] = []

    def score_mine() -> tuple[dict[str, VideoScores], list[str]]:
        for index, video in enumerate(mine):
            try:
                found[video.name] = _score(teacher, video, most=most, store=store)
            except InputFileError as error:
                failures.append(one_line(error))
                _check_failures(failures, total=len(mine), name=videos.name, teacher=teacher.name)
            progress(index + 1, len(mine))
        return found, failures

    parts = group.share(score_mine)
    if any(failed for _, failed in parts):
        all_failed = [each for _, failed in parts for each in failed]
        logger.warning(
            "%d videos that the teacher cannot read are left out: %s",
            len(all_failed),
            first_few(all_failed, 3, separator="; "),
        )
    return TeacherScores(
        name=teacher.name,
        fingerprint=teacher.fingerprint,
        labels=teacher.labels,
        spec=teacher.spec,
        videos={name: scores for some, _ in parts for name, scores in some.items()},
    )


def _score(teacher: Teacher, video: Video, *, most: int, store: ScoreStore | None) -> VideoScores:
    kept = store.read(video, most=most, classes=len(teacher.labels)) if store else None
    if kept is not None:
        return kept
    seconds = video_seconds(video, teacher.spec)
    places = spread_places(teacher.spec, seconds=seconds, most=most)
    clips = (preprocess(frames, teacher.spec) for frames in read_clips(video, teacher.spec, places=places.tolist()))
    parts = []
    while some := list(itertools.islice(clips, teacher.batch)):
        stacked: Clips = np.stack(some)  # type: ignore[assignment]  # forgets which of two dtypes
        parts.append(teacher.score(stacked))
    scores = VideoScores(seconds=seconds, places=places, logits=np.concatenate(parts).astype(np.float32))
    if store:
        store.write(video, scores, most=most)
    return scores


def _check_failures(failures: list[str], *, total: int, name: str, teacher: str) -> None:
    """One video in a hundred may be bad, and one in any case, unless it is the only one."""
    if len(failures) == total or len(failures) > max(1, _BAD_SHARE * total):
        few = first_few(failures, 3, separator="; ")
        msg = f"the teacher {teacher} cannot read {len(failures)} of {total} videos of {name}, too many to go on: {few}"
        raise InputFileError(msg)

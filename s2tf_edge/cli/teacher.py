"""The part of ``s2tf-train`` that has a teacher: opens it, has it see the videos, and hands on what it said."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from s2tf_edge.cli.app import existing, progress_bar
from s2tf_edge.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from s2tf_edge.data.labeled import LabeledVideos
    from s2tf_edge.data.training_data import TrainingData
    from s2tf_edge.data.videos import Videos
    from s2tf_edge.runtime.session import Session
    from s2tf_edge.spec import ClipSpec
    from s2tf_edge.training import TrainConfig
    from s2tf_edge.training.distillation.scoring import TeacherScores
    from s2tf_edge.training.distillation.teaching import Teaching

__all__ = ["Lesson", "SessionTeacher", "check_teacher_files", "learn_from", "open_teacher"]

logger = logging.getLogger(__name__)

_ANY_BATCH: Final = 4
"""Clips at once for a teacher that takes any number."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """All that a run learns from."""

    sides: TrainingData
    teaching: Teaching | None = None


class SessionTeacher:
    """A teacher that a session runs; see ``s2tf_edge.training.distillation.teacher.Teacher``."""

    def __init__(self, session: Session, *, fingerprint: str) -> None:
        self._session = session
        self.fingerprint = fingerprint
        self.name = session.info.name
        self.labels = session.info.labels
        self.spec: ClipSpec = session.info.spec
        self.batch = session.info.batch or _ANY_BATCH

    def score(self, clips: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Logits float32 [N, M] of clips in the layout and dtype of ``spec``."""
        return self._session.infer(clips).logits


def check_teacher_files(path: Path, meta: Path | None) -> Path | None:
    """The clip file of a teacher that is a plain ``.onnx``, None of one that describes itself; see ``open_teacher``.

    Raises:
        InputFileError: the teacher does not exist.
        UsageError: a plain ``.onnx`` has no clip file, or something else has one.
    """
    from s2tf_edge.file_kinds import FileKind, find_kind

    existing(path)
    if find_kind(path).kind is not FileKind.ONNX:
        if meta is not None:
            msg = f"`teacher_meta` describes a plain .onnx file; {path} describes itself, so leave it out"
            raise UsageError(msg)
        return None
    clip_file = meta or path.with_suffix(".json")
    if not clip_file.is_file():
        msg = (
            f"{path.name} does not say what clips it takes, and there is no {clip_file.name} beside it; give "
            f"`teacher_meta=FILE.json`, which s2tf-export {shlex.quote(str(path))} --describe writes to be filled in"
        )
        raise UsageError(msg)
    return clip_file


@contextmanager
def open_teacher(path: Path, meta: Path | None) -> Iterator[SessionTeacher]:
    """A teacher, ready to be asked: a ``model.pt``, an artifact of any target, or a plain ``.onnx``.

    Args:
        path: what it is.
        meta: the clip file of a plain ``.onnx``; the ``.json`` beside it where left out.

    Raises:
        InputFileError: it cannot be read.
        MissingExtraError: what runs it is not installed.
        UsageError: a plain ``.onnx`` has no clip file, or something else has one.
    """
    from s2tf_edge.export.sources.graphs.graph_file import files_of_graph
    from s2tf_edge.export.sources.network import open_network
    from s2tf_edge.runtime.open import open_session

    clip_file = check_teacher_files(path, meta)
    if clip_file is not None:
        session = open_network(path, meta=clip_file).session()
        files = [clip_file, *files_of_graph(path)]
    else:
        session = open_session(path)
        # It has the hash of every other file of the artifact.
        files = [session.path.parent / "meta.json" if session.backend != "torch" else session.path]
    with session:
        yield SessionTeacher(session, fingerprint=_fingerprint(files, session.info.spec))


def learn_from(
    path: Path,
    meta: Path | None,
    sides: TrainingData | None,
    unlabeled: Videos | None,
    *,
    divide: Callable[[LabeledVideos], TrainingData],
    settings: TrainConfig,
    out: Path,
) -> Lesson:
    """Has a teacher see all videos to train on.

    Args:
        path: the teacher, as for ``open_teacher``.
        meta: its clip file.
        sides: labeled videos to train and to validate on; None to learn from the teacher alone, whose classes the
            network then has.
        unlabeled: more videos to train on, whose labels do not count.
        divide: where there are no ``sides``, makes them of the videos as the teacher labels them.
        settings: of the run.
        out: its folder, where the teacher's scores are kept.

    Raises:
        InputFileError: the teacher or videos cannot be read.
        MissingExtraError: what runs the teacher is not installed.
        UsageError: the teacher lacks a clip file, or there is nothing to learn from.
    """
    from s2tf_edge.training.distillation.teaching import Teaching, label_by_teacher, without_unscored

    seen = _together([each for each in (sides.train if sides else None, unlabeled) if each is not None])
    with open_teacher(path, meta) as teacher:
        scores = _ask(teacher, seen, most=settings.teacher_views, out=out)
    if sides is None:
        readable = divide(label_by_teacher(seen, scores))
    else:
        readable = dataclasses.replace(sides, train=without_unscored(sides.train, scores))
    teaching = Teaching(
        scores=scores,
        labels=readable.train.labels,
        temperature=settings.temperature,
        unlabeled=without_unscored(unlabeled, scores) if sides and unlabeled else None,
        labels_are_the_teachers=sides is None,
    )
    logger.info(teaching.describe())
    return Lesson(sides=readable, teaching=teaching)


def _ask(teacher: SessionTeacher, videos: Videos, *, most: int, out: Path) -> TeacherScores:
    """What the teacher says of up to ``most`` clips of each video, or has said already in the folder ``out``."""
    from s2tf_edge.process_group import join_processes
    from s2tf_edge.training.distillation.score_store import ScoreStore
    from s2tf_edge.training.distillation.scoring import score_videos

    with join_processes() as group, progress_bar(f"asking the teacher about {len(videos)} videos") as progress:
        store = ScoreStore(out, teacher.fingerprint, rank=group.rank)
        return score_videos(teacher, videos, most=most, store=store, group=group, progress=progress)


def _together(parts: list[Videos]) -> Videos:
    from s2tf_edge.data.videos import Videos

    if not parts:
        msg = "the teacher has no videos to teach by; give DATA, `unlabelled=VIDEOS`, or both"
        raise UsageError(msg)
    return Videos(
        name=" and ".join(part.name for part in parts), videos=[each for part in parts for each in part.videos]
    )


def _fingerprint(files: list[Path], spec: ClipSpec) -> str:
    from s2tf_edge.runtime.artifact import sha256

    said = json.dumps([[sha256(file) for file in files], spec.to_dict()])
    return hashlib.sha256(said.encode()).hexdigest()

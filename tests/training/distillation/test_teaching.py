"""Targets by class and moment, and real runs of a tiny network under a real teacher."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from s2tf_edge import load_model
from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.training_data import divide_videos
from s2tf_edge.errors import UsageError
from s2tf_edge.models import create_model
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training import TrainConfig, train
from s2tf_edge.training.distillation.scoring import TeacherScores, score_videos
from s2tf_edge.training.distillation.teaching import Teaching, label_by_teacher

if TYPE_CHECKING:
    from tests.training.distillation.conftest import Projector
else:
    Projector = Any

TINY = TrainConfig(
    model="s2tf_r3d_10?width=0.0625", frames=8, size=32, epochs=2, batch_size=5, workers=0, lr=5e-3, clips_per_video=1
)
SPEC = ClipSpec(frames=8, size=32, fps=25)


def _scored(projector: Projector, videos: LabeledVideos, labels: tuple[str, ...]) -> TeacherScores:
    projector.labels = labels
    return score_videos(projector, videos, most=8)


def _teaching(projector: Projector, videos: LabeledVideos, labels: tuple[str, ...]) -> Teaching:
    return Teaching(scores=_scored(projector, videos, labels), labels=videos.labels, temperature=2.0)


def test_classes_are_matched_by_name(projector: Projector) -> None:
    videos = open_data("synthetic?clips=5")
    teaching = _teaching(projector, videos, ("other", *(label.upper() for label in reversed(videos.labels))))
    assert teaching.network_labels == videos.labels
    video = videos.videos[2]
    at, target = teaching.target(video, SPEC, 0.0)
    own, scores, known = (part[0] for part in teaching.layout.split(target[None]))
    assert (at, int(own.argmax()), float(own.sum()), float(known)) == (0.0, video.label, 1.0, 1.0)
    logits = torch.from_numpy(teaching.scores.videos[video.name].logits[0][:0:-1].copy())
    torch.testing.assert_close(scores, torch.softmax(logits / 2, dim=0))


def test_what_the_teacher_takes_a_video_for_is_no_label(projector: Projector) -> None:
    videos = open_data("synthetic?clips=5")
    teaching = dataclasses.replace(_teaching(projector, videos, videos.labels), unlabeled=videos.subset([3, 4]))
    _, target = teaching.target(teaching.join(videos.subset([0])).videos[1], SPEC, 0.0)
    own, scores, known = (part[0] for part in teaching.layout.split(target[None]))
    assert (float(own.sum()), float(known)) == (0.0, 0.0)
    assert int(teaching.layout.answers(target[None])) == int(scores.argmax())


@pytest.mark.parametrize(("labels", "flips"), [(("push", "pull"), True), (("push left", "push right"), False)])
def test_where_a_teacher_tells_left_from_right_no_clip_is_mirrored(
    projector: Projector, labels: tuple[str, ...], flips: bool
) -> None:
    # Whatever the data set itself says: its own classes are no directions.
    videos = dataclasses.replace(open_data("synthetic?clips=5"), flips=True)
    teaching = _teaching(projector, videos, labels)
    assert teaching.join(videos).flips == flips
    assert label_by_teacher(videos, teaching.scores).flips == flips


def test_other_classes_get_logits_of_their_own(projector: Projector) -> None:
    videos = open_data("synthetic?clips=5")
    teaching = _teaching(projector, videos, ("a", "b", "c"))
    assert teaching.network_labels == (*videos.labels, "teacher: a", "teacher: b", "teacher: c")
    assert teaching.layout.logits == len(videos.labels) + 3


def test_a_clip_is_moved_to_where_the_teacher_has_looked(projector: Projector) -> None:
    videos = open_data("synthetic?clips=2")
    video = videos.videos[0]
    scores = dataclasses.replace(
        score_videos(projector, videos, most=1),
        videos={
            each.name: dataclasses.replace(found, seconds=60.0)
            for each, found in zip(videos.videos, score_videos(projector, videos, most=1).videos.values(), strict=True)
        },
    )
    teaching = Teaching(scores=scores, labels=videos.labels, temperature=1.0)
    half = projector.spec.span_seconds / 2
    for at in (0.0, 0.2, 0.9):
        moved, _ = teaching.target(video, SPEC, at)
        middle = moved * (60 - SPEC.span_seconds) + SPEC.span_seconds / 2
        assert abs(middle - 30) == pytest.approx(half)
    assert teaching.target(video, SPEC, 0.5)[0] == 0.5


def test_the_teacher_labels_what_has_no_labels(projector: Projector) -> None:
    videos = open_data("synthetic?clips=6")
    scores = score_videos(projector, videos, most=3)
    labeled = label_by_teacher(videos, scores)
    assert labeled.labels == projector.labels
    best = [int(scores.videos[video.name].logits.mean(axis=0).argmax()) for video in videos.videos]
    assert [video.label for video in labeled.videos] == best
    np.testing.assert_array_equal(labeled.videos[0].read(SPEC), videos.videos[0].read(SPEC))


def test_a_teacher_s_classes_of_nearly_one_name_are_taught_as_they_are(
    projector: Projector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    videos = open_data("synthetic?clips=6")
    scores = _scored(projector, videos, ("High Jump", "high_jump", "run"))
    labeled = label_by_teacher(videos, scores)
    teaching = Teaching(scores=scores, labels=labeled.labels, temperature=2.0, labels_are_the_teachers=True)
    assert teaching.network_labels == labeled.labels
    config = dataclasses.replace(TINY, epochs=1)
    with caplog.at_level("INFO", logger="s2tf_edge"):
        result = train(config, videos=labeled, validation=labeled.subset([]), teaching=teaching, out=tmp_path)
    assert any(message.startswith("epoch 1/1: loss ") and ", train " in message for message in caplog.messages)
    assert load_model(result.model).labels == labeled.labels


def test_an_epoch_without_a_clip_of_a_known_class_has_no_top1(
    projector: Projector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    videos = open_data("synthetic?clips=6")
    teaching = _teaching(projector, videos, ("a", "b", "c"))
    unknown = dataclasses.replace(teaching, labels_are_the_teachers=True)
    config = dataclasses.replace(TINY, epochs=1)
    with caplog.at_level("INFO", logger="s2tf_edge"):
        train(config, videos=videos, validation=videos.subset([]), teaching=unknown, out=tmp_path)
    assert any(re.fullmatch(r"epoch 1/1: loss [\d.]+ \(.* left\)", message) for message in caplog.messages)


def test_videos_that_were_not_scored_are_refused(projector: Projector) -> None:
    videos = open_data("synthetic?clips=4")
    teaching = _teaching(projector, videos.subset([0, 1]), ("a", "b"))
    with pytest.raises(UsageError, match="projector has not seen synthetic/0/train/2"):
        teaching.join(videos)


@pytest.mark.parametrize("model", ["s2tf_r3d_10?width=0.0625", "x3d_xs?width=0.25", "ssf_s3d?width=0.125"])
def test_the_own_network_gives_the_same_logits(projector: Projector, model: str) -> None:
    videos = open_data("synthetic?clips=3")
    teaching = _teaching(projector, videos, ("a", "b", "c", "d"))
    wide = create_model(
        model, num_classes=len(teaching.network_labels), labels=teaching.network_labels, frames=8, size=32
    ).eval()
    own = teaching.own_network(wide)
    assert (own.labels, own.spec) == (videos.labels, wide.spec)
    clip = torch.randn(2, 3, 8, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(own(clip), wide(clip)[:, : len(videos.labels)])


def test_a_run_with_labels_and_other_videos_beside_them(projector: Projector, tmp_path: Path) -> None:
    videos, validation = open_data("synthetic?clips=10"), open_data("synthetic?clips=5&split=test")
    more = open_data("synthetic?clips=5&seed=7")
    both = dataclasses.replace(videos, videos=[*videos.videos, *more.videos])
    teaching = dataclasses.replace(_teaching(projector, both, ("a", "b", "c")), unlabeled=more)
    result = train(TINY, videos=videos, validation=validation, teaching=teaching, out=tmp_path)
    assert load_model(result.model).labels == videos.labels
    header, *rows = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    column = header.split(",").index("train_distillation")
    assert all(float(row.split(",")[column]) > 0 for row in rows)
    # Another teacher is another run.
    other = dataclasses.replace(teaching, scores=dataclasses.replace(teaching.scores, fingerprint="f" * 64))
    with pytest.raises(UsageError, match="of another run: teacher 0123456789abcdef then, ffff"):
        train(TINY, videos=videos, validation=validation, teaching=other, out=tmp_path)


def test_a_student_without_labels_learns_to_say_what_its_teacher_says(projector: Projector, tmp_path: Path) -> None:
    videos = open_data("synthetic?clips=24")
    scores = score_videos(projector, videos, most=8)
    sides = divide_videos(label_by_teacher(videos, scores), validation="0.25")
    teaching = Teaching(scores=scores, labels=scores.labels, temperature=2.0, labels_are_the_teachers=True)
    config = dataclasses.replace(TINY, epochs=6)
    result = train(config, videos=sides.train, validation=sides.validation, teaching=teaching, out=tmp_path)
    model = load_model(result.model)
    assert model.labels == projector.labels
    header, *rows = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()
    names = header.split(",")
    first, last = (dict(zip(names, row.split(","), strict=True)) for row in (rows[0], rows[-1]))
    assert float(last["train_distillation"]) < float(first["train_distillation"])
    assert float(last["train_cross_entropy"]) == 0
    # A new head on top of what was learned.
    again = train(
        TINY,
        videos=open_data("synthetic?clips=10"),
        validation=open_data("synthetic?clips=5&split=test"),
        pretrained=result.model,
        out=tmp_path / "labeled",
    )
    assert load_model(again.model).labels == open_data("synthetic").labels

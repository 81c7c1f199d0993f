"""The teacher's pass over videos, and what of it is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from s2tf_edge.data.datasets import open_data, open_videos
from s2tf_edge.data.synthetic import write_video
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError
from s2tf_edge.preprocess import preprocess
from s2tf_edge.training.distillation.score_store import ScoreStore
from s2tf_edge.training.distillation.scoring import score_videos

if TYPE_CHECKING:
    from tests.training.distillation.conftest import Projector
else:
    Projector = Any


def test_each_clip_is_scored_once_where_it_lies(projector: Projector) -> None:
    videos = open_data("synthetic?clips=3")
    scores = score_videos(projector, videos, most=4)
    assert list(scores.videos) == [video.name for video in videos.videos]
    found = scores.videos[videos.videos[1].name]
    assert found.seconds == pytest.approx(4.0)
    assert found.logits.shape == (4, 3)
    assert projector.seen == 12
    clip = preprocess(videos.videos[1].read(projector.spec, at=1.0), projector.spec)
    np.testing.assert_allclose(found.logits[-1], projector.score(clip[None])[0], rtol=1e-5)


def test_what_was_kept_is_not_asked_again(projector: Projector, tmp_path: Path) -> None:
    videos = open_data("synthetic?clips=4")
    score_videos(projector, videos.subset([0, 1]), most=2, store=ScoreStore(tmp_path, projector.fingerprint))
    asked = projector.seen
    again = ScoreStore(tmp_path, projector.fingerprint)
    scores = score_videos(projector, videos, most=2, store=again)
    assert projector.seen == 2 * asked
    fresh = score_videos(projector, videos, most=2)
    for name, kept in scores.videos.items():
        np.testing.assert_array_equal(kept.logits, fresh.videos[name].logits)
        np.testing.assert_array_equal(kept.places, fresh.videos[name].places)


def test_another_process_s_file_is_read_too(projector: Projector, tmp_path: Path) -> None:
    videos = open_data("synthetic?clips=2")
    score_videos(projector, videos, most=1, store=ScoreStore(tmp_path, projector.fingerprint, rank=1))
    asked = projector.seen
    score_videos(projector, videos, most=1, store=ScoreStore(tmp_path, projector.fingerprint))
    assert projector.seen == asked


def test_a_file_that_changed_is_asked_about_again(projector: Projector, tmp_path: Path) -> None:
    store = ScoreStore(tmp_path, projector.fingerprint)
    for index in range(2):
        write_video(tmp_path / "a.mp4", clips=[("moving left", 1.0 + index)], size=(32, 32), seed=index)
        scores = score_videos(projector, open_videos(tmp_path / "a.mp4"), most=1, store=store)
    assert projector.seen == 2
    assert next(iter(scores.videos.values())).seconds > 1.5


def test_a_damaged_file_is_begun_anew(projector: Projector, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "teacher-0123456789ab.sqlite"
    path.write_bytes(b"no database" * 1000)
    videos = open_data("synthetic?clips=2")
    score_videos(projector, videos, most=1, store=ScoreStore(tmp_path, projector.fingerprint))
    assert f"{path} is damaged; asking the teacher again" in caplog.text
    assert ScoreStore(tmp_path, projector.fingerprint).read(videos.videos[0], most=1, classes=3) is not None


def test_one_bad_video_is_left_out_and_said(
    projector: Projector, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "bad.mp4").write_text("no video")
    good, bad = open_data("synthetic?clips=5"), open_videos(tmp_path / "bad.mp4")
    scores = score_videos(projector, Videos(name="both", videos=[*good.videos, *bad.videos]), most=1)
    assert len(scores.videos) == 5
    assert "1 videos that the teacher cannot read are left out" in caplog.text


def test_more_bad_videos_than_one_in_a_hundred_end_the_pass(projector: Projector, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.mp4").write_text("no video")
    good, bad = open_data("synthetic?clips=5"), open_videos(tmp_path)
    with pytest.raises(InputFileError, match=r"cannot read 2 of 7 videos of both, too many to go on: .*b\.mp4"):
        score_videos(projector, Videos(name="both", videos=[*good.videos, *bad.videos]), most=1)
    with pytest.raises(InputFileError, match="cannot read 1 of 1 videos"):
        score_videos(projector, bad.subset([0]), most=1)


def test_a_teacher_of_one_class_is_refused(projector: Projector) -> None:
    projector.labels = ("red",)
    with pytest.raises(InputFileError, match=r"projector names one class alone \(red\)"):
        score_videos(projector, open_data("synthetic?clips=2"), most=1)


def test_a_folder_that_cannot_be_written_is_an_error(projector: Projector, tmp_path: Path) -> None:
    (tmp_path / "teacher-0123456789ab.sqlite").mkdir()
    with pytest.raises(InputFileError, match="cannot keep what the teacher says in"):
        ScoreStore(tmp_path, projector.fingerprint)

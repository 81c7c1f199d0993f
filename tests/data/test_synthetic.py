from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from s2tf_edge.clips import Frame
from s2tf_edge.data.scenes import LABELS, Scene
from s2tf_edge.data.synthetic import SyntheticVideo, synthetic_videos, write_video
from s2tf_edge.data.video import probe
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.spec import ClipSpec


def scene_seeds(*, split: str, seed: int) -> set[int]:
    videos = synthetic_videos(clips=500, split=split, seed=seed).videos
    return {video.seed for video in videos if isinstance(video, SyntheticVideo)}


def test_splits_and_seeds_share_no_scene() -> None:
    sets = [scene_seeds(split=split, seed=seed) for split in ("train", "test") for seed in (0, 1, 2)]
    assert all(len(seeds) == 500 for seeds in sets)
    assert len(set.union(*sets)) == 3000


def test_classes_are_balanced_and_must_not_be_mirrored() -> None:
    videos = synthetic_videos(clips=40)
    assert np.bincount([video.label for video in videos.videos]).tolist() == [4] * 10
    assert videos.labels == LABELS
    assert not videos.flips
    assert len({video.name for video in videos.videos}) == 40


def test_a_clip_is_drawn_at_the_instants_of_its_spec() -> None:
    video = SyntheticVideo(name="made", label=2, seed=9)
    spec = ClipSpec(frames=5, size=32, resize_short_side=40, stride=3, fps=30)
    times = 0.5 * (4.0 - 0.4) + np.arange(5) / 10
    np.testing.assert_array_equal(video.read(spec), Scene(label=2, seed=9).render(times, 40))
    assert (video.read(spec, at=0) != video.read(spec, at=1)).any()
    with pytest.raises(UsageError, match="at must lie in"):
        video.read(spec, at=-1)


def test_a_written_video_shows_what_it_says(read_video: Callable[..., list[Frame]], tmp_path: Path) -> None:
    path = tmp_path / "demo.mp4"
    segments = write_video(path, clips=[("moving up", 0.8), ("approaching", 0.4)], fps=10, size=(48, 80), seed=4)
    assert [segment.label for segment in segments] == ["moving up", "approaching"]
    assert [segment.start_seconds for segment in segments] == pytest.approx([0.0, 0.8])
    assert [segment.end_seconds for segment in segments] == pytest.approx([0.8, 1.2])
    frames = read_video(path)
    assert len(frames) == 12
    assert probe(path).last_seconds == pytest.approx(1.1)
    first = Scene(label=LABELS.index("moving up"), seed=4 * 2**32).render([0.3], (48, 80))[0]
    assert np.abs(frames[3].image.astype(int) - first).mean() < 12
    assert np.abs(frames[8].image.astype(int) - first).mean() > 12


@pytest.mark.parametrize(
    ("clips", "size", "message"),
    [
        ([("flying", 1.0)], (48, 64), "takes a label of moving left, .* got 'flying'"),
        ([("moving up", 0.01)], (48, 64), "and a frame or more"),
        ([("moving up", 1.0)], (47, 64), "an even size from 16, got 1 of 64×47"),
        ([], (48, 64), "an action or more"),
    ],
)
def test_videos_that_cannot_be_are_refused(
    tmp_path: Path, clips: list[tuple[str, float]], size: tuple[int, int], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        write_video(tmp_path / "demo.mp4", clips=clips, size=size)
    assert not (tmp_path / "demo.mp4").exists()


@pytest.mark.parametrize("name", ["none/demo.mp4", "demo.unknown"])
def test_videos_that_cannot_be_written_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputFileError, match="cannot write a video to"):
        write_video(tmp_path / name, clips=[("moving up", 1.0)])

"""Which videos an artifact was calibrated on is told by names, and of files elsewhere by their frames."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.calibration.calibration_clips import CalibrationClips
from s2tf_edge.data.datasets import open_videos
from s2tf_edge.data.scenes import LABELS
from s2tf_edge.data.synthetic import write_video
from s2tf_edge.runtime.reporting.overlap import find_overlap
from s2tf_edge.spec import ClipSpec

SPEC = ClipSpec(frames=4, size=32, stride=2, fps=25.0, resize_short_side=36)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for index in range(4):
        write_video(folder / f"{index}.mp4", clips=[(LABELS[index], 0.6)], size=(48, 64), seed=index)
    return folder


@pytest.fixture(scope="module")
def calibration(videos: Path) -> dict[str, Any]:
    """Of the first two videos."""
    data = open_videos(str(videos)).subset([0, 1])
    clips = CalibrationClips(data, SPEC, count=3)
    assert len(list(clips)) == 3
    return clips.to_dict()


def _names(found: tuple[str, ...]) -> list[str]:
    return [Path(name).name for name in found]


def test_the_videos_that_were_calibrated_on_are_named(videos: Path, calibration: dict[str, Any]) -> None:
    data = open_videos(str(videos))
    assert _names(find_overlap(calibration, data, SPEC)) == ["0.mp4", "1.mp4"]
    assert find_overlap(calibration, data.subset([2, 3]), SPEC) == ()
    untold = [{"video": clip["video"]} for clip in calibration["clips"]]
    assert _names(find_overlap({"clips": untold}, data, SPEC)) == ["0.mp4", "1.mp4"]
    others = [clip | {"sha256": "of a file that was there"} for clip in calibration["clips"]]
    assert find_overlap({"clips": others}, data, SPEC) == ()


def test_a_copy_is_known_by_its_frames_and_a_namesake_is_not_meant(
    videos: Path, calibration: dict[str, Any], tmp_path: Path
) -> None:
    shutil.copy(videos / "0.mp4", tmp_path / "0.mp4")
    shutil.copy(videos / "3.mp4", tmp_path / "1.mp4")
    (tmp_path / "2.mp4").write_bytes(b"no video")
    calibration = calibration | {"clips": [*calibration["clips"], {"video": "2.mp4", "at": 0.5, "sha256": "0"}]}
    assert _names(find_overlap(calibration, open_videos(str(tmp_path)), SPEC)) == ["0.mp4"]


@pytest.mark.parametrize(
    "clips",
    [
        None,
        3,
        "many",
        [None, 3],
        [{"video": 3}],
        [{"video": "x/0.mp4", "at": "there"}],
        [{"video": "x/0.mp4", "at": 7}],
    ],
)
def test_what_says_nothing_of_use_names_nothing(videos: Path, clips: object) -> None:
    assert find_overlap({"clips": clips}, open_videos(str(videos)), SPEC) == ()
    assert find_overlap({}, open_videos(str(videos)), SPEC) == ()

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.calibration.calibration_clips import RECOMMENDED_CLIPS, CalibrationClips, count_read
from s2tf_edge.calibration.clip_choice import choose_clips
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.preprocess import crop_frames, preprocess
from s2tf_edge.spec import ClipSpec

SPEC = ClipSpec(frames=4, size=16, resize_short_side=20)


@dataclass
class _Video:
    """Gray frames whose brightness tells video and moment."""

    number: int
    label: int
    broken: bool = False
    lengths: float = 0.5
    """How far a clip can move, in lengths of a clip."""
    reads: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"video {self.number}"

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> NDArray[np.uint8]:
        self.reads.append(at)
        if self.broken:
            msg = f"{self.name} is broken"
            raise InputFileError(msg)
        side = spec.resize_short_side
        return np.full((spec.frames, side, side + 6, 3), self.number + int(at * 100), np.uint8)

    def room(self, spec: ClipSpec) -> float:
        del spec
        if self.broken:
            msg = f"{self.name} is broken"
            raise InputFileError(msg)
        return self.lengths


def _data(counts: tuple[int, ...], *, broken: tuple[int, ...] = (), lengths: float = 0.5) -> LabeledVideos:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    videos = [_Video(number, label, broken=number in broken, lengths=lengths) for number, label in enumerate(labels)]
    return LabeledVideos(name="gray", labels=tuple("abc"), videos=videos)


def test_a_count_that_is_not_positive_is_refused() -> None:
    with pytest.raises(UsageError, match="must be one or more, got 0"):
        CalibrationClips(_data((3,)), SPEC, count=0)


def test_clips_are_what_the_network_sees_at_inference() -> None:
    data = _data((3, 2))
    clips = CalibrationClips(data, SPEC, count=5)
    for clip, choice in zip(clips, choose_clips(data, SPEC, count=5), strict=True):
        assert (clip.shape, clip.dtype.name) == (SPEC.input_shape(), "float32")
        np.testing.assert_array_equal(clip[0], preprocess(choice.video.read(SPEC, at=choice.at), SPEC))


def test_one_clip_is_read_at_a_time_and_every_pass_is_the_same() -> None:
    data = _data((4,))
    clips = CalibrationClips(data, SPEC)
    next(iter(clips))
    reads = [len(video.reads) for video in data.videos if isinstance(video, _Video)]
    assert sum(reads) == 1
    first, second = ([clip.tobytes() for clip in clips] for _ in range(2))
    assert first == second


def test_unreadable_videos_are_left_out_and_named_once(caplog: pytest.LogCaptureFixture) -> None:
    clips = CalibrationClips(_data((3, 3), broken=(1, 4)), SPEC)
    with caplog.at_level(logging.WARNING):
        assert [len(list(clips)) for _ in range(2)] == [4, 4]
    assert sorted(record.getMessage() for record in caplog.records) == [
        "4 calibration clips; give 100 or more for ranges to rely on",
        "left out of calibration: video 1 is broken",
        "left out of calibration: video 4 is broken",
    ]
    report = clips.to_dict()
    assert report["count"] == len(report["clips"]) == 4
    assert report["skipped"] == {"video 1": "video 1 is broken", "video 4": "video 4 is broken"}


def test_clips_are_counted_as_they_are_read() -> None:
    clips = CalibrationClips(_data((3, 3), broken=(1, 4)), SPEC)
    assert (clips.clips_read, len(clips)) == (0, 6)
    for _ in range(2):
        list(clips)
        assert clips.clips_read == count_read(clips, given=len(clips)) == 4
    assert count_read([1, 2, 3], given=3) == 3


def test_nothing_readable_is_an_error() -> None:
    with pytest.raises(InputFileError, match="no calibration clip of gray can be read; the first: video 0 is broken"):
        list(CalibrationClips(_data((1,), broken=(0,)), SPEC))


def test_the_report_pins_the_bytes_used() -> None:
    def report(seed: int) -> str:
        clips = CalibrationClips(_data((6,)), SPEC, seed=seed)
        list(clips)
        return str(clips.to_dict()["sha256"])

    assert report(0) == report(0)
    assert report(0) != report(1)


def test_progress_counts_clips() -> None:
    seen: list[tuple[int, int]] = []
    clips = CalibrationClips(_data((3,)), SPEC, progress=lambda done, total: seen.append((done, total)))
    list(clips)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    list(clips)
    clips.unseen(2)
    assert len(seen) == 3


def test_unseen_clips_are_of_other_videos_while_there_are_some() -> None:
    data = _data((5, 5))
    chosen = choose_clips(data, SPEC, count=10)
    clips = CalibrationClips(data, SPEC, count=7)
    expected = [crop_frames(each.video.read(SPEC, at=each.at), SPEC) for each in chosen[7:]]
    unseen = clips.unseen(5)
    assert {clip.shape for clip in unseen} == {(SPEC.frames, SPEC.size, SPEC.size, 3)}
    np.testing.assert_array_equal(unseen[:3], expected)
    calibrated = [clip.tobytes() for clip in clips.frames()]
    assert not any(clip.tobytes() in calibrated for clip in unseen)
    list(clips)
    assert clips.to_dict()["count"] == 7


def test_unseen_clips_leave_out_what_cannot_be_read() -> None:
    data = _data((4,))
    last = choose_clips(data, SPEC, count=4)[-1].video
    assert isinstance(last, _Video)
    last.broken = True
    assert len(CalibrationClips(data, SPEC, count=3).unseen(9)) == 3
    broken = CalibrationClips(_data((1,), broken=(0,)), SPEC)
    assert broken.unseen(1) == []
    with pytest.raises(InputFileError, match="no calibration clip of gray can be read; the first: video 0 is broken"):
        broken.frames(1)


@dataclass
class _Frames(_Video):
    """One of so many frames."""

    count: int = 0

    def room(self, spec: ClipSpec) -> float:
        return max(0, self.count - spec.frames) / spec.frames


@pytest.mark.parametrize(("frames", "count", "found"), [(60, 5, 0), (400, 1, 1), (40, 1, 0)])
def test_longer_unseen_clips_hold_none_that_is_calibrated_on(frames: int, count: int, found: int) -> None:
    """A run of a network that steps is as long as many clips."""
    clips = CalibrationClips(Videos(name="one", videos=[_Frames(1, 0, count=frames)]), SPEC, count=count)
    assert clips.unseen(4)
    runs = clips.unseen(4, length=50)
    assert [run.shape[0] for run in runs] == [50] * found


@pytest.mark.parametrize("count", [1, 3, 4, 5, 20])
@pytest.mark.parametrize("lengths", [0.0, 0.5, 1.0, 3.0, 7.5])
def test_unseen_clips_are_never_those_that_iterating_gives(count: int, lengths: float) -> None:
    data = _data((2, 1, 1), lengths=lengths)
    videos = [video for video in data.videos if isinstance(video, _Video)]
    clips = CalibrationClips(data, SPEC, count=count)
    list(clips)
    seen = {(video.number, at) for video in videos for at in video.reads}
    assert len(seen) == len(clips)
    for video in videos:
        video.reads.clear()
    unseen = clips.unseen(16)
    other = {(video.number, at) for video in videos for at in video.reads}
    assert not seen & other
    assert len(unseen) == len(other)
    # Videos as short as a clip have no other.
    assert bool(unseen) == (lengths > 0 or count < 4)


def test_several_clips_of_a_video_are_named_with_their_places() -> None:
    clips = CalibrationClips(_data((1,), lengths=9), SPEC, count=5)
    list(clips)
    report = clips.to_dict()
    assert (report["count"], len(clips)) == (5, 5)
    assert len({clip["at"] for clip in report["clips"]}) == 5
    assert {(clip["video"], clip["label"]) for clip in report["clips"]} == {("video 0", 0)}


def test_videos_need_no_labels() -> None:
    labeled = _data((3, 2))
    clips = CalibrationClips(Videos(name="gray", videos=labeled.videos), SPEC, count=4)
    assert len(list(clips)) == 4
    assert [clip["label"] for clip in clips.to_dict()["clips"]] == [None] * 4


def test_a_broken_video_that_would_give_several_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    data = _data((3,), broken=(1,), lengths=9)
    clips = CalibrationClips(data, SPEC, count=12)
    assert len(list(clips)) == 11
    assert sorted(record.getMessage() for record in caplog.records) == [
        "11 calibration clips; give 100 or more for ranges to rely on",
        "left out of calibration: video 1 is broken",
    ]
    assert clips.to_dict()["skipped"] == {"video 1": "video 1 is broken"}


def test_videos_of_one_name_are_told_apart() -> None:
    """A list may hold a file twice, and only one of two files of one name may be broken."""
    videos = [_Video(7, label, broken=label == 1) for label in (0, 1, 2)]
    clips = CalibrationClips(LabeledVideos(name="twice", labels=tuple("abc"), videos=videos), SPEC)
    assert len(list(clips)) == 2
    report = clips.to_dict()
    assert report["count"] == len(report["clips"]) == 2
    assert {clip["label"] for clip in report["clips"]} == {0, 2}
    assert report["skipped"] == {"video 7": "video 7 is broken"}


def test_each_clip_is_read_once_a_pass() -> None:
    data = _data((5,))
    clips = CalibrationClips(data, SPEC)
    for passes in (1, 2):
        list(clips)
        assert [len(video.reads) for video in data.videos if isinstance(video, _Video)] == [passes] * 5


@pytest.mark.parametrize(("count", "warns"), [(RECOMMENDED_CLIPS - 1, True), (RECOMMENDED_CLIPS, False)])
def test_few_clips_are_warned_of_once(count: int, *, warns: bool, caplog: pytest.LogCaptureFixture) -> None:
    clips = CalibrationClips(_data((count,)), SPEC)
    for _ in range(2):
        list(clips)
    assert [record.getMessage() for record in caplog.records] == (
        ["99 calibration clips; give 100 or more for ranges to rely on"] if warns else []
    )


def test_clips_that_take_long_are_fewer(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What was not read in the first pass is in no later one, and in no description."""
    monkeypatch.setattr("s2tf_edge.calibration.calibration_clips._SECONDS", 0.0)
    told: list[tuple[int, int]] = []
    clips = CalibrationClips(_data((10, 10)), SPEC, count=20, progress=lambda done, total: told.append((done, total)))
    assert len(clips) == 20
    first = [clip.tobytes() for clip in clips]
    assert len(first) == len(clips) == 8
    assert [clip.tobytes() for clip in clips] == first
    assert clips.to_dict()["count"] == len(clips.to_dict()["clips"]) == 8
    assert told[-1] == (8, 8)
    (message,) = caplog.messages
    assert message.startswith("calibrated on 8 of 20 clips: one takes ")


def test_clips_that_take_no_time_are_all_given(caplog: pytest.LogCaptureFixture) -> None:
    assert len(list(CalibrationClips(_data((60, 60)), SPEC, count=120))) == 120
    assert not caplog.messages

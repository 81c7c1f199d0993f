"""Which clips are chosen, of videos of which only length and class are known."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

import numpy as np
import pytest

from s2tf_edge.calibration.clip_choice import ClipChoice, choose_clips, choose_others
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.spec import ClipSpec

SPEC = ClipSpec(frames=4, size=16)


@dataclass(frozen=True)
class _Length:
    """A video that is so many clips longer than one."""

    number: int
    label: int
    lengths: float | None
    """None where it cannot be read."""

    @property
    def name(self) -> str:
        return f"video {self.number}"

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> NoReturn:
        raise NotImplementedError

    def room(self, spec: ClipSpec) -> float:
        del spec
        if self.lengths is None:
            msg = f"{self.name} is broken"
            raise InputFileError(msg)
        return self.lengths


def _data(*classes: Sequence[float | None]) -> LabeledVideos:
    lengths = [(label, each) for label, some in enumerate(classes) for each in some]
    videos = [_Length(number, label, each) for number, (label, each) in enumerate(lengths)]
    return LabeledVideos(name="lengths", labels=tuple("abc"), videos=videos)


def _moments(chosen: Sequence[ClipChoice]) -> dict[str, list[float]]:
    """Where the clips of each video start, in lengths of a clip, in order."""
    found: dict[str, list[float]] = defaultdict(list)
    for each in chosen:
        found[each.video.name].append(each.at * each.video.room(SPEC))
    return {name: sorted(starts) for name, starts in found.items()}


def test_classes_have_their_turn_however_rare() -> None:
    chosen = choose_clips(_data([0] * 50, [0] * 5, [0] * 3), SPEC, count=12)
    assert Counter(choice.label for choice in chosen) == {0: 5, 1: 4, 2: 3}
    assert len({choice.video.name for choice in chosen}) == 12


def test_the_seed_decides_videos_and_moments() -> None:
    data = _data([9] * 20, [9] * 20)

    def chosen(seed: int, count: int = 10) -> list[tuple[str, float]]:
        return [(each.video.name, each.at) for each in choose_clips(data, SPEC, count=count, seed=seed)]

    assert chosen(1) == chosen(1)
    assert chosen(1, 200) == chosen(1, 200)
    assert {name for name, _ in chosen(1)} != {name for name, _ in chosen(2)}
    moments = [at for _, at in chosen(1)]
    assert min(moments) < 0.4 < 0.6 < max(moments)
    assert all(0 <= at <= 1 for at in moments)


def test_a_count_that_is_not_positive_is_refused() -> None:
    with pytest.raises(UsageError, match="must be one or more, got 0"):
        choose_clips(_data([0]), SPEC, count=0)


def test_no_video_is_looked_into_where_there_are_enough() -> None:
    data = _data([None] * 6)
    assert len(choose_clips(data, SPEC, count=6)) == 6
    others = choose_others(data, SPEC, chosen=choose_clips(data, SPEC, count=3))
    assert [next(others).video in data.videos for _ in range(3)] == [True] * 3


def test_every_video_comes_first_then_long_ones_again() -> None:
    data = _data([0, 0.99, 4.2, 10])
    chosen = choose_clips(data, SPEC, count=9)
    assert len({each.video.name for each in chosen[:4]}) == 4
    counts = Counter(each.video.name for each in chosen)
    assert (counts["video 0"], counts["video 1"], {counts["video 2"], counts["video 3"]}) == (1, 1, {3, 4})


def test_no_more_clips_than_fit_side_by_side() -> None:
    chosen = choose_clips(_data([0, 0.99, 4.2, None]), SPEC, count=100)
    assert Counter(each.video.name for each in chosen) == {"video 0": 1, "video 1": 1, "video 2": 5, "video 3": 1}


def test_the_class_with_the_fewest_clips_gives_the_next() -> None:
    chosen = choose_clips(_data([20] * 6, [20], [1, 0]), SPEC, count=18)
    assert Counter(each.label for each in chosen) == {0: 8, 1: 7, 2: 3}
    for count in range(9, 18):
        classes = Counter(each.label for each in chosen[:count])
        assert classes[0] == 6 or classes[0] - classes[1] <= 1


@pytest.mark.parametrize("lengths", [1, 2.0000001, 3.9, 7, 60.5])
@pytest.mark.parametrize("count", [2, 5, 61])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clips_of_one_video_do_not_overlap_and_reach_over_all_of_it(lengths: float, count: int, seed: int) -> None:
    data = _data([lengths])
    chosen = choose_clips(data, SPEC, count=count, seed=seed)
    assert len(chosen) == min(count, int(lengths) + 1)
    starts = _moments(chosen)["video 0"]
    assert min(later - start for start, later in pairwise(starts)) > 1 - 1e-4
    assert 0 <= starts[0] <= starts[-1] <= lengths
    part = (lengths + 1) / len(chosen)
    assert [int((start + 1e-4) / part) for start in starts] == list(range(len(chosen)))


def test_a_beginning_is_spread_over_time_too() -> None:
    """A quantizer may stop early, and should not have seen the beginning of a video alone."""
    chosen = choose_clips(_data([1000]), SPEC, count=200)
    first = np.array([each.at for each in chosen[:30]])
    assert first.min() < 0.2 < 0.8 < first.max()


def test_others_lie_between_and_those_that_do_not_overlap_come_first() -> None:
    data = _data([40.0])
    chosen = choose_clips(data, SPEC, count=10)
    others = list(choose_others(data, SPEC, chosen=chosen))
    starts = _moments(chosen)["video 0"]
    distances = [min(abs(each.at * 40 - start) for start in starts) for each in others]
    overlaps = [distance < 1 - 1e-4 for distance in distances]
    assert len(others) == 9
    assert overlaps == sorted(overlaps)
    assert min(distances) > 0.25


def test_of_a_full_video_others_overlap_but_show_other_frames() -> None:
    data = _data([3.0])
    chosen = choose_clips(data, SPEC, count=10)
    assert [each.at * 3 for each in choose_others(data, SPEC, chosen=chosen)] != []
    starts = _moments(chosen)["video 0"]
    for each in choose_others(data, SPEC, chosen=chosen):
        assert min(abs(each.at * 3 - start) for start in starts) == pytest.approx(0.5, abs=1e-4)


@dataclass(frozen=True)
class _Frames:
    """A video of so many frames."""

    count: int
    name: str = "video"

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> NoReturn:
        raise NotImplementedError

    def room(self, spec: ClipSpec) -> float:
        return max(0, self.count - spec.frames) / spec.frames


@pytest.mark.parametrize("count", [1, 2, 10])
@pytest.mark.parametrize(("frames", "run"), [(400, 8), (400, 30), (400, 82), (80, 60), (60, 60), (40, 60)])
def test_other_runs_show_nothing_of_the_clips_that_were_chosen(count: int, frames: int, run: int) -> None:
    """However much longer than a clip they are."""
    video = _Frames(frames)
    data = Videos(name="frames", videos=[video])
    chosen = choose_clips(data, SPEC, count=count)
    seen = {frame for each in chosen for frame in _shown(each, video, SPEC)}
    longer = dataclasses.replace(SPEC, frames=run)
    others = list(choose_others(data, SPEC, chosen=chosen, frames=run))
    for each in others:
        assert 0 <= each.at <= 1
        assert not seen & set(_shown(each, video, longer))
    if run == 8 or (count, run) in {(1, 30), (1, 82), (2, 30)}:
        assert others
    if frames <= run:
        assert not others


def _shown(choice: ClipChoice, video: _Frames, spec: ClipSpec) -> range:
    start = round(choice.at * (video.count - spec.frames))
    # A frame that both may touch by rounding is none that they share.
    return range(start + 1, start + spec.frames - 1)


@pytest.mark.parametrize(("lengths", "others"), [(0.0, 0), (0.4, 0), (0.5, 1), (2.0, 1)])
def test_a_moment_that_shows_the_same_frames_is_no_other(lengths: float, others: int) -> None:
    """Half of the way is one of four samples further where a clip can move by half its length."""
    data = _data([lengths])
    chosen = choose_clips(data, SPEC, count=1)
    assert len(list(choose_others(data, SPEC, chosen=chosen))) == others


def test_a_video_that_is_listed_twice_is_no_other_of_itself() -> None:
    data = Videos(name="twice", videos=[_Length(0, 0, 0.0), _Length(0, 0, 0.0)])
    assert list(choose_others(data, SPEC, chosen=choose_clips(data, SPEC, count=1))) == []


def test_videos_without_labels_are_one_class() -> None:
    data = _data([5] * 3, [0])
    chosen = choose_clips(Videos(name="bare", videos=data.videos), SPEC, count=7)
    assert {each.label for each in chosen} == {None}
    assert sorted(Counter(each.video.name for each in chosen).values()) == [1, 2, 2, 2]

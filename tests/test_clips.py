from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.clips import Frame, SampleClock, clip_room, clip_start_seconds
from s2tf_edge.errors import UsageError
from s2tf_edge.spec import ClipSpec


def taken(spec: ClipSpec, pts: list[float], *, start: float = 0.0) -> list[int]:
    clock = SampleClock(spec, start_seconds=start)
    return [index for index, seconds in enumerate(pts) for _ in range(clock.take(seconds))]


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (60, [0, 4, 8, 12, 16]),
        (30, [0, 2, 4, 6, 8]),
        (15, [0, 1, 2, 3, 4]),
        (7.5, [0, 1, 1, 2, 2]),
    ],
)
def test_any_frame_rate_is_sampled_at_the_same_times(fps: float, expected: list[int]) -> None:
    spec = ClipSpec(frames=5, size=8, stride=2, fps=30)
    assert taken(spec, [5 + index / fps for index in range(40)], start=5.0)[:5] == expected


@pytest.mark.parametrize("fps", [40, 60, 100, 120, 240])
def test_fast_sources_are_sampled_evenly(fps: int) -> None:
    spec = ClipSpec(frames=5, size=8, stride=2, fps=20)
    step = fps // 10
    assert taken(spec, [index / fps for index in range(6 * step)])[:5] == [0, step, 2 * step, 3 * step, 4 * step]


def test_jitter_of_timestamps_does_not_move_samples() -> None:
    spec = ClipSpec(frames=8, size=8, stride=1, fps=30)
    rng = np.random.default_rng(0)
    pts = [0.0, *(index / 30 + rng.uniform(-0.012, 0.012) for index in range(1, 60))]
    assert taken(spec, pts) == list(range(60))


def test_variable_rate_takes_the_first_frame_at_or_after_each_instant() -> None:
    spec = ClipSpec(frames=4, size=8, stride=1, fps=10)
    assert taken(spec, [0.0, 0.03, 0.05, 0.1, 0.31, 0.4]) == [0, 3, 4, 4, 5]


def test_a_leap_of_the_clock_ends_at_once() -> None:
    clock = SampleClock(ClipSpec(frames=4, size=8, fps=25), start_seconds=0.0)
    assert clock.take(4e9) == pytest.approx(1e11, rel=1e-6)
    assert clock.next_seconds == pytest.approx(4e9, abs=1)


def test_next_seconds_advances_with_samples_only() -> None:
    clock = SampleClock(ClipSpec(frames=4, size=8, stride=2, fps=20), start_seconds=1.0)
    assert clock.next_seconds == 1.0
    assert clock.take(0.5) == 0
    assert clock.next_seconds == 1.0
    assert clock.take(1.0) == 1
    assert clock.next_seconds == pytest.approx(1.1)


@pytest.mark.parametrize(("at", "expected"), [(0.0, 2.0), (0.5, 6.5), (1.0, 11.0)])
def test_clip_start_places_the_clip_within_the_video(at: float, expected: float) -> None:
    spec = ClipSpec(frames=11, size=8, fps=10)
    assert clip_start_seconds(spec, first_seconds=2.0, last_seconds=12.0, at=at) == pytest.approx(expected)


@pytest.mark.parametrize("at", [0.0, 0.3, 1.0])
def test_clip_of_a_short_video_starts_with_it(at: float) -> None:
    spec = ClipSpec(frames=11, size=8, fps=10)
    assert clip_start_seconds(spec, first_seconds=2.0, last_seconds=2.5, at=at) == 2.0


@pytest.mark.parametrize("at", [-0.1, 1.1, float("nan")])
def test_clip_start_refuses_places_outside_the_video(at: float) -> None:
    with pytest.raises(UsageError, match=r"at must lie in \[0, 1\]"):
        clip_start_seconds(ClipSpec(frames=2, size=8), first_seconds=0, last_seconds=1, at=at)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_frame_refuses_other_arrays(image: NDArray[np.uint8]) -> None:
    with pytest.raises(UsageError, match=r"uint8 \[H, W, 3\], got"):
        Frame(image=image, pts_seconds=0.0)


@pytest.mark.parametrize(("last_seconds", "room"), [(2.7, 0.0), (2.9, 0.0), (3.3, 1.0), (3.7, 2.0), (3.8, 2.25)])
def test_room_counts_lengths_of_a_clip(last_seconds: float, room: float) -> None:
    spec = ClipSpec(frames=4, size=8, stride=1, fps=10)
    assert clip_room(spec, first_seconds=2.6, last_seconds=last_seconds) == pytest.approx(room)


def test_clips_a_length_apart_share_no_sample() -> None:
    spec = ClipSpec(frames=4, size=8, stride=1, fps=10)
    room = clip_room(spec, first_seconds=0.0, last_seconds=1.1)
    assert room == pytest.approx(2)
    starts = [clip_start_seconds(spec, first_seconds=0.0, last_seconds=1.1, at=index / room) for index in range(3)]
    assert np.diff(starts) == pytest.approx([spec.span_seconds + spec.period_seconds] * 2)

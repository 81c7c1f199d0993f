"""Windows of a stream are the clips of the file."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.clips import Frame, SampleClock
from s2tf_edge.data.seeking import from_moment
from s2tf_edge.data.video import read_clip
from s2tf_edge.errors import UsageError
from s2tf_edge.preprocess import center_crop
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.clip_ring import ClipRing, Window
from s2tf_edge.runtime.streaming.records import Gap
from s2tf_edge.runtime.streaming.window import Windower, gap_seconds
from s2tf_edge.runtime.streaming.zone_rings import RegionGone
from s2tf_edge.spec import ClipSpec

RATES = (15.0, 24.0, 25.0, 30.0, 60.0)


def _image(level: float, *, height: int = 32, width: int = 48) -> av.VideoFrame:
    image: NDArray[np.uint8] = np.full((height, width, 3), level, np.uint8)
    return av.VideoFrame.from_ndarray(image, format="rgb24")


def _feed(windower: Windower, times: list[float]) -> list[Gap | RegionGone | Window]:
    fed = (windower.add(_image(index), pts_seconds=time, presented_at=time) for index, time in enumerate(times))
    return [*itertools.chain.from_iterable(fed), *windower.finish()]


def _windower(spec: ClipSpec, *, hop: int = 1) -> Windower:
    return Windower(spec, hop=hop, gap_seconds=gap_seconds(spec), times=StageTimes())


def _of_file(path: Path, spec: ClipSpec, *, hop: int) -> list[Window]:
    windower = _windower(spec, hop=hop)
    windows: list[Gap | RegionGone | Window] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            assert frame.time is not None
            windows += windower.add(frame, pts_seconds=frame.time, presented_at=0.0)
    windows += windower.finish()
    return [window for window in windows if isinstance(window, Window)]


def test_the_ring_is_one_view_of_the_last_samples() -> None:
    ring = ClipRing(3, 2)
    for index in range(11):
        ring.push(np.full((2, 2, 3), index, np.uint8), float(index))
        if index >= 2:
            view, first, last = ring.view()
            assert view[:, 0, 0, 0].tolist() == [index - 2, index - 1, index]
            assert (first, last) == (index - 2, index)
            assert view.flags.c_contiguous
            assert not view.flags.owndata


def test_an_unfilled_ring_has_no_view() -> None:
    ring = ClipRing(3, 2)
    ring.push(np.zeros((2, 2, 3), np.uint8), 0.0)
    with pytest.raises(UsageError, match="holds 1 of the 3 samples"):
        ring.view()


@pytest.mark.parametrize("fps", RATES)
def test_the_first_window_is_the_clip_that_a_file_begins_with(
    make_video: Callable[..., Path], spec: ClipSpec, fps: float
) -> None:
    path = make_video("a.mp4", [(7 * index) % 256 for index in range(int(fps))], fps=fps)
    expected = center_crop(read_clip(path, spec, at=0), spec.size)
    np.testing.assert_array_equal(_of_file(path, spec, hop=1)[0].frames, expected)


@pytest.mark.parametrize("fps", RATES)
def test_windows_are_slices_of_the_samples_of_the_file(
    read_video: Callable[..., list[Frame]], make_video: Callable[..., Path], spec: ClipSpec, fps: float
) -> None:
    path = make_video("a.mp4", [(7 * index) % 256 for index in range(int(fps))], fps=fps)
    clock, hop = SampleClock(spec, start_seconds=0.0), 2
    frames = read_video(path, short_side=spec.resize_short_side)
    samples = [frame for frame in frames for _ in range(clock.take(frame.pts_seconds))]
    windows = _of_file(path, spec, hop=hop)
    assert len(windows) == (len(samples) - spec.frames) // hop + 1 >= 3
    for number, window in enumerate(windows):
        taken = samples[number * hop : number * hop + spec.frames]
        expected = center_crop(np.stack([frame.image for frame in taken]), spec.size)
        np.testing.assert_array_equal(window.frames, expected)
        assert (window.t_start, window.t_end) == pytest.approx((taken[0].pts_seconds, taken[-1].pts_seconds))


@pytest.mark.parametrize("fps", [12.5, 25.0, 50.0])
def test_every_window_is_the_clip_read_from_the_file_at_its_start(
    make_video: Callable[..., Path], spec: ClipSpec, fps: float
) -> None:
    count = int(2 * fps)
    path = make_video("a.mp4", [(7 * index) % 256 for index in range(count)], fps=fps)
    latest_seconds = (count - 1) / fps - spec.span_seconds
    windows = _of_file(path, spec, hop=3)
    assert len(windows) >= 5
    for window in windows:
        clip = read_clip(path, spec, at=min(1.0, window.t_start / latest_seconds))
        np.testing.assert_array_equal(window.frames, center_crop(clip, spec.size))


@pytest.mark.parametrize("fps", RATES)
def test_windows_agree_whatever_the_frame_rate(spec: ClipSpec, fps: float) -> None:
    """The picture shows its own time; a sample is at most half a frame early and at most a frame late."""
    windower = _windower(spec)
    windows: list[Window] = []
    for index in range(int(2 * fps)):
        frame = _image(100 * index / fps)
        windows += [
            item for item in windower.add(frame, pts_seconds=index / fps, presented_at=0.0) if isinstance(item, Window)
        ]
    for number, window in enumerate(windows):
        shown = window.frames[:, 0, 0, 0] / 100
        instants = (number + np.arange(spec.frames)) * spec.period_seconds
        assert (shown - instants > -0.4 / spec.fps - 0.01).all()
        assert (shown - instants < 1 / fps + 0.01).all()
    assert len(windows) == pytest.approx(2 / spec.period_seconds - spec.frames + 1, abs=1.5)


@pytest.mark.parametrize("hop", [1, 3, 4, 7])
def test_hop_is_the_distance_of_windows_in_samples(spec: ClipSpec, hop: int) -> None:
    items = _feed(_windower(spec, hop=hop), [index * spec.period_seconds for index in range(20)])
    starts = [int(item.frames[0, 0, 0, 0]) for item in items if isinstance(item, Window)]
    assert starts == list(range(0, 17, hop))


def test_nothing_is_spliced_over_a_gap(spec: ClipSpec) -> None:
    period = spec.period_seconds
    times = [index * period for index in range(6)] + [9 + index * period for index in range(6)]
    items = _feed(_windower(spec), times)
    gaps = [item for item in items if isinstance(item, Gap)]
    assert [(gap.t_start, gap.t_end) for gap in gaps] == [(times[5], times[6])]
    windows = [item for item in items if isinstance(item, Window)]
    assert len(windows) == 6
    assert all(window.t_end - window.t_start == pytest.approx(spec.span_seconds) for window in windows)


def test_a_clock_that_starts_anew_is_a_gap_however_short(spec: ClipSpec) -> None:
    windower, period = _windower(spec), spec.period_seconds
    items: list[object] = []
    for index in range(10):
        items += windower.add(
            _image(index),
            pts_seconds=50 + index * period,
            own_seconds=(index % 5) * period,
            presented_at=0.0,
            restarts=index == 5,
        )
    (gap,) = (item for item in items if isinstance(item, Gap))
    assert (gap.cause, gap.t_start, gap.t_end) == ("clock", 50 + 4 * period, 50 + 5 * period)
    assert (gap.source_t_start, gap.source_t_end) == pytest.approx((4 * period, 0.0))
    shown = [item.frames[:, 0, 0, 0].tolist() for item in items if isinstance(item, Window)]
    assert shown == [[0, 1, 2, 3], [1, 2, 3, 4], [5, 6, 7, 8], [6, 7, 8, 9]]


def test_what_lies_between_two_gaps_is_padded_as_a_short_source_is(spec: ClipSpec) -> None:
    period = spec.period_seconds
    times = [9 * stretch + index * period for stretch in range(6) for index in range(3)]
    items = _feed(_windower(spec), times)
    shown = [item.frames[:, 0, 0, 0].tolist() for item in items if isinstance(item, Window)]
    assert shown == [[3 * stretch, 3 * stretch + 1, *[3 * stretch + 2] * 2] for stretch in range(6)]
    assert [type(item) for item in items] == [Window, Gap] * 5 + [Window]
    assert [item.t_start for item in items if isinstance(item, Window)] == [9.0 * stretch for stretch in range(6)]


def test_a_stretch_that_had_a_window_is_not_padded(spec: ClipSpec) -> None:
    period = spec.period_seconds
    times = [index * period for index in range(4)] + [9.0]
    shown = [item.frames[:, 0, 0, 0].tolist() for item in _feed(_windower(spec), times) if isinstance(item, Window)]
    assert shown == [[0, 1, 2, 3], [4, 4, 4, 4]]


def test_a_frame_out_of_order_is_left_out_and_counted(spec: ClipSpec) -> None:
    windower = _windower(spec)
    windows = _feed(windower, [0.0, 0.08, 0.04, 0.16, 0.24])
    assert windower.out_of_order == 1
    assert [item.frames[:, 0, 0, 0].tolist() for item in windows if isinstance(item, Window)] == [[0, 1, 3, 4]]


def test_the_frames_of_a_slow_source_are_no_gaps(spec: ClipSpec) -> None:
    assert gap_seconds(spec) == 1.0
    assert gap_seconds(spec, frame_seconds=2.0) == 6.0
    assert gap_seconds(spec, frame_seconds=200.0) == 30.0


@pytest.mark.parametrize("hop", [1, 3, 9])
def test_a_frame_that_is_held_is_not_repeated_without_end(spec: ClipSpec, hop: int) -> None:
    windower = Windower(spec, hop=hop, gap_seconds=float("inf"), times=StageTimes())
    late = 1e4 * spec.period_seconds
    windows = _feed(windower, [0.0, late, late + spec.period_seconds * hop])
    shown = [item.frames[:, 0, 0, 0].tolist() for item in windows if isinstance(item, Window)]
    assert [0, 0, 0, 0] in shown
    assert shown[-1][-1] in (1, 2)
    assert len(shown) <= spec.frames + 4


def test_a_frame_that_is_held_is_shown_at_every_instant_up_to_the_next(spec: ClipSpec) -> None:
    period = spec.period_seconds
    windower = Windower(spec, hop=1, gap_seconds=float("inf"), times=StageTimes())
    items = _feed(windower, [0.0, period, 15 * period, 16 * period])
    windows = [item for item in items if isinstance(item, Window)]
    assert windows == items
    assert windows[0].frames[:, 0, 0, 0].tolist() == [0, 1, 1, 1]
    assert windows[-1].frames[:, 0, 0, 0].tolist() == [1, 1, 2, 3]
    assert (windows[0].t_start, windows[0].t_end) == pytest.approx((0.0, 3 * period))
    # Fourteen instants from one frame to the next; where windows repeat each other, most are left out.
    assert [round(item.t_end / period) for item in windows][-3:] == [14, 15, 16]


def test_the_last_picture_is_held_for_as_long_as_it_says(spec: ClipSpec) -> None:
    windower = Windower(spec, hop=1, gap_seconds=float("inf"), times=StageTimes())
    last = _image(9)
    last.time_base, last.duration = Fraction(1, 10), 30
    items = [*windower.add(_image(1), pts_seconds=0.0, presented_at=0.0)]
    items += windower.add(last, pts_seconds=spec.period_seconds, presented_at=0.0)
    assert items == []
    windows = [item for item in windower.finish() if isinstance(item, Window)]
    assert windows[0].frames[:, 0, 0, 0].tolist() == [1, 9, 9, 9]
    assert windows[-1].frames[:, 0, 0, 0].tolist() == [9, 9, 9, 9]
    assert windows[-1].t_end == pytest.approx(3.0, abs=2 * spec.period_seconds)


@pytest.mark.parametrize("at", [0.0, 0.35, 0.5, 0.9, 1.0])
def test_a_held_picture_is_the_same_in_a_file_read_at_once(
    make_video: Callable[..., Path], spec: ClipSpec, at: float
) -> None:
    times = [index / 25 for index in range(10)] + [3 + index / 25 for index in range(10)]
    path = make_video("held.mp4", [12 * index for index in range(20)], times=times)
    start = at * (times[-1] - spec.span_seconds)
    windower = Windower(spec, hop=1, gap_seconds=float("inf"), times=StageTimes())
    windows: list[object] = []
    with av.open(str(path)) as container:
        frames = ((frame.time or 0.0, frame) for frame in container.decode(video=0))
        for seconds, (_, frame) in from_moment(frames, start):
            windows += windower.add(frame, pts_seconds=seconds, presented_at=0.0)
    windows += windower.finish()
    assert isinstance(windows[0], Window)
    np.testing.assert_array_equal(windows[0].frames, center_crop(read_clip(path, spec, at=at), spec.size))


def test_each_scaling_is_timed_once(spec: ClipSpec) -> None:
    times = StageTimes()
    windower = Windower(spec, hop=1, gap_seconds=1.0, times=times)
    for index in range(6):
        list(windower.add(_image(index), pts_seconds=index / spec.fps, presented_at=0.0))
    assert times.to_dict()["scale"]["n"] == 3


@pytest.mark.parametrize("count", [1, 3])
def test_a_source_shorter_than_a_clip_gives_one_window(
    make_video: Callable[..., Path], spec: ClipSpec, count: int
) -> None:
    path = make_video("short.mp4", [50, 100, 150, 200, 250][:count], fps=12.5)
    windows = _of_file(path, spec, hop=1)
    assert len(windows) == 1
    np.testing.assert_array_equal(windows[0].frames, center_crop(read_clip(path, spec), spec.size))
    assert windows[0].t_end == pytest.approx((count - 1) / 12.5)


def test_the_picture_may_change_its_size_midway(spec: ClipSpec) -> None:
    windower = _windower(spec)
    items: list[Gap | RegionGone | Window] = []
    for index, (height, width) in enumerate([(48, 64), (48, 64), (200, 100), (33, 35)]):
        frame = _image(60 * index, height=height, width=width)
        items += windower.add(frame, pts_seconds=index * spec.period_seconds, presented_at=0.0)
    assert isinstance(items[0], Window)
    assert items[0].frames.mean(axis=(1, 2, 3)) == pytest.approx([0, 60, 120, 180], abs=1)


def test_the_picture_may_be_turned_midway(make_video: Callable[..., Path], spec: ClipSpec) -> None:
    paths = [make_video("level.mp4", [50] * 2), make_video("turned.mp4", [200] * 2, rotation_degrees=90)]
    windower = _windower(spec)
    items: list[Gap | RegionGone | Window] = []
    for number, path in enumerate(paths):
        with av.open(str(path)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                seconds = (2 * number + index) * spec.period_seconds
                items += windower.add(frame, pts_seconds=seconds, presented_at=0.0)
    (window,) = items
    assert isinstance(window, Window)
    assert window.frames.mean(axis=(1, 2, 3)) == pytest.approx([50, 50, 200, 200], abs=2)


def test_a_window_outlives_the_ring(spec: ClipSpec) -> None:
    items = _feed(_windower(spec), [index * spec.period_seconds for index in range(12)])
    first = items[0]
    assert isinstance(first, Window)
    assert first.frames[:, 0, 0, 0].tolist() == [0, 1, 2, 3]

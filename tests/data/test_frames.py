from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from s2tf_edge.data.container import open_container, video_stream
from s2tf_edge.data.frames import FrameTimes, nominal_fps, scale_frame
from s2tf_edge.errors import UsageError
from s2tf_edge.preprocess import scale_frames


def planar_gray(level: int, *, format: str = "yuv420p", color_range: int = 1) -> av.VideoFrame:
    dtype, neutral = (np.uint16, 512) if "10" in format else (np.uint8, 128)
    planes = np.full((72, 64), neutral, dtype)
    planes[:48] = level
    frame = av.VideoFrame.from_ndarray(planes, format=format)
    frame.color_range = color_range
    return frame


@pytest.mark.parametrize(
    ("level", "format", "color_range", "expected"),
    [
        (235, "yuv420p", 1, 255),
        (16, "yuv420p", 1, 0),
        (235, "yuv420p", 2, 235),
        (16, "yuv420p", 2, 16),
        (4 * 126, "yuv420p10le", 1, 128),
    ],
)
def test_ranges_and_depths_become_rgb(level: int, format: str, color_range: int, expected: int) -> None:
    image = scale_frame(planar_gray(level, format=format, color_range=color_range), 24)
    assert image.shape == (24, 32, 3)
    assert np.abs(image.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(("size", "expected"), [((241, 321), (64, 85)), ((64, 64), (64, 64)), ((31, 17), (117, 64))])
def test_scaling_while_decoding_is_the_reference(size: tuple[int, int], expected: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    scaled = scale_frame(av.VideoFrame.from_ndarray(image, format="rgb24"), 64)
    assert (scaled.shape[:2], scaled.flags.c_contiguous) == (expected, True)
    np.testing.assert_array_equal(scaled, scale_frames(image[None], 64)[0])


def test_a_format_that_cannot_be_scaled_is_an_error() -> None:
    with pytest.raises(UsageError, match="a picture of 64×48 in rgbaf32le cannot be scaled"):
        scale_frame(av.VideoFrame(64, 48, "rgbaf32le"), 24)


QUARTERS = np.zeros((48, 64, 3), np.uint8)
QUARTERS[:24, :32] = 255


@pytest.mark.parametrize(
    ("rotation_degrees", "mirrored", "shape", "corner"),
    [
        (0, False, (48, 64), (0, 0)),
        (90, False, (64, 48), (1, 0)),
        (180, False, (48, 64), (1, 1)),
        (-90, False, (64, 48), (0, 1)),
        (0, True, (48, 64), (0, 1)),
        (90, True, (64, 48), (1, 1)),
    ],
)
def test_display_matrix_is_applied(
    make_video: Callable[..., Path],
    rotation_degrees: int,
    mirrored: bool,
    shape: tuple[int, int],
    corner: tuple[int, int],
) -> None:
    path = make_video(frames=1, image=QUARTERS, rotation_degrees=rotation_degrees, mirrored=mirrored)
    with open_container(path) as container:
        image = scale_frame(next(container.decode(video_stream(container))))
    assert image.shape == (*shape, 3)
    bright = image[[4, -5]][:, [4, -5]].mean(axis=2) > 128
    assert np.argwhere(bright).tolist() == [list(corner)]


def timed(pts: int, dts: int | None) -> av.VideoFrame:
    frame = av.VideoFrame(16, 16, "rgb24")
    frame.pts, frame.dts, frame.time_base = pts, dts, Fraction(1, 10)
    return frame


def test_times_of_packed_b_frames_run_forwards(make_video: Callable[..., Path]) -> None:
    with open_container(make_video(frames=2, fps=10)) as container:
        times = FrameTimes(video_stream(container))
    pts, dts = [1, 4, 3, 5, 7, 6, 9, 8], [2, 3, 4, 5, 6, 7, 8, 9]
    seconds = [times.seconds(timed(*pair)) for pair in zip(pts, dts, strict=True)]
    assert seconds == pytest.approx([0.1, 0.4, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    # What a decoder still holds at the end of the file comes without a time of decoding.
    assert times.seconds(timed(10, None)) == pytest.approx(1.0)


def test_times_are_counted_where_the_container_has_none(make_video: Callable[..., Path]) -> None:
    with open_container(make_video("raw.h264", frames=6, fps=25)) as container:
        stream = video_stream(container)
        times = FrameTimes(stream)
        assert nominal_fps(stream) == 25
        frames = list(container.decode(stream))
        assert frames[0].pts is None
        assert [times.seconds(frame) for frame in frames] == pytest.approx([index / 25 for index in range(6)])


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_process_scales_frames_as_its_parent_did() -> None:
    frame = av.VideoFrame.from_ndarray(np.zeros((480, 640, 3), np.uint8), format="rgb24")
    scale_frame(frame, 32)
    child = multiprocessing.get_context("fork").Process(target=scale_frame, args=(frame, 32))
    child.start()
    child.join(300)
    alive = child.is_alive()
    child.kill()
    assert not alive
    assert child.exitcode == 0


def test_scaled_frames_leave_nothing_to_the_collector(make_video: Callable[..., Path]) -> None:
    """Frames of a long video in a cycle of references would fill memory until Python looks for cycles."""
    path = make_video(frames=4, image=QUARTERS, rotation_degrees=90, mirrored=True)
    gc.collect()
    gc.disable()
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                scale_frame(frame, 16)
        del frame
        assert gc.collect() == 0
    finally:
        gc.enable()

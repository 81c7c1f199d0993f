from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.data.container import open_container, video_stream
from s2tf_edge.data.video import probe, read_clip, read_frames
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.spec import ClipSpec

LEVELS_PER_FRAME = 4


def number(image: NDArray[np.uint8]) -> int:
    """Which frame of a video of ``make_video`` this is."""
    return round(float(image.mean()) / LEVELS_PER_FRAME)


def clip_numbers(path: Path, spec: ClipSpec, *, at: float) -> list[int]:
    return [number(image) for image in read_clip(path, spec, at=at)]


def test_probe_counts_what_is_there(make_video: Callable[..., Path]) -> None:
    info = probe(make_video(frames=30, fps=30, pts=range(60, 90), rotation_degrees=90))
    assert (info.first_seconds, info.last_seconds) == pytest.approx((2.0, 2 + 29 / 30))
    assert (info.width, info.height, info.rotation_degrees) == (48, 64, 90)
    assert info.frames == 30
    assert info.average_fps == pytest.approx(30)


def test_probe_sees_that_a_file_has_changed(make_video: Callable[..., Path]) -> None:
    assert probe(make_video(frames=4)).frames == 4
    assert probe(make_video(frames=7)).frames == 7


@pytest.mark.parametrize("name", ["video.mp4", "video.mkv", "video.ts", "raw.h264"])
def test_frames_come_in_order_of_presentation(make_video: Callable[..., Path], name: str) -> None:
    path = make_video(name, frames=30, fps=25, options={"bf": "2"})
    frames = list(read_frames(path))
    assert [number(frame.image) for frame in frames] == list(range(30))
    steps = np.diff([frame.pts_seconds for frame in frames])
    assert steps == pytest.approx(np.full(29, 0.04), abs=2e-3)


def test_frames_of_an_avi_with_b_frames_run_forwards(make_video: Callable[..., Path]) -> None:
    frames = list(read_frames(make_video("video.avi", frames=30, fps=25, options={"bf": "2"})))
    assert [number(frame.image) for frame in frames] == list(range(30))
    assert [frame.pts_seconds for frame in frames] == pytest.approx(np.arange(30) / 25, abs=0.1)
    assert (np.diff([frame.pts_seconds for frame in frames]) >= 0).all()


@pytest.mark.parametrize("name", ["video.mp4", "video.mkv", "video.ts", "raw.h264"])
@pytest.mark.parametrize(("start", "end", "expected"), [(0.0, 0.1, [0, 1, 2]), (0.8, 0.92, [20, 21, 22, 23])])
def test_a_part_is_read_from_its_first_frame_to_its_last(
    make_video: Callable[..., Path], name: str, start: float, end: float, expected: list[int]
) -> None:
    path = make_video(name, frames=30, fps=25, options={"bf": "2", "g": "12"})
    first = probe(path).first_seconds
    frames = read_frames(path, start_seconds=first + start, end_seconds=first + end)
    assert [number(frame.image) for frame in frames] == expected


def test_times_before_and_after_the_video(make_video: Callable[..., Path]) -> None:
    path = make_video(frames=5, fps=10, pts=range(10, 15))
    assert len(list(read_frames(path, start_seconds=0.0))) == 5
    assert list(read_frames(path, start_seconds=3.0)) == []
    assert list(read_frames(path, end_seconds=0.5)) == []


def test_frames_are_scaled(make_video: Callable[..., Path]) -> None:
    assert next(read_frames(make_video(), short_side=24)).image.shape == (24, 32, 3)


@pytest.mark.parametrize(
    ("at", "expected"), [(0.0, [0, 2, 4, 6, 8]), (0.5, [11, 13, 15, 17, 19]), (1.0, [21, 23, 25, 27, 29])]
)
def test_a_clip_lies_where_it_was_asked_for(make_video: Callable[..., Path], at: float, expected: list[int]) -> None:
    spec = ClipSpec(frames=5, size=24, stride=2, fps=30)
    assert clip_numbers(make_video(frames=30, fps=30), spec, at=at) == expected


def test_a_clip_is_sampled_by_time(make_video: Callable[..., Path]) -> None:
    spec = ClipSpec(frames=5, size=24, stride=2, fps=20)
    assert clip_numbers(make_video("60.mp4", frames=60, fps=60), spec, at=0) == [0, 6, 12, 18, 24]
    assert clip_numbers(make_video("5.mp4", frames=10, fps=5), spec, at=0) == [0, 1, 1, 2, 2]
    uneven = make_video("uneven.mkv", frames=6, fps=100, pts=[0, 9, 11, 30, 31, 40])
    assert clip_numbers(uneven, spec, at=0) == [0, 1, 3, 3, 5]


def test_a_short_video_ends_in_its_last_frame(make_video: Callable[..., Path]) -> None:
    spec = ClipSpec(frames=6, size=24, fps=30)
    assert clip_numbers(make_video(frames=3, fps=30), spec, at=1) == [0, 1, 2, 2, 2, 2]
    assert clip_numbers(make_video("one.mp4", frames=1, fps=30), spec, at=0.5) == [0] * 6


def test_a_clip_has_the_short_side_of_its_spec(make_video: Callable[..., Path]) -> None:
    spec = ClipSpec(frames=2, size=20, resize_short_side=24, fps=30)
    clip = read_clip(make_video(), spec)
    assert (clip.shape, clip.dtype.name) == ((2, 24, 32, 3), "uint8")
    with pytest.raises(UsageError, match="at must lie in"):
        read_clip(make_video(), spec, at=2)


def packet_positions(path: Path) -> list[int]:
    with open_container(path) as container:
        return [packet.pos for packet in container.demux(video_stream(container)) if packet.pos is not None]


def break_packets(path: Path, which: slice) -> None:
    """Makes the first unit of some packets longer than its packet, which no decoder accepts."""
    content = bytearray(path.read_bytes())
    for position in packet_positions(path)[which]:
        content[position : position + 4] = b"\x7f\xff\xff\xff"
    path.write_bytes(content)


def test_a_broken_end_is_left_out(make_video: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    path = make_video(frames=40, options={"g": "100", "bf": "0"})
    break_packets(path, slice(25, 26))
    with caplog.at_level(logging.WARNING):
        assert [number(frame.image) for frame in read_frames(path)] == list(range(25))
        spec = ClipSpec(frames=4, size=24, fps=30)
        assert [clip_numbers(path, spec, at=at) for at in (0, 1)] == [[0, 1, 2, 3], [21, 22, 23, 24]]
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} is corrupt in parts; only the frames that decode are used"
    ]


def test_a_broken_last_group_of_pictures_is_left_out(make_video: Callable[..., Path]) -> None:
    path = make_video(frames=40, options={"g": "10", "bf": "0"})
    break_packets(path, slice(30, 40))
    spec = ClipSpec(frames=4, size=24, fps=30)
    assert [clip_numbers(path, spec, at=at) for at in (0, 1)] == [[0, 1, 2, 3], [26, 27, 28, 29]]
    assert list(read_frames(path, start_seconds=31 / 30)) == []


def test_a_picture_too_long_and_narrow_is_refused(make_video: Callable[..., Path]) -> None:
    path = make_video(frames=2, size=(16, 1024))
    with pytest.raises(InputFileError, match=r"video\.mp4 cannot be used: a picture of 1024×16 is longer than 32"):
        read_clip(path, ClipSpec(frames=2, size=8))


def test_reading_goes_on_at_the_next_key_frame(make_video: Callable[..., Path]) -> None:
    path = make_video(frames=40, options={"g": "10", "bf": "0"})
    break_packets(path, slice(13, 14))
    assert [number(frame.image) for frame in read_frames(path)] == [*range(13), *range(20, 40)]


def test_a_file_cut_short_gives_its_beginning(make_video: Callable[..., Path]) -> None:
    path = make_video("video.mkv", frames=40, options={"bf": "0"})
    path.write_bytes(path.read_bytes()[: packet_positions(path)[20] + 2])
    assert [number(frame.image) for frame in read_frames(path)] == list(range(20))


def test_a_file_without_a_frame_is_refused(make_video: Callable[..., Path]) -> None:
    path = make_video()
    break_packets(path, slice(None))
    for read in (probe, lambda name: list(read_frames(name))):
        with pytest.raises(InputFileError, match=r"video\.mp4 holds no frame that decodes"):
            read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"none\.mp4 does not exist"):
        read_clip(tmp_path / "none.mp4", ClipSpec(frames=2, size=8))


NO_FRAMES = {"bipbop_nonfragment_header.mp4", "sine-3s-xhe-aac-44khz-mono.mp4"}
FRAMES = {
    "av1_video.mkv": 125,
    "corrupted.mp4": 28,
    "h265_10bits.mp4": 30,
    "test_non_zero_start.mp4": 12,
    "video_90.mov": 3,
    "v_SoccerJuggling_g23_c01.avi": 240,
    "RATRACE_wave_f_nm_np1_fr_goo_37.avi": 72,
}


def test_users_files_give_frames_or_one_clear_error(shared_clips: Path) -> None:
    spec = ClipSpec(frames=8, size=32, stride=2, fps=25)
    paths = [path for folder in ("real", "odd") for path in sorted((shared_clips / folder).iterdir())]
    for path in paths:
        if path.name in NO_FRAMES:
            with pytest.raises(InputFileError, match=r"has no video stream|holds no frame"):
                read_clip(path, spec)
            continue
        frames = list(read_frames(path, short_side=32))
        times = [frame.pts_seconds for frame in frames]
        assert times == sorted(times), path
        assert len(frames) == FRAMES.get(path.name, len(frames)), path
        assert all(min(frame.image.shape[:2]) == 32 for frame in frames), path
        for at in (0.0, 0.5, 1.0):
            assert read_clip(path, spec, at=at).shape[0] == 8, path


def test_phone_videos_stand_upright(shared_clips: Path) -> None:
    info = probe(shared_clips / "odd/video_90.mov")
    assert (info.width, info.height) == (320, 568)

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.clips import Frame
from s2tf_edge.data.container import open_container, video_stream
from s2tf_edge.data.video import probe, read_clip
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
def test_frames_come_in_order_of_presentation(
    make_video: Callable[..., Path], read_video: Callable[..., list[Frame]], name: str
) -> None:
    path = make_video(name, frames=30, fps=25, options={"bf": "2"})
    assert clip_numbers(path, ClipSpec(frames=30, size=24, fps=25), at=0) == list(range(30))
    steps = np.diff([frame.pts_seconds for frame in read_video(path)])
    assert steps == pytest.approx(np.full(29, 0.04), abs=2e-3)


def test_frames_of_an_avi_with_b_frames_run_forwards(
    make_video: Callable[..., Path], read_video: Callable[..., list[Frame]]
) -> None:
    frames = read_video(make_video("video.avi", frames=30, fps=25, options={"bf": "2"}))
    assert [number(frame.image) for frame in frames] == list(range(30))
    assert [frame.pts_seconds for frame in frames] == pytest.approx(np.arange(30) / 25, abs=0.1)
    assert (np.diff([frame.pts_seconds for frame in frames]) >= 0).all()


@pytest.mark.parametrize("name", ["video.mp4", "video.mkv", "video.ts", "raw.h264"])
@pytest.mark.parametrize("start", [0, 11, 20, 26])
def test_a_clip_within_a_video_begins_with_its_first_frame(
    make_video: Callable[..., Path], name: str, start: int
) -> None:
    """Wherever key frames lie, and whether the container has an index of them or not."""
    path = make_video(name, frames=30, fps=25, options={"bf": "2", "g": "12"})
    expected = list(range(start, start + 4))
    assert clip_numbers(path, ClipSpec(frames=4, size=24, fps=25), at=start / 26) == expected


def test_a_clip_lies_between_the_first_frame_and_the_last_whatever_their_times(make_video: Callable[..., Path]) -> None:
    path = make_video(frames=5, fps=10, pts=range(10, 15))
    spec = ClipSpec(frames=3, size=24, fps=10)
    assert [clip_numbers(path, spec, at=at) for at in (0, 1)] == [[0, 1, 2], [2, 3, 4]]


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
        whole = ClipSpec(frames=40, size=24, fps=30)
        assert clip_numbers(path, whole, at=0) == [*range(25), *[24] * 15]
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


def test_a_picture_too_long_and_narrow_is_refused(make_video: Callable[..., Path]) -> None:
    path = make_video(frames=2, size=(16, 1024))
    with pytest.raises(InputFileError, match=r"video\.mp4 cannot be used: a picture of 1024×16 is longer than 32"):
        read_clip(path, ClipSpec(frames=2, size=8))


def test_reading_goes_on_at_the_next_key_frame(make_video: Callable[..., Path]) -> None:
    path = make_video(frames=40, options={"g": "10", "bf": "0"})
    break_packets(path, slice(13, 14))
    # What is due while nothing decodes is filled with the first frame that does.
    expected = [*range(13), *[20] * 7, *range(20, 40)]
    assert clip_numbers(path, ClipSpec(frames=40, size=24, fps=30), at=0) == expected


def test_a_file_cut_short_gives_its_beginning(make_video: Callable[..., Path]) -> None:
    path = make_video("video.mkv", frames=40, options={"bf": "0"})
    path.write_bytes(path.read_bytes()[: packet_positions(path)[20] + 2])
    assert clip_numbers(path, ClipSpec(frames=20, size=24, fps=30), at=0) == list(range(20))


def test_a_file_without_a_frame_is_refused(make_video: Callable[..., Path]) -> None:
    path = make_video()
    break_packets(path, slice(None))
    for read in (probe, lambda name: read_clip(name, ClipSpec(frames=2, size=24))):
        with pytest.raises(InputFileError, match=r"video\.mp4 holds no frame that decodes"):
            read(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"none\.mp4 does not exist"):
        read_clip(tmp_path / "none.mp4", ClipSpec(frames=2, size=8))


NO_FRAMES = {"bipbop_nonfragment_header.mp4", "sine-3s-xhe-aac-44khz-mono.mp4"}
DIFFERENT_FRAMES = {
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
        if path.name in DIFFERENT_FRAMES:
            info = probe(path)
            whole = read_clip(path, ClipSpec(frames=info.frames, size=32, fps=info.average_fps), at=0)
            assert len({image.tobytes() for image in whole}) == DIFFERENT_FRAMES[path.name], path
        for at in (0.0, 0.5, 1.0):
            clip = read_clip(path, spec, at=at)
            assert (len(clip), min(clip.shape[1:3])) == (8, 32), path


def test_phone_videos_stand_upright(shared_clips: Path) -> None:
    info = probe(shared_clips / "odd/video_90.mov")
    assert (info.width, info.height) == (320, 568)

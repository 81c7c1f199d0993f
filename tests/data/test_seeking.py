"""Videos read from a moment on, whatever their container offers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from s2tf_edge.data.container import open_container, video_stream
from s2tf_edge.data.seeking import from_moment, read_sought, skip_to
from s2tf_edge.data.video import read_clip
from s2tf_edge.spec import ClipSpec

FPS = 30
LEVELS_PER_FRAME = 4


@pytest.mark.parametrize("suffix", [".ts", ".m2ts", ".mts", ".mpg", ".vob", ".mp4", ".mkv", ".avi", ".flv"])
@pytest.mark.parametrize("gop", [10, 1000])
def test_every_part_of_a_file_can_be_reached(make_video: Callable[..., Path], suffix: str, gop: int) -> None:
    """In transport and program streams a seek finds nothing in the last group of pictures."""
    path = make_video(f"a{suffix}", frames=60, options={"g": str(gop), "bf": "0"})
    spec = ClipSpec(frames=8, size=24, fps=FPS)
    for at in (0.0, 0.5, 0.8, 1.0):
        begin = round(at * 52)
        found = [round(float(image.mean()) / LEVELS_PER_FRAME) for image in read_clip(path, spec, at=at)]
        assert found == pytest.approx(range(begin, begin + 8), abs=1)
        assert found == list(range(found[0], found[0] + 8))


@pytest.mark.parametrize(
    ("found", "expected"), [([2, 3], [2, 3]), ([1, 2, 3], [1, 2, 3]), ([3], [0, 1, 2, 3]), ([], [0, 1, 2, 3])]
)
def test_a_seek_that_finds_nothing_or_too_much_leads_to_the_beginning(found: list[int], expected: list[int]) -> None:
    """What is wanted is at 2."""
    places = [[0, 1, 2, 3], found]

    def read() -> Iterator[tuple[float, str]]:
        return ((float(seconds), "frame") for seconds in places[-1])

    items = read_sought(2.0, rewind=places.pop, read=read)
    assert [seconds for seconds, _ in items] == expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (0.0, [(0.0, 0.0), (0.04, 0.04), (5.0, 5.0), (5.04, 5.04)]),
        (0.02, [(0.04, 0.04), (5.0, 5.0), (5.04, 5.04)]),
        (2.0, [(2.0, 0.04), (5.0, 5.0), (5.04, 5.04)]),
        (4.9995, [(5.0, 5.0), (5.04, 5.04)]),
        (5.01, [(5.04, 5.04)]),
        (6.0, []),
    ],
)
def test_what_is_seen_from_a_moment_on_begins_with_the_picture_that_is_held_then(
    moment: float, expected: list[tuple[float, float]]
) -> None:
    items = [(seconds, "frame") for seconds in (0.0, 0.04, 5.0, 5.04)]
    assert [(seconds, item[0]) for seconds, item in from_moment(items, moment)] == expected


@pytest.mark.parametrize("bframes", [0, 2])
@pytest.mark.parametrize("begin", [0, 9, 10, 11, 25, 39])
def test_packets_that_are_skipped_are_those_no_frame_needs(
    make_video: Callable[..., Path], bframes: int, begin: int
) -> None:
    path = make_video("a.ts", frames=40, bframes=bframes, options={"g": "10", "sc_threshold": "0"})
    with open_container(path) as container:
        stream = video_stream(container)
        assert stream.time_base is not None
        assert stream.start_time is not None
        ticks = stream.start_time + begin / FPS / float(stream.time_base) - 1
        packets = list(skip_to(iter(container.demux(stream)), ticks))
        shown = [frame for packet in packets for frame in packet.decode() if (frame.pts or 0) >= ticks]
    numbers = [round(float(frame.to_ndarray(format="gray").mean()) / LEVELS_PER_FRAME) for frame in shown]
    assert len(numbers) == 40 - begin
    assert len(packets) - 1 <= 40 - begin // 10 * 10 + 10


def test_a_group_of_pictures_that_is_too_large_is_decoded_rather_than_held(
    make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s2tf_edge.data.seeking._MAX_HELD_BYTES", 200)
    with open_container(make_video("a.ts", frames=40, options={"g": "100"})) as container:
        stream = video_stream(container)
        assert len(list(skip_to(iter(container.demux(stream)), 1e12))) == 41

"""One line of time through recordings that each begin their clock anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from s2tf_edge.data.container import open_container, video_stream
from s2tf_edge.data.timeline import Timeline, may_restart
from s2tf_edge.data.video import probe, read_clip
from s2tf_edge.spec import ClipSpec

FPS = 30
LEVELS_PER_FRAME = 4
PARTS = pytest.mark.parametrize("bframes", [0, 2])


def _string_together(make_video: Callable[..., Path], name: str, counts: Sequence[int], **options: str) -> Path:
    """Recordings of so many frames each in one file, every one with a clock of its own."""
    parts = [make_video(f"{index}-{name}", frames=count, options=options) for index, count in enumerate(counts)]
    whole = parts[0].with_name(name)
    whole.write_bytes(b"".join(part.read_bytes() for part in parts))
    return whole


def _place(path: Path, *, is_live: bool = False, waits: Sequence[float] = ()) -> tuple[list[float], Timeline]:
    """Placed times of presentation of all packets, in order of presentation, in seconds from the first."""
    with open_container(path) as container:
        stream = video_stream(container)
        timeline = Timeline(stream, is_live=is_live)
        seconds = []
        for index, packet in enumerate(container.demux(stream)):
            timeline.place(packet, waited_seconds=waits[index] if index < len(waits) else 0.0)
            if packet.pts is not None and packet.time_base is not None:
                seconds.append(float(packet.pts * packet.time_base))
    return [each - min(seconds) for each in sorted(seconds)], timeline


@PARTS
def test_recordings_strung_together_follow_each_other(make_video: Callable[..., Path], bframes: int) -> None:
    path = _string_together(make_video, "whole.ts", [24] * 10, bf=str(bframes))
    seconds, timeline = _place(path)
    assert seconds == pytest.approx(np.arange(240) / FPS, abs=1e-4)
    assert timeline.part(None) == 9


def test_recordings_of_different_delays_do_not_overlap(make_video: Callable[..., Path]) -> None:
    parts = [make_video(f"{bframes}.ts", frames=20, options={"bf": bframes}) for bframes in ("3", "0", "2")]
    path = parts[0].with_name("whole.ts")
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    seconds, timeline = _place(path)
    assert (np.diff(seconds) > 0.5 / FPS).all()
    assert seconds[-1] == pytest.approx(59 / FPS, abs=6 / FPS)
    assert timeline.part(None) == 2


@PARTS
@pytest.mark.parametrize("name", ["a.ts", "a.mp4", "a.mkv", "a.avi", "a.flv"])
def test_pictures_that_are_reordered_restart_nothing(make_video: Callable[..., Path], name: str, bframes: int) -> None:
    seconds, timeline = _place(make_video(name, frames=60, options={"bf": str(bframes), "g": "12"}))
    assert timeline.part(None) == 0
    assert seconds[-1] == pytest.approx(59 / FPS, abs=0.1)


def test_a_frame_tells_its_part_and_its_own_time(make_video: Callable[..., Path]) -> None:
    path = _string_together(make_video, "whole.ts", [24, 24])
    with open_container(path) as container:
        stream = video_stream(container)
        timeline = Timeline(stream)
        own = []
        for packet in container.demux(stream):
            before = packet.pts
            timeline.place(packet)
            if before is not None and packet.pts is not None and packet.time_base is not None:
                offset = timeline.own_offset_seconds(packet.pts)
                own.append((timeline.part(packet.pts), float(packet.pts * packet.time_base) + offset))
                assert own[-1][1] == pytest.approx(float(before * packet.time_base))
    assert [part for part, _ in own] == [0] * 24 + [1] * 24
    assert {round(seconds, 3) for part, seconds in own if part} == {round(seconds, 3) for part, seconds in own[:24]}


def test_a_live_source_is_away_as_long_as_it_was_waited_for(make_video: Callable[..., Path]) -> None:
    path = _string_together(make_video, "whole.ts", [24, 24], bf="0")
    seconds, _ = _place(path, is_live=True, waits=[0.0] * 24 + [3.0])
    assert seconds[24] - seconds[23] == pytest.approx(3.0, abs=1e-4)


@pytest.mark.parametrize(("name", "part"), [("a.ts", 1), ("a.mkv", 0)])
def test_a_jump_ahead_is_another_clock_only_where_clocks_may_change(
    make_video: Callable[..., Path], name: str, part: int
) -> None:
    pts = [*range(30), *range(30 + 20 * FPS, 60 + 20 * FPS)]
    path = make_video(name, frames=60, pts=pts, options={"bf": "0"})
    seconds, timeline = _place(path)
    assert timeline.part(None) == part
    assert seconds[-1] == pytest.approx(59 / FPS + 20 * (part == 0), abs=2e-3)
    with open_container(path) as container:
        assert may_restart(video_stream(container)) == bool(part)


def test_more_restarts_than_are_remembered_are_counted(make_video: Callable[..., Path]) -> None:
    path = _string_together(make_video, "whole.ts", [6] * 40, bf="0")
    seconds, timeline = _place(path)
    assert timeline.part(None) == 39
    assert seconds == pytest.approx(np.arange(240) / FPS, abs=1e-4)


@pytest.mark.parametrize("at", [0.0, 0.3, 0.5, 1.0])
def test_a_clip_of_recordings_strung_together_lies_where_it_was_asked_for(
    make_video: Callable[..., Path], at: float
) -> None:
    path = _string_together(make_video, "whole.ts", [20, 20, 20])
    info = probe(path)
    assert (info.frames, info.parts) == (60, 3)
    assert info.last_seconds - info.first_seconds == pytest.approx(59 / FPS, abs=1e-3)
    spec = ClipSpec(frames=8, size=24, fps=FPS)
    begin = round(at * (60 - 8))
    expected = [index % 20 for index in range(begin, begin + 8)]
    assert [round(float(image.mean()) / LEVELS_PER_FRAME) for image in read_clip(path, spec, at=at)] == pytest.approx(
        expected, abs=1
    )

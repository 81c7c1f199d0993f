"""One line of time through recordings that each begin their clock anew."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from s2tf_edge.data.container import open_container, video_stream
from s2tf_edge.data.timeline import Timeline, may_restart
from s2tf_edge.data.video import probe, read_clip, read_frames
from s2tf_edge.spec import ClipSpec

FPS = 30
LEVELS_PER_FRAME = 4
PARTS = pytest.mark.parametrize("bframes", [0, 2])


def _string_together(make_video: Callable[..., Path], name: str, counts: Sequence[int], *, bframes: int = 0) -> Path:
    """Recordings of so many frames each in one file, every one with a clock of its own."""
    parts = [make_video(f"{index}-{name}", frames=count, bframes=bframes) for index, count in enumerate(counts)]
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
    path = _string_together(make_video, "whole.ts", [24] * 10, bframes=bframes)
    seconds, timeline = _place(path)
    assert seconds == pytest.approx(np.arange(240) / FPS, abs=1e-4)
    assert timeline.parts == 10


def test_recordings_of_different_delays_do_not_overlap(make_video: Callable[..., Path]) -> None:
    parts = [make_video(f"{count}.ts", frames=20, bframes=count) for count in (3, 0, 2)]
    path = parts[0].with_name("whole.ts")
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    seconds, timeline = _place(path)
    assert (np.diff(seconds) > 0.5 / FPS).all()
    assert seconds[-1] == pytest.approx(59 / FPS, abs=6 / FPS)
    assert timeline.parts == 3


@PARTS
@pytest.mark.parametrize("name", ["a.ts", "a.mp4", "a.mkv", "a.avi", "a.flv"])
def test_pictures_that_are_reordered_restart_nothing(make_video: Callable[..., Path], name: str, bframes: int) -> None:
    seconds, timeline = _place(make_video(name, frames=60, bframes=bframes, options={"g": "12"}))
    assert timeline.parts == 1
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
                offset = timeline.own_offset_seconds(timeline.part(packet))
                own.append((timeline.part(packet), float(packet.pts * packet.time_base) + offset))
                assert own[-1][1] == pytest.approx(float(before * packet.time_base))
    assert [part for part, _ in own] == [0] * 24 + [1] * 24
    assert {round(seconds, 3) for part, seconds in own if part} == {round(seconds, 3) for part, seconds in own[:24]}


def test_a_live_source_is_away_as_long_as_it_was_waited_for(make_video: Callable[..., Path]) -> None:
    path = _string_together(make_video, "whole.ts", [24, 24])
    seconds, _ = _place(path, is_live=True, waits=[0.0] * 24 + [3.0])
    assert seconds[24] - seconds[23] == pytest.approx(3.0, abs=1e-4)


@pytest.mark.parametrize(("name", "part"), [("a.ts", 1), ("a.mkv", 0)])
def test_a_jump_ahead_is_another_clock_only_where_clocks_may_change(
    make_video: Callable[..., Path], name: str, part: int
) -> None:
    pts = [*range(30), *range(30 + 20 * FPS, 60 + 20 * FPS)]
    path = make_video(name, frames=60, pts=pts, options={"bf": "0", "g": "30"})
    seconds, timeline = _place(path)
    assert timeline.parts == 1 + part
    assert seconds[-1] == pytest.approx(59 / FPS + 20 * (part == 0), abs=2e-3)
    with open_container(path) as container:
        assert may_restart(video_stream(container)) == bool(part)


def test_more_restarts_than_are_remembered_are_counted(make_video: Callable[..., Path]) -> None:
    path = _string_together(make_video, "whole.ts", [6] * 40)
    seconds, timeline = _place(path)
    assert timeline.parts == 40
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


def _decode(path: Path) -> list[tuple[int, float]]:
    """The number of each frame and its time from the first's, as a whole file is read."""
    frames = [*read_frames(path, None)]
    numbers = [round(float(frame.to_ndarray(format="gray").mean()) / LEVELS_PER_FRAME) for _, frame in frames]
    return [(number, seconds - frames[0][0]) for number, (seconds, _) in zip(numbers, frames, strict=True)]


@pytest.mark.parametrize("counts", [[20, 3, 20], [1] * 12, [20, 2, 1, 1, 3, 20]])
def test_no_part_is_too_short(make_video: Callable[..., Path], counts: list[int]) -> None:
    path = _string_together(make_video, "whole.ts", counts)
    _, timeline = _place(path)
    assert timeline.parts == len(counts)
    decoded = _decode(path)
    assert len(decoded) == sum(counts)
    assert (np.diff([seconds for _, seconds in decoded]) > 0).all()


def test_recordings_that_begin_within_an_open_group_are_kept_apart(make_video: Callable[..., Path]) -> None:
    """As a broadcast is recorded: from a key frame on that pictures before it, in time, are decoded after."""
    options = {"x264-params": "open-gop=1:b-adapt=0:scenecut=0:keyint=12:min-keyint=12"}
    whole = make_video("broadcast.ts", frames=60, bframes=2, options=options)
    with av.open(str(whole)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.pts is not None]
        keys = [index for index, packet in enumerate(packets) if packet.is_keyframe]
        assert packets[keys[1] + 1].pts < packets[keys[1]].pts  # type: ignore[operator]
        part = whole.with_name("part.ts")
        with av.open(str(part), "w") as copy:
            stream = copy.add_stream_from_template(container.streams.video[0])
            for packet in packets[keys[1] :]:
                packet.stream = stream
                copy.mux(packet)
    alone = _decode(part)
    strung = part.with_name("strung.ts")
    strung.write_bytes(3 * part.read_bytes())
    decoded = _decode(strung)
    assert [number for number, _ in decoded] == 3 * [number for number, _ in alone]
    assert (np.diff([seconds for _, seconds in decoded]) > 0).all()


def test_a_pause_on_one_clock_is_no_restart_however_long(make_video: Callable[..., Path]) -> None:
    pts = [*range(30), *range(30 + 20 * FPS, 60 + 20 * FPS)]
    path = make_video("nvr.ts", frames=60, pts=pts, bframes=2, options={"g": "1000", "sc_threshold": "0"})
    _, timeline = _place(path)
    assert timeline.parts == 1
    assert [seconds for _, seconds in _decode(path)] == pytest.approx([each / FPS for each in pts], abs=2e-3)


def _write_edits(path: Path, edits: Sequence[tuple[float, float]]) -> Path:
    """An MP4 whose edit list plays so many seconds of it from so many seconds on, one after another (ISO 14496-12)."""
    data = bytearray(path.read_bytes())

    def find(kind: bytes, start: int, end: int) -> tuple[int, int]:
        while data[start + 4 : start + 8] != kind:
            start += int.from_bytes(data[start : start + 4])
            assert start < end
        return start, start + int.from_bytes(data[start : start + 4])

    moov = find(b"moov", 0, len(data))
    trak = find(b"trak", moov[0] + 8, moov[1])
    media = find(b"mdhd", find(b"mdia", trak[0] + 8, trak[1])[0] + 8, trak[1])
    scale, movie = int.from_bytes(data[media[0] + 20 : media[0] + 24]), 1000
    entries = b"".join(struct.pack(">Iihh", round(movie * long), round(scale * at), 1, 0) for long, at in edits)
    body = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, len(edits)) + entries
    edts = struct.pack(">I4s", 8 + len(body), b"edts") + body
    old = find(b"edts", trak[0] + 8, trak[1])
    data[old[0] : old[1]] = edts
    for start, end in (moov, trak):
        struct.pack_into(">I", data, start, end - start + len(edts) - (old[1] - old[0]))
    # The index lies behind the frames, whose places do not change.
    assert find(b"mdat", 0, len(data))[0] < moov[0]
    path.write_bytes(data)
    return path


def test_edits_that_go_back_in_a_recording_are_no_restart(make_video: Callable[..., Path]) -> None:
    path = make_video("edits.mp4", frames=60, bframes=2, options={"g": "10"})
    edited = _decode(_write_edits(path, [(0.5, 1.2), (0.5, 0.4)]))
    assert probe(path).parts == 1
    assert [seconds for _, seconds in edited] == pytest.approx([index / FPS for index in range(len(edited))], abs=0.01)
    assert 28 <= len(edited) <= 32
    assert edited[0][0] > edited[-1][0]

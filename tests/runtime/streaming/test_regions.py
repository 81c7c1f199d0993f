"""Zones are sources of their own from one decoding; regions that move are tracks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from s2tf_edge.data.frames import scale_frame
from s2tf_edge.data.video import read_clip
from s2tf_edge.errors import UsageError
from s2tf_edge.preprocess import crop_frames
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.clip_ring import Window
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Event, Gap, Picture, Prediction, Start, Summary, to_json
from s2tf_edge.runtime.streaming.regions import Region, SampledFrame, parse_regions
from s2tf_edge.runtime.streaming.smoothing import Smoothing
from s2tf_edge.runtime.streaming.stream_options import StreamOptions
from s2tf_edge.runtime.streaming.window import Windower
from s2tf_edge.runtime.streaming.zone_rings import MAX_TRACKS
from s2tf_edge.runtime.streaming.zones import FixedZones
from s2tf_edge.spec import ClipSpec

QUARTERS = parse_regions(["0,0,0.5,0.5:a", "0.5,0,0.5,0.5:b", "0,0.5,0.5,0.5:c", "0.5,0.5,0.5,0.5"])
LABELS = ["dark", "gray", "bright", "dark"]


def _quarters(path: Path, *, frames: int = 40) -> Path:
    """A video whose quarters are dark, gray, bright and dark."""
    image = np.zeros((96, 128, 3), np.uint8)
    image[:48, :64], image[:48, 64:], image[48:, :64], image[48:, 64:] = 25, 127, 230, 25
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def _options(regions: Any, **more: Any) -> StreamOptions:
    return StreamOptions(smoothing=Smoothing(kind="none"), hop=1, regions=regions, **more)


def test_each_zone_has_its_own_label_from_one_decoding(
    tmp_path: Path, spec: ClipSpec, make_session: Callable[..., Any]
) -> None:
    path = _quarters(tmp_path / "a.mp4")
    session = make_session(spec, batch=None)
    sizes, run = [], session._run

    def note_size(clips: Any) -> Any:
        sizes.append(len(clips))
        return run(clips)

    session._run = note_size
    records = list(recognize(path, session, options=_options(QUARTERS, pictures=True)))
    start, summary = records[0], records[-1]
    assert isinstance(start, Start)
    assert isinstance(summary, Summary)
    assert start.sources == tuple(f"{path} [{name}]" for name in ("a", "b", "c", "zone 4"))
    assert (start.pictures, start.picture_name(3)) == ((0, 0, 0, 0), str(path))
    assert (to_json(start) or {})["regions"][1] == {"name": "b", "box": [0.5, 0, 0.5, 0.5]}
    predictions = [record for record in records if isinstance(record, Prediction)]
    assert {(item.source, item.region, item.label) for item in predictions} == {
        (index, region.name, label) for index, (region, label) in enumerate(zip(QUARTERS, LABELS, strict=True))
    }
    assert [(item.source, item.region) for item in records if isinstance(item, Event)] == [
        (index, region.name) for index, region in enumerate(QUARTERS)
    ]
    pictures = [record for record in records if isinstance(record, Picture)]
    assert len(pictures) == summary.frames_in == 40
    assert [zone.region for zone in pictures[-1].zones] == ["a", "b", "c", "zone 4"]
    assert 40 <= summary.stages_ms["decode"]["n"] <= 42
    assert set(sizes) == {4}


def test_a_zone_that_is_the_whole_picture_changes_no_pixel(spec: ClipSpec) -> None:
    def windows(zones: FixedZones | None) -> list[np.ndarray[Any, Any]]:
        windower = Windower(spec, hop=1, gap_seconds=1, times=StageTimes(), zones=zones)
        items: list[Any] = []
        for index in range(12):
            image = np.random.default_rng(index).integers(0, 256, (48, 64, 3), np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
            items += windower.add(frame, pts_seconds=index / 25, presented_at=0.0)
        return [item.frames for item in items if isinstance(item, Window)]

    whole = windows(None)
    assert len(whole) > 1
    np.testing.assert_array_equal(windows(FixedZones([(0, Region("all", (0, 0, 1, 1)))])), whole)


@pytest.mark.parametrize("format", ["yuv420p", "nv12", "yuyv422", "rgb24", "rgb0", "gray", "yuv420p10le", "yuv411p"])
def test_a_box_is_the_part_of_the_picture_whatever_the_format(format: str) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[16:32, 24:48] = 255
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=format)
    assert scale_frame(frame, box=(24, 16, 24, 16)).min() >= 250
    assert scale_frame(frame, box=(0, 32, 64, 16)).max() <= 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3", "must be X,Y,W,H"),
        ("a,0,1,1", "must be X,Y,W,H"),
        ("0.5,0,0.6,1", "add up to more than 1"),
        ("0.5,0,1.5,1", "neither whole pixels nor shares"),
        ("-1,0,9,9", "nothing less"),
        ("0,0,0,1", "more than zero"),
        ("nan,0,1,1", "not four numbers"),
    ],
)
def test_what_is_no_zone_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_regions([text])


def test_names_tell_zones_apart() -> None:
    with pytest.raises(UsageError, match="2 regions are called 'x'"):
        parse_regions(["0,0,1,1:x", "0,0,9,9:x"])


def test_pixels_beyond_the_picture_name_its_size(tmp_path: Path, brightness: Any) -> None:
    path = _quarters(tmp_path / "a.mp4")
    with pytest.raises(UsageError, match="100,0,64,64 reaches beyond the picture of 128×96"):
        list(recognize(path, brightness, options=_options(parse_regions(["100,0,64,64"]))))


def test_regions_that_move_are_tracks_that_end(tmp_path: Path, brightness: Any) -> None:
    def find(frame: SampledFrame) -> Iterable[tuple[str | int, tuple[float, ...]]]:
        assert frame.image.shape == (96, 128, 3)
        yield 7, (0, 0, 60, 40)
        if frame.pts_seconds < 1:
            yield 8, (64, -20, 900, 60)

    records = list(recognize(_quarters(tmp_path / "a.mp4", frames=100), brightness, options=_options(find)))
    labels = {(item.source, item.region, item.label) for item in records if isinstance(item, Prediction)}
    assert labels == {(0, "7", "dark"), (0, "8", "gray")}
    events = [record for record in records if isinstance(record, Event)]
    assert [event.region for event in events] == ["8", "7"]
    # It ends while the other goes on, and not with the source.
    assert any(isinstance(record, Prediction) for record in records[records.index(events[0]) :])


def test_a_function_that_fails_fails_its_source(tmp_path: Path, brightness: Any) -> None:
    with pytest.raises(UsageError, match=r"`regions` failed at 0.00 s \(ZeroDivisionError"):
        list(recognize(_quarters(tmp_path / "a.mp4"), brightness, options=_options(lambda _: 1 // 0)))


@pytest.mark.parametrize("zone", ["0,0,1,0.5:top", "0,0,96,64:top"])
def test_a_zone_lies_in_the_picture_as_it_is_shown(tmp_path: Path, brightness: Any, zone: str) -> None:
    """Turned by a quarter, what is on the right as decoded is shown on the left or at the top."""
    image = np.full((96, 128, 3), 25, np.uint8)
    image[:, 64:] = 230
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        stream.set_display_rotation(90)
        for _ in range(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    shown = next(av.open(str(path)).decode(video=0))
    top = scale_frame(shown)[:64].mean()
    assert scale_frame(shown).shape[:2] == (128, 96)
    records = recognize(path, brightness, options=_options(parse_regions([zone])))
    labels = {record.label for record in records if isinstance(record, Prediction)}
    assert labels == {"bright" if top > 128 else "dark"}


def test_zones_apply_to_every_source(tmp_path: Path, brightness: Any) -> None:
    paths = [_quarters(tmp_path / f"{name}.mp4") for name in "xy"]
    records = list(recognize(paths, brightness, options=_options(QUARTERS[:2], pictures=True)))
    start, summary = records[0], records[-1]
    assert isinstance(start, Start)
    assert isinstance(summary, Summary)
    assert start.sources == tuple(f"{path} [{name}]" for path in paths for name in "ab")
    assert start.pictures == (0, 0, 2, 2)
    assert summary.frames_in == 80
    found = {(item.source, item.region, item.label) for item in records if isinstance(item, Prediction)}
    assert found == {(0, "a", "dark"), (1, "b", "gray"), (2, "a", "dark"), (3, "b", "gray")}
    assert {item.source for item in records if isinstance(item, Picture)} == {0, 2}


def test_what_is_left_out_of_a_live_source_is_left_out_of_each_zone(
    make_session: Callable[..., Any], spec: ClipSpec, instant_source: Callable[..., Any]
) -> None:
    """The newest window of every zone takes the place of its older ones, and all run together."""
    session = make_session(spec, batch=None)
    sizes, run = [], session._run
    session.delay_seconds = 0.02

    def note_size(clips: Any) -> Any:
        sizes.append(len(clips))
        return run(clips)

    session._run = note_size
    records = list(recognize(instant_source("white", seconds=4), session, options=_options(QUARTERS)))
    (summary,) = (record for record in records if isinstance(record, Summary))
    ran = [sum(isinstance(item, Prediction) and item.source == zone for item in records) for zone in range(4)]
    assert len(set(ran)) == 1
    # 100 frames with stride 2 are 50 samples: 47 windows of each zone.
    assert sum(ran) + summary.drops.get("windows_superseded", 0) == 4 * 47
    assert set(sizes[1:]) == {4}


def test_regions_beyond_those_that_are_followed_are_counted(tmp_path: Path, brightness: Any) -> None:
    def find(frame: SampledFrame) -> Iterable[tuple[int, tuple[float, ...]]]:
        del frame
        return [(number, (0.0, 0.0, 0.5, 0.5)) for number in range(MAX_TRACKS + 3)]

    records = list(recognize(_quarters(tmp_path / "a.mp4"), brightness, options=_options(find)))
    (summary,) = (record for record in records if isinstance(record, Summary))
    # 40 frames with stride 2 are 20 samples.
    assert summary.drops["regions_left_out"] == 3 * 20
    assert len({item.region for item in records if isinstance(item, Prediction)}) == MAX_TRACKS


@pytest.mark.parametrize("moves", [False, True])
def test_each_zone_has_the_gaps_of_its_source(tmp_path: Path, brightness: Any, moves: bool) -> None:
    """Three recordings strung together, each shorter than a clip."""
    part = _quarters(tmp_path / "part.ts", frames=5).read_bytes()
    path = tmp_path / "strung.ts"
    path.write_bytes(3 * part)

    def find(frame: SampledFrame) -> Iterable[Region]:
        del frame
        return QUARTERS[:2]

    records = list(recognize(path, brightness, options=_options(find if moves else QUARTERS[:2])))
    gaps = [item for item in records if isinstance(item, Gap)]
    assert [gap.cause for gap in gaps] == ["clock"] * (2 if moves else 4)
    for region, label in (("a", "dark"), ("b", "gray")):
        own = [item for item in records if isinstance(item, Prediction) and item.region == region]
        assert [item.label for item in own] == [label] * 3
        assert [item.t_start for item in own] == pytest.approx([own[0].t_start + 0.2 * index for index in range(3)])
        assert len({round(item.source_t_start or item.t_start, 3) for item in own}) == 1


def test_a_region_that_moves_is_gone_where_a_held_picture_is_without_it(tmp_path: Path, brightness: Any) -> None:
    path = tmp_path / "held.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for pts in [*range(10), *range(100, 110)]:
            frame = av.VideoFrame.from_ndarray(np.full((96, 128, 3), 230, np.uint8), format="rgb24")
            frame.pts = pts
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    def find(frame: SampledFrame) -> Iterable[tuple[str, tuple[float, ...]]]:
        name = "held" if frame.pts_seconds < 3.9 else "next"
        return [(name, (0.0, 0.0, 1.0, 1.0))]

    events = [item for item in recognize(path, brightness, options=_options(find)) if isinstance(item, Event)]
    assert [(event.region, event.label) for event in events] == [("held", "bright"), ("next", "bright")]
    # The picture is held up to the next one, at 4 seconds.
    assert events[0].t_end == pytest.approx(4.0, abs=0.2)
    assert events[1].t_start == pytest.approx(4.0, abs=0.01)


def _write_lossless(path: Path, pictures: Iterable[np.ndarray[Any, Any]]) -> Path:
    """Planes of yuv420p, one below the other, as a video that gives them back as they are."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="yuv420p")
            if not stream.codec_context.is_open:
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _cut(planes: np.ndarray[Any, Any], left: int, top: int, width: int, height: int) -> np.ndarray[Any, Any]:
    """A part of a picture of 128×96 as ``_write_lossless`` takes it, its corners on even pixels."""
    luma, *chroma = planes[:96], planes[96:120].reshape(48, 64), planes[120:].reshape(48, 64)
    parts = [luma[top : top + height, left : left + width]]
    parts += [each[top // 2 :, left // 2 :][: height // 2, : width // 2] for each in chroma]
    return np.concatenate([part.reshape(-1) for part in parts]).reshape(-1, width)


@pytest.mark.parametrize("zone", ["0.5,0.25,0.5,0.5", "38,16,70,66"])
def test_a_zone_is_what_a_video_cropped_to_it_would_be(
    tmp_path: Path, spec: ClipSpec, make_session: Callable[..., Any], zone: str
) -> None:
    """To the bit, where no pixel at its edge shares its color with one outside."""
    (region,) = parse_regions([zone])
    box = region.pixels(96, 128)
    pictures = [np.random.default_rng(index).integers(0, 256, (144, 128), np.uint8) for index in range(7)]
    path = _write_lossless(tmp_path / "whole.mp4", pictures)
    alone = _write_lossless(tmp_path / "alone.mp4", (_cut(picture, *box) for picture in pictures))
    session = make_session(spec)
    ran, run = [], session._run

    def note(clips: Any) -> Any:
        ran.extend(clips.copy())
        return run(clips)

    session._run = note
    list(recognize(path, session, options=_options([region])))
    # 7 frames with stride 2 are one clip of 4; the network takes its pixels as they are.
    assert len(ran) == 1
    np.testing.assert_array_equal(ran[0], crop_frames(read_clip(alone, spec, at=0), spec))


def test_a_held_picture_is_held_in_each_zone(tmp_path: Path, brightness: Any) -> None:
    """Zones that stay have the windows of the whole picture, at its times."""
    path = tmp_path / "held.mkv"
    image = np.full((96, 128, 3), 25, np.uint8)
    image[:, 64:] = 230
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for pts in [*range(10), *range(100, 110)]:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = pts
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))

    def windows(records: Iterable[Any]) -> list[tuple[float, float]]:
        return [(item.t_start, item.t_end) for item in records if isinstance(item, Prediction)]

    expected = windows(recognize(path, brightness, options=_options(())))
    assert any(t_start < 2 < t_end for t_start, t_end in expected)
    records = list(recognize(path, brightness, options=_options(parse_regions(["0,0,0.5,1:a", "0.5,0,0.5,1:b"]))))
    assert not any(isinstance(item, Gap) for item in records)
    for region, label in (("a", "dark"), ("b", "bright")):
        own = [item for item in records if isinstance(item, Prediction) and item.region == region]
        assert windows(own) == expected
        assert {item.label for item in own} == {label}

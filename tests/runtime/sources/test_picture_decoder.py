"""Numbered pictures, read as the frames of a video."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sources import picture_decoder
from s2tf_edge.runtime.sources.parsing import parse_source
from s2tf_edge.runtime.sources.picture_decoder import PictureDecoder
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Event, Gap, Summary
from s2tf_edge.runtime.streaming.stream_options import StreamOptions


def write_picture(path: Path, level: int, *, codec: str = "mjpeg", format: str = "yuvj420p", width: int = 96) -> None:
    """A flat gray picture."""
    image: NDArray[np.uint8] = np.full((64, width, 3), level, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25))
        stream.width, stream.height, stream.pix_fmt = width, 64, format
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=format)))
        container.mux(stream.encode(None))


def _decoder(folder: Path, **options: Any) -> PictureDecoder:
    (source,) = parse_source(str(folder))
    return PictureDecoder(source, stop=threading.Event(), times=StageTimes(), **options)


def _times(folder: Path, **options: Any) -> list[float]:
    return [frame.pts_seconds for frame in _decoder(folder, **options).frames()]


def _fill(folder: Path, numbers: range | list[int]) -> Path:
    for number in numbers:
        write_picture(folder / f"frame_{number:04d}.jpg", number % 256)
    return folder


def test_a_hole_in_the_numbers_takes_its_time(tmp_path: Path) -> None:
    folder = _fill(tmp_path, [7, 8, 10, 11])
    assert _times(folder) == pytest.approx([0, 0.04, 0.12, 0.16])
    assert _times(folder, fps=10.0) == pytest.approx([0, 0.1, 0.3, 0.4])
    assert _decoder(folder, fps=10.0, start_seconds=0.1).duration_seconds == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("text", "names"), [("", "{}_rgb"), ("%04d_rgb.jpg", "{}_rgb"), ("img_%04d_v2.jpg", "img_{}_v2")]
)
def test_times_are_those_of_the_number_that_differs(tmp_path: Path, text: str, names: str) -> None:
    for number in (1, 2, 4):
        write_picture(tmp_path / f"{names.format(f'{number:04d}')}.jpg", 40 * number)
    assert _times(tmp_path / text) == pytest.approx([0, 0.04, 0.12])


def test_numbers_that_count_no_frames_are_an_order(tmp_path: Path) -> None:
    assert _times(_fill(tmp_path, [20240101, 20240102, 20240131]), fps=10.0) == pytest.approx([0, 0.1, 0.2])


def test_a_start_is_exact(tmp_path: Path) -> None:
    folder = _fill(tmp_path, range(5))
    assert _times(folder, fps=10.0, start_seconds=0.2) == pytest.approx([0.2, 0.3, 0.4])
    with pytest.raises(InputFileError, match=r"ends before 0\.5 s; give an earlier start"):
        _times(folder, fps=10.0, start_seconds=0.5)


def test_the_rate_that_is_assumed_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    picture_decoder._announce_rate.cache_clear()
    folder = _fill(tmp_path, range(2))
    _times(folder, fps=10.0)
    assert caplog.messages == []
    _times(folder)
    _times(folder)
    assert caplog.messages == [
        "pictures have no times: 25 a second are assumed; give `fps=F` if there are more or fewer"
    ]


@pytest.mark.parametrize(
    ("suffix", "codec", "format"),
    [
        ("png", "png", "rgb24"),
        ("bmp", "bmp", "bgr24"),
        ("tif", "tiff", "rgb24"),
        ("webp", "libwebp", "yuv420p"),
        ("ppm", "ppm", "rgb24"),
        ("jpeg", "mjpeg", "yuvj420p"),
        ("jpg", "png", "rgb24"),
    ],
)
def test_kinds_of_pictures_even_under_a_wrong_name(tmp_path: Path, suffix: str, codec: str, format: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg writes no {codec}")
    for number in range(2):
        write_picture(tmp_path / f"50 % {number}.{suffix}", 100, codec=codec, format=format)
    levels = [frame.frame.to_ndarray(format="rgb24").mean() for frame in _decoder(tmp_path).frames()]
    assert levels == pytest.approx([100, 100], abs=2)


def test_what_is_no_picture_is_left_out_and_leads_nowhere(
    tmp_path: Path, make_video: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    _fill(tmp_path / "shots", range(5))
    (tmp_path / "shots/frame_0001.jpg").write_bytes(make_video("a.mp4", [0] * 5).read_bytes())
    (tmp_path / "shots/frame_0002.jpg").write_text("#EXTM3U\n#EXTINF:1,\na.mp4\n")
    (tmp_path / "shots/frame_0003.jpg").write_text(f"ffconcat version 1.0\nfile {tmp_path}/a.mp4\n")
    decoder = _decoder(tmp_path / "shots")
    assert [frame.pts_seconds for frame in decoder.frames()] == pytest.approx([0, 0.16])
    assert decoder.corrupt == 3
    (line,) = [message for message in caplog.messages if "left out" in message]
    assert "frame_0001.jpg" in line


def test_nothing_but_what_is_no_picture_is_an_error(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.png").write_text("dear diary")
    with pytest.raises(InputFileError, match="holds no picture that decodes"):
        _times(tmp_path)


def test_pictures_are_recognized_as_a_video_is(tmp_path: Path, brightness: Session) -> None:
    for number in [*range(50), *range(90, 140)]:
        # The size may change midway.
        write_picture(tmp_path / f"{number}.jpg", 25 if number < 50 else 127, width=96 if number < 100 else 64)
    records = [*recognize(tmp_path, brightness, options=StreamOptions(fps=25.0))]
    events = [record for record in records if isinstance(record, Event)]
    assert [event.label for event in events] == ["dark", "gray"]
    assert [event.t_start for event in events] == pytest.approx([0.0, 3.6], abs=0.16)
    # What is missing is as if the last picture had been held.
    assert not any(isinstance(record, Gap) for record in records)
    assert isinstance(records[-1], Summary)
    assert records[-1].frames_in == 100

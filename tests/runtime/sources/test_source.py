"""What the user may name as a source, and how each is read."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream
from numpy.typing import NDArray

from s2tf_edge.data.container import open_container
from s2tf_edge.errors import InputFileError, SourceError, UsageError
from s2tf_edge.runtime.sources import packets
from s2tf_edge.runtime.sources.cameras import camera
from s2tf_edge.runtime.sources.decoder import Decoder
from s2tf_edge.runtime.sources.parsing import parse_source
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.runtime.sources.timing import StageTimes

ODD = Path(__file__).parents[3] / "../shared/clips/odd"


def _names(sources: list[Source]) -> list[str]:
    return [Path(source.name).name for source in sources]


def _decoder(source: Source, *, stop: threading.Event | None = None, **options: Any) -> Decoder:
    return Decoder(source, stop=stop or threading.Event(), times=StageTimes(), **options)


def _times(path: Path, **options: Any) -> list[float]:
    with _decoder(parse_source(str(path))[0], **options) as decoder:
        return [frame.pts_seconds for frame in decoder.frames()]


def test_a_folder_stands_for_its_videos_in_order(tmp_path: Path) -> None:
    for name in ("b.MP4", "a.avi", "notes.txt", "sub/c.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert _names(parse_source(str(tmp_path))) == ["a.avi", "b.MP4", "c.mkv"]


def test_a_glob_stands_for_its_matches(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mp4", "c.avi"):
        (tmp_path / name).touch()
    assert _names(parse_source(f"{tmp_path}/*.mp4")) == ["a.mp4", "b.mp4"]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "clip [1].mp4").touch()
    assert _names(parse_source(f"{tmp_path}/clip [1].mp4")) == ["clip [1].mp4"]


def test_a_list_names_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "ä b.mp4").touch()
    (tmp_path / "list.txt").write_text("# two of them\nä b.mp4\n\ngone.mp4\n", encoding="utf-8")
    assert _names(parse_source(f"{tmp_path}/list.txt")) == ["ä b.mp4", "gone.mp4"]


def test_a_list_of_a_data_set_is_a_source_too(tmp_path: Path) -> None:
    (tmp_path / "b c.mp4").touch()
    (tmp_path / "test.csv").write_text("b c.mp4, riding a bike\ngone.mp4 walking\n", encoding="utf-8")
    assert _names(parse_source(f"{tmp_path}/test.csv")) == ["b c.mp4", "gone.mp4"]


def test_folders_and_globs_are_listed_as_data_sets_are(tmp_path: Path) -> None:
    for name in ("b/c.mp4", ".hidden.mp4", ".git/a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "b/loop").symlink_to(tmp_path)
    (tmp_path / "z").symlink_to(tmp_path / "b")
    os.mkfifo(tmp_path / "fifo.mp4")
    for text in (str(tmp_path), f"{tmp_path}/**/*.MP4"):
        assert _names(parse_source(text)) == ["c.mp4"]


def test_a_list_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "list.txt").write_text("a.mp4\n", encoding="utf-8-sig")
    assert _names(parse_source(f"{tmp_path}/list.txt")) == ["a.mp4"]


@pytest.mark.parametrize("content", [b"", b"dear diary\n", b"\xff\xfe\x00"])
def test_a_text_that_is_no_list_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "notes.txt").write_bytes(content)
    with pytest.raises(InputFileError, match=r"notes\.txt"):
        parse_source(f"{tmp_path}/notes.txt")


@pytest.mark.parametrize("pattern", ["", "*.mp4"])
def test_nothing_to_read_is_an_error(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InputFileError, match="holds no video, nor numbered pictures; give a video file"):
        parse_source(f"{tmp_path}/{pattern}")


def test_other_kinds_are_refused_without_repeating_a_password() -> None:
    with pytest.raises(UsageError, match=r"gopher:// cannot be read; give a video file") as caught:
        parse_source("gopher://user:secret@host/a")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "live"),
    [
        ("rtsp://user:hunter2@camera/live", True),
        ("http://user:hunter2@camera/video.cgi?channel=1", True),
        ("https://user:hunter2@host/live.m3u8", True),
        ("http://user:hunter2@host/live.ts", True),
        ("https://user:hunter2@host/a/clip.MP4?token=hunter2", False),
        ("tcp://user:hunter2@host:9000", True),
        ("udp://user:hunter2@239.0.0.1:9000", True),
    ],
)
def test_what_an_address_names_is_live_unless_it_is_a_file(text: str, live: bool) -> None:
    (source,) = parse_source(text)
    assert source.live == live
    assert source.url == text
    assert source.is_remote
    assert "hunter2" not in source.name


def test_stdin_can_wait() -> None:
    (source,) = parse_source("-")
    assert (source.name, source.live) == ("stdin", False)


def test_a_file_may_be_given_as_an_address(tmp_path: Path) -> None:
    (tmp_path / "ä b.mp4").touch()
    assert parse_source((tmp_path / "ä b.mp4").as_uri())[0].url == f"{tmp_path}/ä b.mp4"


def test_a_number_is_a_camera_unless_a_file_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.chdir(tmp_path)
    assert parse_source("0") == [camera(0)]
    (tmp_path / "7").touch()
    assert [source.url for source in parse_source("7")] == ["./7"]


def test_videos_win_over_pictures(tmp_path: Path) -> None:
    for name in ("cover_1.jpg", "cover_2.jpg"):
        (tmp_path / name).touch()
    (source,) = parse_source(str(tmp_path))
    assert [path.name for path in source.pictures] == ["cover_1.jpg", "cover_2.jpg"]
    (tmp_path / "a.mp4").touch()
    assert [(Path(source.name).name, source.pictures) for source in parse_source(str(tmp_path))] == [("a.mp4", ())]


def test_a_glob_of_pictures_is_a_sequence_if_all_have_numbers(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.png").touch()
    (source,) = parse_source(f"{tmp_path}/*.png")
    assert [path.stem for path in source.pictures] == [str(number) for number in range(12)]
    (tmp_path / "cover.png").touch()
    assert len(parse_source(f"{tmp_path}/*.png")) == 13


@pytest.mark.parametrize("pattern", ["%04d.png", "gone/%d.jpg"])
def test_a_pattern_without_pictures_is_an_error(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InputFileError, match="holds no video, nor numbered pictures"):
        parse_source(f"{tmp_path}/{pattern}")


def test_a_format_is_named_behind_a_file_stdin_or_an_address(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    path = make_video("a.h264", [0] * 25).rename(tmp_path / "a.raw")
    (source,) = parse_source(f"{path}#format=h264")
    assert (source.name, source.url, source.format, source.is_device) == (str(path), str(path), "h264", False)
    with _decoder(source) as decoder:
        assert len(list(decoder.frames())) == 25
    (stdin,) = parse_source("-#format=h264")
    assert (stdin.name, stdin.format) == ("stdin", "h264")
    (address,) = parse_source("tcp://user:hunter2@host:9000#format=mpegts&rw_timeout=1")
    assert (address.name, address.format, address.options["rw_timeout"]) == ("tcp://***@host:9000", "mpegts", "1")
    assert address.is_remote
    assert parse_source(f"{path.as_uri()}#format=h264") == [source]


def test_options_of_a_format_are_ffmpeg_s(tmp_path: Path) -> None:
    (tmp_path / "a.gray").write_bytes(bytes(64 * 48 * 10))
    (source,) = parse_source(f"{tmp_path}/a.gray#format=rawvideo&video_size=64x48&pixel_format=gray")
    with _decoder(source) as decoder:
        assert len(list(decoder.frames())) == 10


@pytest.mark.parametrize("name", ["a#b.mp4", "a#format=h264.mp4"])
def test_a_file_whose_name_holds_a_hash_is_that_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    for text in (f"{tmp_path}/{name}", (tmp_path / name).as_uri()):
        assert [(source.url, source.format) for source in parse_source(text)] == [(f"{tmp_path}/{name}", None)]


@pytest.mark.parametrize("format", ["lavfi", "v4l2", "image2", "nonsense", ""])
@pytest.mark.parametrize("text", ["a.raw", "-", "http://host/a"])
def test_what_is_no_format_of_files_is_refused(text: str, format: str) -> None:
    with pytest.raises(UsageError, match=f"cannot be read as '{format}'; give one of FFmpeg's formats of files"):
        parse_source(f"{text}#format={format}")


def test_pictures_take_no_options(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}.png").touch()
    with pytest.raises(UsageError, match=r"take no options; leave out #framerate=…"):
        parse_source(f"{tmp_path}#framerate=5")


@pytest.mark.parametrize("suffix", ["gif", "apng"])
def test_moving_pictures_are_videos(tmp_path: Path, suffix: str) -> None:
    codec, format = {"gif": ("gif", "rgb8"), "apng": ("apng", "rgb24")}[suffix]
    _write_moving(tmp_path / f"a.{suffix}", codec, format)
    assert _times(tmp_path / f"a.{suffix}") == pytest.approx([index / 10 for index in range(8)])


def test_animated_webp_is_called_what_it_is(tmp_path: Path) -> None:
    if "libwebp_anim" not in av.codecs_available:
        pytest.skip("this FFmpeg writes no animated WebP")
    path = tmp_path / "a.webp"
    _write_moving(path, "libwebp_anim", "yuv420p")
    with pytest.raises(InputFileError, match=r"a\.webp is an animated WebP, .* convert it: magick \S+a\.webp"):
        _times(path)


def _write_moving(path: Path, codec: str, format: str) -> None:
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=10))
        stream.width, stream.height, stream.pix_fmt = 96, 64, format
        for index in range(8):
            image: NDArray[np.uint8] = np.full((64, 96, 3), 20 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=format)
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def test_rtsp_is_read_over_tcp_unless_told_otherwise() -> None:
    assert parse_source("rtsp://host/a")[0].options["rtsp_transport"] == "tcp"
    (source,) = parse_source("rtsp://user:p#a=b@host/a?x=1#rtsp_transport=udp&max_delay=0")
    assert source.url == "rtsp://user:p#a=b@host/a?x=1"
    assert source.name == "rtsp://***@host/a?x=1"
    assert (source.options["rtsp_transport"], source.options["max_delay"]) == ("udp", "0")


@pytest.mark.parametrize(
    ("platform", "format", "url"), [("linux", "v4l2", "/dev/video2"), ("darwin", "avfoundation", "2")]
)
def test_cameras_by_platform(monkeypatch: pytest.MonkeyPatch, platform: str, format: str, url: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    found = camera(2)
    assert (found.format, found.url, found.live) == (format, url, True)


def test_cameras_elsewhere_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(UsageError, match="not on plan9"):
        parse_source("/dev/video0")


def test_a_negative_camera_is_refused() -> None:
    with pytest.raises(UsageError, match="zero or more, got -1"):
        camera(-1)


def test_a_missing_camera_is_a_lost_source() -> None:
    source = Source(name="camera 99", url="/dev/video99", format="v4l2", live=True)
    with pytest.raises(SourceError, match="/dev/video99"):
        _decoder(source)


def test_a_live_source_starts_at_zero_and_keeps_its_pace(
    monkeypatch: pytest.MonkeyPatch, clock: Any, virtual_stop: Any
) -> None:
    monkeypatch.setattr(packets, "perf_counter", clock)
    graph = "testsrc=size=64x48:rate=20:duration=0.5,setpts=PTS+100/TB"
    with _decoder(parse_source(f"lavfi:{graph}")[0], stop=virtual_stop) as decoder:
        frames = list(decoder.frames())
    times = [index / 20 for index in range(10)]
    assert [frame.pts_seconds for frame in frames] == pytest.approx(times)
    # None is handed out before it is due.
    assert [frame.presented_at - frames[0].presented_at for frame in frames] == pytest.approx(times)


def test_a_file_keeps_its_own_times(make_video: Callable[..., Path]) -> None:
    times = [3.0, 3.1, 3.3, 3.4]
    path = make_video("late.mkv", [0, 80, 160, 240], times=times)
    with _decoder(parse_source(str(path))[0]) as decoder:
        assert [frame.pts_seconds for frame in decoder.frames()] == pytest.approx(times, abs=2e-3)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
@pytest.mark.parametrize("start", [0.02, 1.0, 2.5])
def test_a_start_within_a_file_is_exact(make_video: Callable[..., Path], name: str, start: float) -> None:
    path = make_video(name, [index % 256 for index in range(100)], gop=30)
    times = _times(path)
    begun = _times(path, start_seconds=start)
    expected = [time for time in times if time >= times[0] + start - 1e-3]
    assert begun == pytest.approx(expected, abs=1e-6)


def test_a_start_counts_from_the_first_frame(make_video: Callable[..., Path]) -> None:
    times = [30 + index / 25 for index in range(50)]
    path = make_video("late.mkv", [0] * 50, times=times)
    assert _times(path, start_seconds=1.0)[0] == pytest.approx(31.0, abs=2e-3)


def test_a_start_behind_the_end_is_an_error(make_video: Callable[..., Path]) -> None:
    with pytest.raises(InputFileError, match=r"a\.mp4 ends before 9\.5 s; give an earlier start"):
        _times(make_video("a.mp4", [0] * 50), start_seconds=9.5)


def test_a_file_tells_how_long_it_is_from_its_start_on(make_video: Callable[..., Path]) -> None:
    (source,) = parse_source(str(make_video("a.mp4", [0] * 50)))
    with _decoder(source, start_seconds=0.5) as decoder:
        assert decoder.duration_seconds == pytest.approx(1.5, abs=0.01)
    with _decoder(parse_source("lavfi:testsrc=size=64x48:rate=25")[0]) as decoder:
        assert decoder.duration_seconds is None


@pytest.mark.parametrize("suffix", [".ts", ".m2ts", ".mpg", ".vob", ".h264", ".mp4", ".mkv"])
def test_a_start_is_found_in_a_file_of_one_group_of_pictures(make_video: Callable[..., Path], suffix: str) -> None:
    path = make_video(f"a{suffix}", [index % 256 for index in range(100)], gop=1000)
    times = _times(path)
    assert len(times) == 100
    assert _times(path, start_seconds=3.0) == pytest.approx(times[75:], abs=1e-6)


@pytest.mark.parametrize("name", ["a.h264", "a.mp4", "a.ts"])
def test_a_frame_rate_that_is_given_counts_the_frames(
    make_video: Callable[..., Path], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path = make_video(name, [0] * 50)
    assert _times(path, fps=10.0) == pytest.approx([index / 10 for index in range(50)])
    assert _times(path, fps=10.0, start_seconds=2.0) == pytest.approx([index / 10 for index in range(20, 50)])
    assert caplog.messages == []


def test_a_file_tells_how_long_it_is_at_the_frame_rate_that_is_given(make_video: Callable[..., Path]) -> None:
    (source,) = parse_source(str(make_video("a.mp4", [0] * 50)))
    with _decoder(source, fps=10.0) as decoder:
        assert decoder.duration_seconds == pytest.approx(5.0, abs=0.01)
        assert decoder.frame_seconds == 0.1


def _write_raw(path: Path, codec: str, rate: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=rate))
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for index in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), index, np.uint8), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.h264", "libx264"), ("a.m4v", "mpeg4"), ("a.m2v", "mpeg2video")])
def test_an_elementary_stream_is_timed_as_it_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, codec: str
) -> None:
    path = _write_raw(tmp_path / name, codec, 50)
    assert _times(path) == pytest.approx([index / 50 for index in range(30)])
    assert caplog.messages == []


@pytest.mark.parametrize(("name", "codec"), [("a.mjpeg", "mjpeg")])
def test_a_frame_rate_that_nobody_says_is_announced_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, codec: str
) -> None:
    path = _write_raw(tmp_path / name, codec, 50)
    for _ in range(2):
        assert _times(path) == pytest.approx([index / 25 for index in range(30)])
    assumed = "25 a second are assumed; give `fps=F` if there are more or fewer"
    assert caplog.messages == [f"{path} says neither times nor a frame rate: {assumed}"]


def test_a_truncated_file_gives_what_decodes(make_video: Callable[..., Path], tmp_path: Path) -> None:
    whole = make_video("whole.mkv", [level % 256 for level in range(0, 2000, 20)]).read_bytes()
    (tmp_path / "half.mkv").write_bytes(whole[: len(whole) // 2])
    with _decoder(parse_source(f"{tmp_path}/half.mkv")[0]) as decoder:
        assert 10 < len(list(decoder.frames())) < 100


@pytest.mark.needs_shared
def test_a_corrupt_part_is_counted_and_left_out() -> None:
    with _decoder(parse_source(str(ODD / "corrupted.mp4"))[0]) as decoder:
        frames = list(decoder.frames())
        assert (len(frames), decoder.corrupt) == (28, 1)


@pytest.mark.needs_shared
def test_a_file_without_frames_is_an_error() -> None:
    with (
        _decoder(parse_source(str(ODD / "bipbop_nonfragment_header.mp4"))[0]) as decoder,
        pytest.raises(InputFileError, match="holds no frame that decodes"),
    ):
        list(decoder.frames())


@pytest.mark.parametrize("name", ["fd:a.mp4", "pipe:0"])
def test_a_file_in_a_list_is_never_taken_for_stdin(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(b"no video")
    Path("list.txt").write_text(f"{name}\n")
    (source,) = parse_source("list.txt")
    assert source.name.endswith(name)
    with pytest.raises(InputFileError, match=f"{name} is not a video"):
        open_container(source.url)

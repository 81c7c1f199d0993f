"""Saved videos: every frame, at its time, with the label that is current then."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from s2tf_edge.clips import Frame
from s2tf_edge.data.video import probe
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sinks.video_file import VideoSink
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Gap, Picture, Prediction, Start, Summary
from s2tf_edge.runtime.streaming.stream_options import StreamOptions
from s2tf_edge.spec import ClipSpec


def _prediction(label: str, score: float, *, at: float = 0.0, source: int = 0) -> Prediction:
    return Prediction(
        source=source,
        t_start=at,
        t_end=at + 1,
        label=label,
        score=score,
        topk=((label, score),),
        age_ms=1.23456789,
        infer_ms=1.0,
    )


def _picture(seconds: float, *, height: int = 48, width: int = 64, source: int = 0) -> Picture:
    frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 90, np.uint8), format="rgb24")
    return Picture(source=source, pts_seconds=seconds, frame=frame)


def _summary() -> Summary:
    return Summary(
        seconds=1.0,
        interrupted=False,
        frames_in=1,
        windows=1,
        events=0,
        gaps=0,
        drops={"windows_superseded": 2},
        stages_ms={},
        sources=(),
    )


def _saved(session: Session, path: Path, out: Path) -> None:
    sink = VideoSink(out)
    for record in recognize(path, session, options=StreamOptions(pictures=True)):
        sink.write(record)
    sink.close()


def test_a_saved_video_has_every_frame_at_its_time(
    read_video: Callable[..., list[Frame]], make_video: Callable[..., Path], tmp_path: Path, brightness: Session
) -> None:
    times = [2.0, 2.04, 2.1, 2.2, 2.24, 2.3, 2.4, 2.5]
    path = make_video("in.mkv", [90] * 8, times=times, size=48)
    _saved(brightness, path, tmp_path / "ä out.mp4")
    frames = read_video(tmp_path / "ä out.mp4")
    assert [frame.pts_seconds for frame in frames] == pytest.approx(times, abs=2e-3)
    assert frames[0].image.shape == (48, 72, 3)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["in.mkv", "ä out.mp4"]


def test_the_label_is_drawn_from_the_first_frame_even_of_a_short_video(
    read_video: Callable[..., list[Frame]], make_video: Callable[..., Path], tmp_path: Path, brightness: Session
) -> None:
    _saved(brightness, make_video("in.mp4", [90, 90], size=96), tmp_path / "out.mkv")
    for frame in read_video(tmp_path / "out.mkv"):
        assert frame.image[:40].std() < 2
        assert frame.image[50:].std() > 10


def test_sizes_become_even_and_a_change_midway_is_fitted(
    read_video: Callable[..., list[Frame]], tmp_path: Path
) -> None:
    sink = VideoSink(tmp_path / "out.mp4")
    for record in (_picture(0.0, height=49, width=65), _picture(0.1, height=200, width=100), _summary()):
        sink.write(record)
    sink.close()
    info = probe(tmp_path / "out.mp4")
    assert (info.width, info.height, info.frames) == (64, 48, 2)
    last = read_video(tmp_path / "out.mp4")[-1].image
    assert last[24, 32].mean() == pytest.approx(90, abs=4)
    assert last[24, 2].mean() < 10


def test_pictures_of_another_source_and_out_of_order_are_left_out(
    read_video: Callable[..., list[Frame]], tmp_path: Path
) -> None:
    sink = VideoSink(tmp_path / "out.mp4")
    for record in (_picture(0.0), _picture(0.1, source=1), _picture(0.2), _picture(0.1), _summary()):
        sink.write(record)
    sink.close()
    assert [frame.pts_seconds for frame in read_video(tmp_path / "out.mp4")] == pytest.approx([0.0, 0.2], abs=1e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_night_without_signal_does_not_cost_the_recording(
    read_video: Callable[..., list[Frame]], tmp_path: Path, suffix: str
) -> None:
    out, back = tmp_path / f"out{suffix}", 12 * 3600.0
    gap = Gap(source=0, t_start=0.0, t_end=back, cause="lost")
    sink = VideoSink(out)
    # Pictures of a live source may come before the gap that they follow.
    for record in (_picture(0.0), _picture(back), gap, _picture(back + 1), _summary()):
        sink.write(record)
    sink.close()
    assert [frame.pts_seconds for frame in read_video(out)] == pytest.approx([0.0, 3600.0, 3601.0], abs=1e-3)


def _start() -> Start:
    return Start(
        artifact="a",
        network="n",
        target="onnx",
        precision="fp32",
        clip=ClipSpec(frames=4, size=32),
        labels=1,
        hop=1,
        policy="auto",
        smooth="none",
        threshold=0.5,
        sources=("x",),
    )


@pytest.mark.parametrize("saliency", [False, True])
def test_saliency_is_drawn_where_it_was_asked_for(
    read_video: Callable[..., list[Frame]], tmp_path: Path, saliency: bool
) -> None:
    mask = np.ones((4, 4), np.float32)
    mask[1, 1] = 3
    prediction = dataclasses.replace(_prediction("a", 0.5), mask=mask)
    sink = VideoSink(tmp_path / "out.mp4", saliency=saliency)
    for record in (_start(), _picture(0.0, height=240, width=320), prediction, _summary()):
        sink.write(record)
    sink.close()
    (frame,) = read_video(tmp_path / "out.mp4")
    # The cell's center, and a place outside of the center crop.
    assert (frame.image[90, 130].max() - frame.image[90, 130].min() > 60) == saliency
    assert frame.image[90, 10].mean() == pytest.approx(90, abs=4)


def test_saliency_of_a_picture_of_another_size_is_drawn_before_it_is_fitted(
    read_video: Callable[..., list[Frame]], tmp_path: Path
) -> None:
    mask = np.ones((4, 4), np.float32)
    mask[1, 1] = 3
    sink = VideoSink(tmp_path / "out.mp4", saliency=True)
    pictures = _picture(0.0, height=240, width=320), _picture(1.0, height=320, width=240)
    for record in (_start(), *pictures, dataclasses.replace(_prediction("a", 0.5), mask=mask), _summary()):
        sink.write(record)
    sink.close()
    last = read_video(tmp_path / "out.mp4")[-1].image.astype(int)
    # 240×320 in 320×240: 180 columns from 70 on; of those the crop has rows 30 to 210.
    glow = np.argwhere(last[:150].max(axis=2) - last[:150].min(axis=2) > 60).mean(axis=0)
    assert glow == pytest.approx([30 + 1.5 / 4 * 180, 70 + 1.5 / 4 * 180], abs=6)


def test_the_pictures_of_others_are_left_alone(tmp_path: Path) -> None:
    sink, picture = VideoSink(tmp_path / "out.mp4"), _picture(0.0, height=64, width=64)
    for record in (_start(), picture, _prediction("a", 0.5), _summary()):
        sink.write(record)
    sink.close()
    assert (picture.frame.to_ndarray() == 90).all()


def test_every_frame_of_files_strung_together_is_saved(
    make_video: Callable[..., Path], tmp_path: Path, brightness: Session
) -> None:
    parts = [
        make_video(f"{name}.ts", [90] * 20, times=[start + index / 25 for index in range(20)])
        for name, start in (("a", 20), ("b", 0))
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    _saved(brightness, path, tmp_path / "out.mp4")
    assert probe(tmp_path / "out.mp4").frames == 40


def test_without_x264_it_is_mpeg4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(av, "codecs_available", av.codecs_available - {"libx264"})
    sink = VideoSink(tmp_path / "out.mp4")
    for record in (_picture(0.0), _picture(1 / 24), _summary()):
        sink.write(record)
    sink.close()
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "mpeg4"
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx([0.0, 1 / 24], abs=1e-3)


def test_a_run_that_failed_leaves_what_was_saved_under_a_name_that_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = VideoSink(tmp_path / "out.mp4")
    sink.write(_prediction("a", 0.5))
    for index in range(100):
        sink.write(_picture(index / 25))
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.part.mp4"]
    assert probe(tmp_path / "out.part.mp4").frames == 100
    assert "out.part.mp4 keeps what was saved before the run failed" in caplog.text


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'out\.avi'; its name must end in \.mp4"):
        VideoSink(tmp_path / "out.avi")


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="choose a file in a folder that exists"):
        VideoSink(tmp_path / "gone/out.mp4")


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.mp4")
    with pytest.raises(InputFileError, match=r"out\.mp4 is no file"):
        VideoSink(tmp_path / "out.mp4")

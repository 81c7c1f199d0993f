"""Several clips read in one go are those that are read one by one, to the pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from s2tf_edge.data import clip_run, video
from s2tf_edge.data.clip_run import read_clips
from s2tf_edge.data.datasets import open_videos
from s2tf_edge.data.video import read_clip
from s2tf_edge.data.videos import read_clips as read_any
from s2tf_edge.errors import InputFileError
from s2tf_edge.spec import ClipSpec

PLACES = np.linspace(0, 1, 7).tolist()
DENSE = ClipSpec(frames=8, size=24, fps=30)
SPARSE = ClipSpec(frames=5, size=24, stride=3, fps=10)


def _same(path: Path, spec: ClipSpec, places: list[float]) -> None:
    found = list(read_clips(path, spec, places=places))
    assert len(found) == len(places)
    for at, clip in zip(places, found, strict=True):
        np.testing.assert_array_equal(clip, read_clip(path, spec, at=at))


@pytest.mark.parametrize("spec", [DENSE, SPARSE], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", ["video.mp4", "video.mkv", "video.avi", "video.ts", "raw.h264"])
def test_every_container(make_video: Callable[..., Path], spec: ClipSpec, name: str) -> None:
    _same(make_video(name, frames=60, bframes=2), spec, PLACES)


def test_a_video_shorter_than_a_clip(make_video: Callable[..., Path]) -> None:
    _same(make_video(frames=5), DENSE, [0.0, 0.5, 1.0])


def test_a_picture_that_is_held(make_video: Callable[..., Path]) -> None:
    _same(make_video(frames=40, pts=[*range(20), *range(100, 120)]), DENSE, PLACES)


def test_a_clock_that_begins_anew(make_video: Callable[..., Path], tmp_path: Path) -> None:
    parts = [make_video(f"{index}.ts", frames=30) for index in range(2)]
    both = tmp_path / "both.ts"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    _same(both, DENSE, PLACES)


def test_a_file_that_breaks_off(make_video: Callable[..., Path]) -> None:
    path = make_video("video.mkv", frames=60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    _same(path, DENSE, PLACES)


def test_each_frame_is_decoded_once(make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = make_video(frames=60), []
    frames = video.frames_around

    def watched(*arguments: object) -> object:
        for seconds, frame in frames(*arguments):  # type: ignore[arg-type]  # as they come
            seen.append(seconds)
            yield seconds, frame

    monkeypatch.setattr(clip_run, "frames_around", watched)
    assert len(list(read_clips(path, DENSE, places=PLACES))) == 7
    assert len(seen) == len(set(seen)) <= 60


def test_what_lies_far_from_the_clip_before_is_sought(
    make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, starts = make_video(frames=60, fps=2, options={"g": "10"}), []
    frames = video.frames_around

    def watched(path: Path, start: float) -> object:
        starts.append(round(start))
        return frames(path, start)

    monkeypatch.setattr(clip_run, "frames_around", watched)
    spec = ClipSpec(frames=4, size=24, fps=2)
    places = [0.0, 0.1, 0.9, 1.0]
    clips = list(read_clips(path, spec, places=places))
    assert starts == [0, 25]
    for at, clip in zip(places, clips, strict=True):
        np.testing.assert_array_equal(clip, read_clip(path, spec, at=at))


def test_a_size_that_changes_within_a_clip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.ts"
    with path.open("wb") as file:
        for size in (32, 48):
            part = tmp_path / f"{size}.ts"
            with av.open(str(part), "w") as container:
                stream = container.add_stream("libx264", rate=25)
                stream.width, stream.height = size, 32
                for _ in range(20):
                    frame = av.VideoFrame.from_ndarray(np.zeros((32, size, 3), np.uint8), format="rgb24")
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            file.write(part.read_bytes())
    spec = ClipSpec(frames=30, size=24, fps=25)
    with pytest.raises(InputFileError, match="changes the size of its picture"):
        list(read_clips(path, spec, places=[0.0, 0.5]))


def test_a_data_set_s_video_reads_them_so(make_video: Callable[..., Path]) -> None:
    (found,) = open_videos(make_video(frames=30)).videos
    for at, clip in zip(PLACES, read_any(found, DENSE, places=PLACES), strict=True):
        np.testing.assert_array_equal(clip, found.read(DENSE, at=at))

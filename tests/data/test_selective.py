from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.clips import Frame, clip_start_seconds
from s2tf_edge.data import selective
from s2tf_edge.data.selective import choose_frames
from s2tf_edge.data.video import read_clip
from s2tf_edge.spec import ClipSpec

SPARSE = ClipSpec(frames=5, size=24, stride=6, fps=30.0)
DENSE = ClipSpec(frames=12, size=24, fps=30.0)


@pytest.fixture
def selected(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each clip that is read, whether the index was enough."""
    was_enough: list[bool] = []
    decode_chosen = selective.decode_chosen

    def watched(*arguments: Any, **options: Any) -> dict[int, NDArray[np.uint8]] | None:
        pictures = decode_chosen(*arguments, **options)
        was_enough.append(pictures is not None)
        return pictures

    monkeypatch.setattr("s2tf_edge.data.video.decode_chosen", watched)
    return was_enough


@pytest.mark.parametrize("name", ["video.mp4", "video.mkv", "video.ts"])
@pytest.mark.parametrize("group", ["12", "250"])
@pytest.mark.parametrize("spec", [SPARSE, DENSE], ids=["sparse", "dense"])
def test_a_clip_has_the_pixels_of_a_video_that_is_decoded_whole(
    make_video: Callable[..., Path],
    read_video: Callable[..., list[Frame]],
    selected: list[bool],
    name: str,
    group: str,
    spec: ClipSpec,
) -> None:
    path = make_video(name, frames=60, fps=30, bframes=3, options={"g": group})
    frames = [(frame.pts_seconds, frame.image) for frame in read_video(path, short_side=24)]
    for at in (0.0, 0.3, 0.77, 1.0):
        start = clip_start_seconds(spec, first_seconds=frames[0][0], last_seconds=frames[-1][0], at=at)
        later = [frame for frame in frames if frame[0] >= start - 1e-3]
        expected = [image for image, count in choose_frames(later, spec) for _ in range(count)]
        np.testing.assert_array_equal(read_clip(path, spec, at=at), np.stack(expected))
    assert selected == [True] * 4


def test_what_no_sample_needs_is_not_decoded(make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int | None] = []
    decode = selective._decode

    def counted(*arguments: Any) -> Iterator[av.VideoFrame]:
        for frame in decode(*arguments):
            decoded.append(frame.pts)
            yield frame

    monkeypatch.setattr(selective, "_decode", counted)
    path = make_video("video.mp4", frames=60, fps=30, bframes=3, options={"g": "60", "b-pyramid": "none"})
    read_clip(path, SPARSE, at=0)
    # 25 frames to the last sample; of the B-frames only those that are sampled.
    assert len(decoded) < 15


def test_what_comes_after_the_clip_may_be_broken(make_video: Callable[..., Path], selected: list[bool]) -> None:
    path = make_video("video.mp4", frames=60, fps=30, bframes=3, options={"g": "12"})
    whole = read_clip(path, DENSE, at=0)
    with av.open(str(path)) as container:
        (last,) = (packet for packet in container.demux(video=0) if packet.pos and packet.pts == _last_key(path))
        position = last.pos
    with path.open("r+b") as file:
        file.seek(position or 0)
        file.write(bytes(200))
    np.testing.assert_array_equal(read_clip(path, DENSE, at=0), whole)
    assert selected == [True, True]


def _last_key(path: Path) -> int | None:
    with av.open(str(path)) as container:
        return [packet.pts for packet in container.demux(video=0) if packet.is_keyframe][-1]


@pytest.mark.parametrize("name", ["raw.h264", "video.avi"])
def test_where_packets_do_not_tell_the_frames_all_are_decoded(
    make_video: Callable[..., Path], selected: list[bool], name: str
) -> None:
    read_clip(make_video(name, frames=30, bframes=2), DENSE, at=0.5)
    assert selected == []


def test_a_file_that_breaks_within_the_clip_gives_what_decodes(
    make_video: Callable[..., Path], selected: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    path = make_video("video.mp4", frames=60, fps=30, options={"g": "12"})
    with av.open(str(path)) as container:
        packet = next(each for each in container.demux(video=0) if each.pts and each.is_keyframe)
    with path.open("r+b") as file:
        file.seek(packet.pos or 0)
        file.write(b"\xff" * packet.size)
    assert read_clip(path, DENSE, at=0.2).shape[0] == 12
    assert selected == [False]
    assert "is corrupt in parts" in caplog.text

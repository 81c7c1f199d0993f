from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2tf_edge.data import cached_video
from s2tf_edge.data.cached_video import CachedClip, CachedVideo, cached, estimate_bytes
from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.files import LabeledFile, VideoFile
from s2tf_edge.data.frame_store import FrameStore
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.spec import ClipSpec

SPECS = [
    ClipSpec(frames=6, size=24, resize_short_side=27, stride=2, fps=30.0),
    ClipSpec(frames=6, size=24, resize_short_side=27, stride=2, fps=23.17),
    ClipSpec(frames=90, size=24, resize_short_side=27, fps=30.0),
]


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    return FrameStore(tmp_path / "cache")


@pytest.mark.parametrize("kind", [CachedVideo, CachedClip])
@pytest.mark.parametrize("name", ["video.mp4", "video.ts", "video.avi", "raw.h264", "turned.mp4", "held.mp4"])
def test_clips_are_the_same_to_the_bit_with_and_without_a_cache(
    make_video: Callable[..., Path], store: FrameStore, name: str, kind: type[CachedVideo | CachedClip]
) -> None:
    special: dict[str, dict[str, Any]] = {
        "turned.mp4": {"rotation_degrees": 90},
        "held.mp4": {"pts": [*range(20), *range(80, 120)]},
    }
    changes = special.get(name, {"bframes": 2})
    path = make_video(name, frames=60, fps=30, options={"g": "25"}, **changes)
    plain, video = LabeledFile(path=path, label=1), kind(path=path, label=1, store=store)
    for spec in SPECS:
        for at in (0.0, 0.37, 0.5, 1.0, 0.37):
            np.testing.assert_array_equal(video.read(spec, at=at), plain.read(spec, at=at))
    assert (video.name, video.label, video.room(SPECS[0])) == (plain.name, 1, plain.room(SPECS[0]))
    with pytest.raises(UsageError, match=r"at must lie in \[0, 1\]"):
        video.read(SPECS[0], at=2)


def _read(video: LabeledFile) -> bytes | str:
    try:
        return video.read(SPECS[0], at=0.6).tobytes()
    except InputFileError as error:
        return str(error)


def test_real_videos_are_the_same_with_and_without_a_cache(shared_clips: Path, store: FrameStore) -> None:
    paths = sorted((shared_clips / "odd").iterdir())
    for path in paths:
        video = CachedVideo(path=path, label=0, store=store)
        expected = _read(LabeledFile(path=path, label=0))
        # Decoded and kept, then as it was kept.
        assert [_read(video), _read(video)] == [expected, expected], path.name
    assert len(list(store.folder.iterdir())) > len(paths) / 2


def test_a_video_is_decoded_once(
    make_video: Callable[..., Path], store: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = CachedVideo(path=make_video(frames=30), label=0, store=store)
    first = video.read(SPECS[0], at=0.2)
    monkeypatch.delattr(cached_video, "read_frames")
    monkeypatch.delattr(VideoFile, "read")
    np.testing.assert_array_equal(video.read(SPECS[0], at=0.2), first)
    np.testing.assert_array_equal(CachedVideo(path=video.path, label=0, store=store).read(SPECS[0], at=0.2), first)


def test_a_video_that_has_changed_is_read_anew(make_video: Callable[..., Path], store: FrameStore) -> None:
    video = CachedVideo(path=make_video(frames=30), label=0, store=store)
    video.read(SPECS[0])
    make_video(frames=30, image=np.full((48, 64, 3), 200, np.uint8))
    assert abs(float(video.read(SPECS[0]).mean()) - 200) < 3


def test_what_does_not_fit_is_decoded_each_time(make_video: Callable[..., Path], store: FrameStore) -> None:
    video = CachedVideo(path=make_video(frames=30), label=0, store=store)
    assert not store.has_room(2**62)
    assert not store.has_room(2**50)
    store._is_full = True
    expected = LabeledFile(path=video.path, label=0).read(SPECS[0])
    np.testing.assert_array_equal(video.read(SPECS[0]), expected)
    assert not store.folder.exists()


def test_a_video_whose_picture_changes_size_is_not_kept(make_video: Callable[..., Path], store: FrameStore) -> None:
    small, large = make_video("a.ts", frames=20), make_video("b.ts", frames=20, size=(64, 64))
    small.write_bytes(small.read_bytes() + large.read_bytes())
    video = CachedVideo(path=small, label=0, store=store)
    np.testing.assert_array_equal(video.read(SPECS[0], at=0), LabeledFile(path=small, label=0).read(SPECS[0], at=0))
    assert not list(store.folder.glob("*"))


def test_files_are_wrapped_and_others_are_left(make_video: Callable[..., Path], store: FrameStore) -> None:
    files = LabeledVideos(name="files", labels=("a",), videos=[LabeledFile(path=make_video(frames=30), label=0)])
    wrapped = cached(files, store, CachedVideo)
    assert isinstance(wrapped.videos[0], CachedVideo)
    assert [video.name for video in wrapped.videos] == [video.name for video in files.videos]
    made = open_data("synthetic?clips=10")
    assert cached(made, store, CachedVideo).videos == made.videos


def test_the_estimate_counts_every_frame(make_video: Callable[..., Path]) -> None:
    videos = [LabeledFile(path=make_video(f"{n}.mp4", frames=n), label=0) for n in (10, 20, 30)]
    files = LabeledVideos(name="files", labels=("a",), videos=[*videos, LabeledFile(path=Path("none"), label=0)])
    # The one that cannot be read counts as the mean of the others.
    assert estimate_bytes(files, SPECS[0]) == 4 * 20 * 27 * 36 * 3
    assert estimate_bytes(open_data("synthetic?clips=10"), SPECS[0]) == 0

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.data import frame_store
from s2tf_edge.data.frame_store import FrameStore, free_memory

IMAGES = np.random.default_rng(0).integers(0, 255, (5, 20, 30, 3), dtype=np.uint8)
TIMES = np.arange(7, dtype=np.float64)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"one")
    return path


def _save(store: FrameStore, key: str, images: NDArray[np.uint8] = IMAGES) -> None:
    store.save(key, times=np.arange(2 + len(images), dtype=np.float64), images=list(images))


def test_what_is_saved_is_loaded_by_other_stores_too(tmp_path: Path) -> None:
    _save(FrameStore(tmp_path / "a/cache"), "key")
    frames = FrameStore(tmp_path / "a/cache").load("key")
    assert frames is not None
    np.testing.assert_array_equal(frames.images, IMAGES)
    np.testing.assert_array_equal(frames.times, TIMES)
    assert FrameStore(tmp_path / "a/cache").load("other") is None
    assert [path.name for path in (tmp_path / "a/cache").iterdir()] == ["key.frames"]


@pytest.mark.parametrize("damage", ["truncated", "longer", "text", "empty", "another array"])
def test_a_file_that_is_not_whole_is_ignored_and_written_anew(tmp_path: Path, damage: str) -> None:
    store = FrameStore(tmp_path)
    _save(store, "key")
    path = tmp_path / "key.frames"
    whole = path.read_bytes()
    if damage == "another array":
        np.save(path.with_suffix(".npy"), IMAGES)
        path.with_suffix(".npy").replace(path)
    else:
        made = {"truncated": whole[:-100], "longer": whole + b"x", "text": b"not frames", "empty": b""}
        path.write_bytes(made[damage])
    assert store.load("key") is None
    _save(store, "key")
    assert store.load("key") is not None
    assert path.read_bytes() == whole


def test_a_key_is_of_one_state_of_one_file_and_one_form(tmp_path: Path, source: Path) -> None:
    store = FrameStore(tmp_path / "cache")
    keys = [store.key(source, "video", 64), store.key(source, "video", 65), store.key(source, "clip", 64)]
    assert store.key(source, "video", 64) == keys[0]
    os.utime(source, ns=(1, 1))
    keys.append(store.key(source, "video", 64))
    source.write_bytes(b"other")
    os.utime(source, ns=(1, 1))
    keys.append(store.key(source, "video", 64))
    assert len(set(keys)) == 5
    assert store.key(tmp_path / "none.mp4") is None


def test_a_full_disk_turns_the_cache_off_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    store = FrameStore(tmp_path)
    with file_limit(1000):
        _save(store, "small", IMAGES[:, :2, :2])
        _save(store, "large")
        _save(store, "small again", IMAGES[:, :2, :2])
    assert [path.name for path in tmp_path.iterdir()] == ["small.frames"]
    assert store.load("small") is not None
    assert caplog.text.count("keeps no more frames") == 1
    assert "(File too large); other videos are decoded each time" in caplog.text


def test_a_share_of_the_memory_is_left_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_store, "free_memory", lambda: (250_000, 1_000_000))
    store = FrameStore(tmp_path, in_memory=True)
    assert store.room() == 50_000
    assert store.has_room(50_000)
    assert not store.has_room(50_001)
    assert not store.has_room(1)


def test_a_container_s_limit_bounds_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_store, "_CGROUP", tmp_path)
    free, total = free_memory()
    assert 0 < free <= total
    (tmp_path / "memory.current").write_text("300\n", encoding="ascii")
    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    assert free_memory()[1] == total
    (tmp_path / "memory.max").write_text("1000\n", encoding="ascii")
    assert free_memory() == (700, 1000)

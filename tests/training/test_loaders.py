"""Batches of real runs: the same bytes, however many processes read them, with and without a cache."""

from __future__ import annotations

import csv
import gc
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.synthetic import write_video
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.models import load_model
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training import TrainConfig, train
from s2tf_edge.training.loaders import find_unreadable, make_loaders

SPEC = ClipSpec(frames=4, size=24, resize_short_side=28, fps=12.0, stride=2)
VARIED: dict[str, Any] = {
    "model": "s2tf_r3d_10?width=0.0625",
    "batch_size": 3,
    "clips_per_video": 2,
    "min_scale": 0.5,
    "speed_jitter": 0.3,
    "randaugment_count": 1,
    "erase": 0.5,
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> LabeledVideos:
    folder = tmp_path_factory.mktemp("data")
    for label in ("left", "right"):
        (folder / label).mkdir()
        for index in range(3):
            clips = [(f"moving {label}", 1.5)]
            write_video(folder / label / f"{index}.mp4", clips=clips, size=(48, 64), fps=24, seed=index)
    return open_data(folder)


def _hash(batches: Iterator[Any]) -> str:
    made = hashlib.sha256()
    for clips, labels in batches:
        made.update(clips.numpy().tobytes() + labels.numpy().tobytes())
    return made.hexdigest()


def _read_epochs(videos: LabeledVideos, **settings: Any) -> list[str]:
    config = TrainConfig(**VARIED | settings)
    training, validation = make_loaders(config, videos=videos, validation=videos, spec=SPEC)
    hashes = []
    for epoch in range(2):
        training.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        hashes += [_hash(iter(training)), _hash(iter(validation))]
    return hashes


def test_an_epoch_is_the_same_however_it_is_read(videos: LabeledVideos, tmp_path: Path) -> None:
    expected = _read_epochs(videos, workers=0)
    assert expected[0] != expected[2]
    assert expected[1] == expected[3]
    folder = str(tmp_path / "cache")
    ways: list[dict[str, Any]] = [
        {"workers": 2},
        {"workers": 0, "cache": "ram"},
        {"workers": 2, "cache": "ram"},
        {"workers": 1, "cache": folder},
        {"workers": 0, "cache": folder},
    ]
    for way in ways:
        assert _read_epochs(videos, **way) == expected, way
    # Of each video all frames, and its center clip.
    assert len(list((tmp_path / "cache").glob("*.frames"))) == 12


def test_trainings_end_in_the_same_bytes(videos: LabeledVideos, tmp_path: Path) -> None:
    hashes = set()
    for name, workers, cache in (("plain", 0, None), ("workers", 2, None), ("cache", 1, "ram")):
        settings = VARIED | {"frames": 8, "size": 32, "fps": 12.0, "epochs": 2, "lr": 5e-3, "clips_per_video": 1}
        config = TrainConfig(**settings, workers=workers, cache=cache)
        result = train(config, videos=videos, validation=videos, out=tmp_path / name)
        weights = load_model(result.model).state_dict().values()
        hashes.add(hashlib.sha256(b"".join(each.numpy().tobytes() for each in weights)).hexdigest())
    assert len(hashes) == 1


def test_the_cache_says_what_it_takes_and_is_gone_with_its_loader(
    videos: LabeledVideos, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s2tf_edge.training import caching

    folders: list[Path] = []

    class Watched(caching.MemoryFolder):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            folders.append(self.path)

    monkeypatch.setattr(caching, "MemoryFolder", Watched)
    with caplog.at_level(logging.INFO, logger="s2tf_edge"):
        loaders = make_loaders(
            TrainConfig(**VARIED, workers=0, cache="ram"), videos=videos, validation=videos, spec=SPEC
        )
    assert "keeping the frames of 6 videos in memory: about 1 MiB, " in caplog.text
    assert list(folders[0].iterdir())
    del loaders
    gc.collect()
    assert not folders[0].exists()


def test_a_cache_that_cannot_be_written_to_is_refused(videos: LabeledVideos, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match=r"`cache` takes ram or a folder, got '.*file'"):
        TrainConfig(**VARIED, cache=str(tmp_path / "file"))
    config = TrainConfig(**VARIED, cache=str(tmp_path / "file" / "below"))
    with pytest.raises(InputFileError, match=r"cannot write to the folder .*below of `cache` \(Not a directory\)"):
        make_loaders(config, videos=videos, validation=videos, spec=SPEC)


@pytest.fixture
def broken(videos: LabeledVideos, tmp_path: Path) -> LabeledVideos:
    """Three of each class, of which one of the first cannot be read."""
    for video in videos.videos:
        path = tmp_path / "data" / videos.labels[video.label] / Path(video.name).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Path(video.name).read_bytes())
    (tmp_path / "data/left/1.mp4").write_text("not a video", encoding="utf-8")
    return open_data(tmp_path / "data")


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_videos_are_replaced_in_training_and_left_out_of_validation(
    broken: LabeledVideos, workers: int
) -> None:
    config = TrainConfig(**VARIED | {"batch_size": 1}, workers=workers)
    loaders = make_loaders(config, videos=broken, validation=broken, spec=SPEC)
    training, validation = ([int(labels) for _, labels in loader] for loader in loaders)
    assert sorted(training) == [0] * 6 + [1] * 6
    assert validation == [0, 0, 1, 1, 1]
    assert [len(find_unreadable(loader).names) for loader in loaders] == [1, 1]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_says_how_many_could_not_be_read(
    broken: LabeledVideos, videos: LabeledVideos, tmp_path: Path, workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    settings = VARIED | {"frames": 8, "size": 32, "fps": 12.0, "epochs": 1, "clips_per_video": 1}
    result = train(TrainConfig(**settings, workers=workers), videos=broken, validation=videos, out=tmp_path / "run")
    assert "1 of 6 videos could not be read: " in caplog.text
    assert "1.mp4; others took their place" in caplog.text
    with (tmp_path / "run/metrics.csv").open(encoding="utf-8") as file:
        assert [row["unreadable"] for row in csv.DictReader(file)] == ["1"]
    assert torch.load(result.model, weights_only=True)["metrics"]["unreadable"] == 1


def test_top1_is_of_the_videos_that_could_be_read(broken: LabeledVideos, videos: LabeledVideos, tmp_path: Path) -> None:
    settings = VARIED | {"frames": 8, "size": 32, "fps": 12.0, "epochs": 1, "clips_per_video": 1}
    result = train(TrainConfig(**settings, workers=0), videos=videos, validation=broken, out=tmp_path / "run")
    assert result.validated == 5
    assert result.top1 is not None
    assert result.top1 / 20 == pytest.approx(round(result.top1 / 20))

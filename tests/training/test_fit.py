"""Real training runs of a tiny network on synthetic clips."""

from __future__ import annotations

import csv
import dataclasses
import signal
from pathlib import Path

import pytest
import torch

from s2tf_edge import load_model
from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.synthetic import write_video
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.models import create_model, save_model
from s2tf_edge.models.model_file import read_model_file
from s2tf_edge.training import TrainConfig, train
from s2tf_edge.training.networks import make_network, make_spec


class _KilledError(Exception):
    pass


def _state(path: Path) -> dict[str, torch.Tensor]:
    return load_model(path).state_dict()


def test_a_run_leaves_what_the_command_promises(
    tmp_path: Path, tiny: TrainConfig, sides: tuple[LabeledVideos, LabeledVideos]
) -> None:
    steps: list[tuple[int, int]] = []
    result = train(
        tiny,
        videos=sides[0],
        validation=sides[1],
        out=tmp_path,
        progress=lambda done, total: steps.append((done, total)),
    )
    model = load_model(result.model)
    assert model.labels == sides[0].labels
    assert model.spec == make_spec(tiny)
    assert steps[-1] == (8, 8)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert result.top1 == pytest.approx(max(float(row["val_top1"]) for row in rows), rel=1e-5)
    assert all(float(row["train_mask_l1"]) > 0 for row in rows)
    assert (tmp_path / "last.ckpt").is_file()
    assert list((tmp_path / "tensorboard").glob("events.*"))


def test_a_killed_run_resumes_to_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, tiny: TrainConfig, sides: tuple[LabeledVideos, LabeledVideos]
) -> None:
    def kill_in_second_epoch(done: int, total: int) -> None:
        del total
        if done == 6:
            raise _KilledError

    videos, validation = sides
    train(tiny, videos=videos, validation=validation, out=tmp_path / "whole")
    with pytest.raises(_KilledError):
        train(tiny, videos=videos, validation=validation, out=tmp_path / "cut", progress=kill_in_second_epoch)
    train(tiny, videos=videos, validation=validation, out=tmp_path / "cut")
    # The last weights, not those of the best epoch, which may lie before the cut.
    expected, got = (
        torch.load(tmp_path / run / "last.ckpt", weights_only=True)["state_dict"] for run in ("whole", "cut")
    )
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    assert (tmp_path / "cut" / "metrics.csv").read_text(encoding="utf-8").count("\n") == 3


def test_training_starts_from_the_weights_that_fit(
    tmp_path: Path, tiny: TrainConfig, sides: tuple[LabeledVideos, LabeledVideos], caplog: pytest.LogCaptureFixture
) -> None:
    videos, validation = sides
    first = train(tiny, videos=videos, validation=validation, out=tmp_path / "first")
    with caplog.at_level("INFO", logger="s2tf_edge"):
        train(tiny, videos=videos, validation=validation, out=tmp_path / "second", pretrained=first.model)
    assert "fresh: none" in caplog.text


@pytest.mark.parametrize(
    ("labels", "rows", "says"),
    [
        (("run", "Walk", "jump"), (2, 0, 1), "fresh: none; classes are matched by their names"),
        (("run", "walk", "skip"), None, "head.fc.weight, as its classifier is of other classes"),
        # A published checkpoint that came without names.
        (None, (0, 1, 2), "fresh: none"),
    ],
)
def test_a_classifier_goes_by_the_names_of_its_classes(
    tmp_path: Path,
    tiny: TrainConfig,
    caplog: pytest.LogCaptureFixture,
    labels: tuple[str, ...] | None,
    rows: tuple[int, ...] | None,
    says: str,
) -> None:
    source = create_model(tiny.model, num_classes=3, labels=labels, frames=tiny.frames, size=tiny.size)
    save_model(tmp_path / "source.pt", source)
    videos = LabeledVideos(name="DATA", labels=("jump", "run", "walk"), videos=[])
    with caplog.at_level("INFO", logger="s2tf_edge"):
        network = make_network(tiny, videos, tmp_path / "source.pt")
    assert caplog.messages[-1].endswith(says)
    own, given = (each.state_dict() for each in (network, source))
    changed = {key for key in own if not torch.equal(own[key], given[key])}
    if rows is None:
        # Biases begin at zero.
        assert changed == {"backbone.head.fc.weight"}
    else:
        for key in ("backbone.head.fc.weight", "backbone.head.fc.bias"):
            torch.testing.assert_close(own[key], given[key][list(rows)], rtol=0, atol=0)
        assert changed <= {"backbone.head.fc.weight", "backbone.head.fc.bias"}


def test_another_network_s_weights_are_refused(
    tmp_path: Path, tiny: TrainConfig, sides: tuple[LabeledVideos, LabeledVideos]
) -> None:
    save_model(tmp_path / "other.pt", create_model("r3d_10?width=0.25", num_classes=3, frames=8, size=32))
    config = dataclasses.replace(tiny, model="r3d_18?width=0.0625")
    with pytest.raises(UsageError, match="shares too few weights with r3d_18"):
        train(config, videos=sides[0], validation=sides[1], out=tmp_path / "run", pretrained=tmp_path / "other.pt")


def test_a_file_that_is_no_checkpoint_is_refused(
    tmp_path: Path, tiny: TrainConfig, sides: tuple[LabeledVideos, LabeledVideos]
) -> None:
    bad = tmp_path / "bad.ckpt"
    bad.write_text("not a checkpoint", encoding="utf-8")
    with pytest.raises(InputFileError, match=r"bad\.ckpt is a text file; give the last\.ckpt of a training run"):
        train(tiny, videos=sides[0], validation=sides[1], out=tmp_path / "run", resume=bad)
    with pytest.raises(InputFileError, match="`resume` takes auto, never or a checkpoint"):
        train(tiny, videos=sides[0], validation=sides[1], out=tmp_path / "run", resume=tmp_path / "none.ckpt")


def test_a_finished_run_is_not_relabeled_with_other_settings(
    tmp_path: Path, tiny: TrainConfig, sides: tuple[LabeledVideos, LabeledVideos], caplog: pytest.LogCaptureFixture
) -> None:
    videos, validation = sides
    first = train(tiny, videos=videos, validation=validation, out=tmp_path / "run")
    before = first.model.read_bytes()
    faster = dataclasses.replace(tiny, lr=1e-2)
    with pytest.raises(UsageError, match=r"of another run: lr 0\.005 then, 0\.01 now; give `resume='never'`"):
        train(faster, videos=videos, validation=validation, out=tmp_path / "run")
    with pytest.raises(UsageError, match="of another run: other videos"):
        train(tiny, videos=videos.subset(range(15)), validation=validation, out=tmp_path / "run")
    assert first.model.read_bytes() == before
    with caplog.at_level("WARNING", logger="s2tf_edge"):
        longer = dataclasses.replace(tiny, epochs=3)
        last = tmp_path / "run" / "last.ckpt"
        train(longer, videos=videos, validation=validation, out=tmp_path / "run", resume=last)
    assert "epochs 2 then, 3 now" in caplog.text


def test_a_run_may_be_moved_and_goes_on(
    tmp_path: Path, tiny: TrainConfig, sides: tuple[LabeledVideos, LabeledVideos]
) -> None:
    videos, validation = sides
    first = train(tiny, videos=videos, validation=validation, out=tmp_path / "before")
    expected = _state(first.model)
    (tmp_path / "before").rename(tmp_path / "after")
    again = train(tiny, videos=videos, validation=validation, out=tmp_path / "after")
    assert (again.top1, again.epoch) == (first.top1, first.epoch)
    got = _state(again.model)
    assert all(torch.equal(expected[key], got[key]) for key in expected)


def test_ctrl_c_is_an_interrupt_and_the_run_resumes(
    tmp_path: Path, tiny: TrainConfig, sides: tuple[LabeledVideos, LabeledVideos]
) -> None:
    def interrupt(done: int, total: int) -> None:
        del total
        if done == 5:
            raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, videos=sides[0], validation=sides[1], out=tmp_path, progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is handler
    # The best of what was trained until then.
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()))
    top1 = pytest.approx(float(rows[0]["val_top1"]), rel=1e-5)
    assert read_model_file(tmp_path / "model.pt").metrics == {"val_top1": top1, "epoch": 1}
    assert train(tiny, videos=sides[0], validation=sides[1], out=tmp_path).model.is_file()


def test_fewer_epochs_than_done_are_refused(
    tmp_path: Path, tiny: TrainConfig, sides: tuple[LabeledVideos, LabeledVideos]
) -> None:
    train(tiny, videos=sides[0], validation=sides[1], out=tmp_path)
    shorter = dataclasses.replace(tiny, epochs=1)
    with pytest.raises(UsageError, match="has 2 epochs behind it, more than the 1 asked for"):
        train(shorter, videos=sides[0], validation=sides[1], out=tmp_path, resume=tmp_path / "last.ckpt")


@pytest.mark.parametrize("workers", [0, 1])
def test_videos_that_cannot_be_read_are_left_out(tmp_path: Path, tiny: TrainConfig, workers: int) -> None:
    for label in ("left", "right"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for index in range(2):
            clips = [(f"moving {label}", 1.0)]
            write_video(tmp_path / "data" / label / f"{index}.mp4", clips=clips, size=(48, 48), seed=index)
    good = open_data(tmp_path / "data")
    (tmp_path / "data" / "left" / "broken.mp4").write_text("not a video", encoding="utf-8")
    config = dataclasses.replace(tiny, epochs=1, workers=workers, clips_per_video=2)
    result = train(config, videos=open_data(tmp_path / "data"), validation=good, out=tmp_path / "run")
    assert result.model.is_file()

    for path in (tmp_path / "data").rglob("*.mp4"):
        path.write_text("not a video", encoding="utf-8")
    refusal = r"^2 of 5 videos of .*data cannot be read, more than 1 %: .*mp4; the last: .*mp4 is not a video"
    with pytest.raises(InputFileError, match=refusal):
        train(config, videos=open_data(tmp_path / "data"), validation=good, out=tmp_path / "other")


@pytest.mark.parametrize(
    ("batch_size", "videos", "advice"),
    [
        (1, 20, "give a `batch_size` of 2 or more, or larger clips"),
        (5, 1, "give more videos or `clips_per_video`, or larger clips"),
    ],
)
def test_norms_that_would_get_one_value_are_refused_before_the_first_step(
    tmp_path: Path,
    tiny: TrainConfig,
    sides: tuple[LabeledVideos, LabeledVideos],
    batch_size: int,
    videos: int,
    advice: str,
) -> None:
    config = dataclasses.replace(tiny, model="r3d_10?width=0.0625", batch_size=batch_size)
    refusal = (
        f"^a step is one clip of 8 frames of 32x32, which leaves norms of r3d_10.* one value of a channel.*{advice}$"
    )
    with pytest.raises(UsageError, match=refusal):
        train(config, videos=sides[0].subset(range(videos)), validation=sides[1], out=tmp_path / "run")
    assert not list((tmp_path / "run").iterdir())


def test_one_clip_of_a_step_is_fine_where_norms_are_frozen_or_have_enough_values(
    tmp_path: Path, tiny: TrainConfig, sides: tuple[LabeledVideos, LabeledVideos]
) -> None:
    config = dataclasses.replace(tiny, model="r3d_10?width=0.0625", batch_size=1, epochs=1)
    videos, validation = sides[0].subset(range(2)), sides[1].subset([])
    frozen = dataclasses.replace(config, freeze=r"^backbone\.(stem|stages)")
    assert train(frozen, videos=videos, validation=validation, out=tmp_path / "frozen").model.is_file()
    larger = dataclasses.replace(config, size=48)
    assert train(larger, videos=videos, validation=validation, out=tmp_path / "larger").model.is_file()


def test_nothing_to_train_on_is_refused(
    tmp_path: Path, tiny: TrainConfig, sides: tuple[LabeledVideos, LabeledVideos]
) -> None:
    with pytest.raises(UsageError, match="there are no videos to train on, and 10 to validate; give other data"):
        train(tiny, videos=sides[0].subset([]), validation=sides[1], out=tmp_path)

"""A run that goes on from a checkpoint of other settings."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.models.model_file import read_model_file
from s2tf_edge.training import TrainConfig, train

Sides = tuple[LabeledVideos, LabeledVideos]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, tiny: TrainConfig, sides: Sides) -> Path:
    """The checkpoint of one epoch."""
    folder = tmp_path_factory.mktemp("begun")
    train(dataclasses.replace(tiny, epochs=1), videos=sides[0], validation=sides[1], out=folder)
    return folder / "last.ckpt"


def _rates(folder: Path) -> list[float]:
    """The learning rate at the end of each epoch after the first."""
    rows = csv.DictReader((folder / "metrics.csv").read_text(encoding="utf-8").splitlines())
    return [float(row["lr"]) for row in rows if row["epoch"] != "1"]


def _groups(folder: Path) -> list[dict[str, Any]]:
    checkpoint = torch.load(folder / "last.ckpt", weights_only=True)
    groups: list[dict[str, Any]] = checkpoint["optimizer_states"][0]["param_groups"]
    return groups


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 2e-3},
        pytest.param({"weight_decay": 0.0}, marks=pytest.mark.slow),
        pytest.param({"saliency_lr_scale": 0.5, "lr": 1e-3}, marks=pytest.mark.slow),
        {"layer_decay": 0.5, "backbone_lr_scale": 0.3},
        {"batch_size": 10},
    ],
    ids=str,
)
def test_rates_and_decay_are_those_that_are_asked_for_now(
    tmp_path: Path, tiny: TrainConfig, sides: Sides, begun: Path, settings: dict[str, Any]
) -> None:
    changed = dataclasses.replace(tiny, epochs=4, **settings)
    train(changed, videos=sides[0], validation=sides[1], out=tmp_path / "on", resume=begun)
    train(changed, videos=sides[0], validation=sides[1], out=tmp_path / "new")
    assert _rates(tmp_path / "on") == _rates(tmp_path / "new")
    assert _groups(tmp_path / "on") == _groups(tmp_path / "new")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "sgd"}, r"cannot go on with another `optimizer`: adamw then, sgd now; .* as `pretrained`"),
        ({"freeze": "backbone.stem"}, r"cannot go on with another `freeze`: None then, backbone\.stem now"),
        ({"ema": 0.9}, r"has other weights than this run, such as average\..*`ema`"),
        ({"model": "r3d_10?width=0.0625"}, r"has other weights than this run, such as network\.saliency"),
        ({"model": "s2tf_r3d_10?width=0.125"}, r"has other weights than this run, such as network\.backbone"),
    ],
    ids=str,
)
def test_what_a_checkpoint_cannot_go_on_with_is_refused(
    tmp_path: Path, tiny: TrainConfig, sides: Sides, begun: Path, settings: dict[str, Any], message: str
) -> None:
    changed = dataclasses.replace(tiny, **settings)
    with pytest.raises(UsageError, match=message):
        train(changed, videos=sides[0], validation=sides[1], out=tmp_path, resume=begun)


@pytest.mark.parametrize(
    ("settings", "can_go_on"),
    [({"lr": 2e-3}, True), ({"ema": 0.9}, False), ({"model": "r3d_10?width=0.0625"}, False)],
    ids=str,
)
def test_only_what_is_possible_is_advised(
    tmp_path: Path, tiny: TrainConfig, sides: Sides, begun: Path, settings: dict[str, Any], can_go_on: bool
) -> None:
    shutil.copy(begun, tmp_path)
    with pytest.raises(UsageError, match="give `resume='never'` to start anew") as caught:
        train(dataclasses.replace(tiny, **settings), videos=sides[0], validation=sides[1], out=tmp_path)
    assert ("to go on all the same" in str(caught.value)) is can_go_on


def test_classes_that_were_renamed_are_refused(tmp_path: Path, tiny: TrainConfig, sides: Sides, begun: Path) -> None:
    renamed = [dataclasses.replace(side, labels=tuple(reversed(side.labels))) for side in sides]
    with pytest.raises(UsageError, match=r"cannot go on with other classes: moving left, .* then, .* now; give"):
        train(tiny, videos=renamed[0], validation=renamed[1], out=tmp_path, resume=begun)


def test_whoever_began_elsewhere_is_told_how_to_go_on(
    tmp_path: Path, tiny: TrainConfig, sides: Sides, begun: Path
) -> None:
    often = dataclasses.replace(tiny, checkpoint_minutes=0.0)
    for steps, words in ((1, f"kept {begun}, .*: the same command goes on"), (3, r"kept .*: `resume='auto'` goes on")):

        def interrupt(done: int, total: int, last: int = 4 + steps) -> None:
            del total
            if done == last:
                raise KeyboardInterrupt

        out = tmp_path / str(steps)
        with pytest.raises(KeyboardInterrupt, match=words):
            train(often, videos=sides[0], validation=sides[1], out=out, resume=begun, progress=interrupt)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_network_is_there_from_the_first_moment_of_a_run_that_goes_on(
    tmp_path: Path, tiny: TrainConfig, sides: Sides, ema: float
) -> None:
    config = dataclasses.replace(tiny, ema=ema)
    first = dataclasses.replace(config, epochs=1)
    before = train(first, videos=sides[0], validation=sides[1], out=tmp_path / "begun").model
    on, last = tmp_path / "on", before.with_name("last.ckpt")

    def interrupt(done: int, total: int) -> None:
        del total
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r", and .*model\.pt of epoch 1: the same command goes on"):
        train(config, videos=sides[0], validation=sides[1], out=on, resume=last, progress=interrupt)
    kept, then = (read_model_file(path).state_dict for path in (on / "model.pt", before))
    assert all(torch.equal(kept[name], value) for name, value in then.items())


@pytest.mark.parametrize("is_other", [False, True])
def test_epochs_are_compared_where_they_were_measured_alike(
    tmp_path: Path, tiny: TrainConfig, sides: Sides, begun: Path, is_other: bool
) -> None:
    # No epoch to come can be better than this.
    checkpoint = torch.load(begun, weights_only=True)
    next(iter(each for name, each in checkpoint["callbacks"].items() if "Checkpoints" in name))["top1"] = 100.0
    torch.save(checkpoint, tmp_path / "perfect.ckpt")
    validation = sides[1].subset(range(9)) if is_other else sides[1]
    out, path = tmp_path / "out", tmp_path / "perfect.ckpt"
    result = train(tiny, videos=sides[0], validation=validation, out=out, resume=path)
    assert result.epoch == (2 if is_other else 1)

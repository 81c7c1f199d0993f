"""A run that goes on from a checkpoint of other settings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.training import TrainConfig, train

Sides = tuple[LabeledVideos, LabeledVideos]


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory, tiny: TrainConfig, sides: Sides) -> Path:
    """The checkpoint of one epoch."""
    folder = tmp_path_factory.mktemp("begun")
    train(dataclasses.replace(tiny, epochs=1), videos=sides[0], validation=sides[1], out=folder)
    return folder / "last.ckpt"


def _go_on(config: TrainConfig, sides: Sides, out: Path, begun: Path) -> dict[str, Any]:
    train(config, videos=sides[0], validation=sides[1], out=out, resume=begun)
    checkpoint: dict[str, Any] = torch.load(out / "last.ckpt", weights_only=True)
    return checkpoint


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 2e-3},
        {"weight_decay": 0.0},
        {"saliency_lr_scale": 0.5, "lr": 1e-3},
        {"layer_decay": 0.5, "backbone_lr_scale": 0.3},
    ],
    ids=str,
)
def test_rates_and_decay_are_those_that_are_asked_for_now(
    tmp_path: Path, tiny: TrainConfig, sides: Sides, begun: Path, settings: dict[str, float]
) -> None:
    changed = dataclasses.replace(tiny, **settings)  # type: ignore[arg-type]  # all of them are numbers
    groups = _go_on(changed, sides, tmp_path / "on", begun)["optimizer_states"][0]["param_groups"]
    train(changed, videos=sides[0], validation=sides[1], out=tmp_path / "new")
    fresh = torch.load(tmp_path / "new" / "last.ckpt", weights_only=True)
    assert groups == fresh["optimizer_states"][0]["param_groups"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "sgd"}, r"cannot go on with another `optimizer`: adamw then, sgd now.*`pretrained` takes"),
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
    with pytest.raises(UsageError, match=message):
        _go_on(dataclasses.replace(tiny, **settings), sides, tmp_path, begun)


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

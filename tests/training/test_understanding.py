from __future__ import annotations

import dataclasses
import re

import pytest

from s2tf_edge.data.training_data import TrainingData, open_training_data
from s2tf_edge.errors import UsageError
from s2tf_edge.training import TrainConfig
from s2tf_edge.training.expected_time import expected_seconds, rounded_time
from s2tf_edge.training.networks import make_network
from s2tf_edge.training.understanding import describe_run_lines

CONFIG = TrainConfig(model="s2tf_r3d_10?width=0.0625", frames=8, size=32, epochs=3, clips_per_video=2, workers=0)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return open_training_data("synthetic?clips=20")


def facts(config: TrainConfig, data: TrainingData, *, processes: int = 1) -> dict[str, str]:
    lines = describe_run_lines(config, data, processes=processes)
    return {name: fact.strip() for name, fact in (line.split(maxsplit=1) for line in lines)}


def test_all_that_a_mistake_would_show_in_is_said(data: TrainingData) -> None:
    said = facts(CONFIG, data)
    assert re.fullmatch(r"about [\d.]+ (s|min|h)", said.pop("time"))
    assert said == {
        "classes": "10: moving left, moving right, moving up, moving down, approaching, retreating, rotating "
        "clockwise, rotating counterclockwise and 2 more",
        "training": "10 videos (synthetic?clips=20)",
        "validation": "10 videos (a share of 0.2, drawn)",
        "mirroring": "off, as classes are directions: moving left, moving right, rotating clockwise, rotating "
        "counterclockwise",
        "clip": "8 frames of 32x32, every frame at 25 fps: 0.28 s",
        "network": "s2tf_r3d_10?width=0.0625, 0.18 M parameters, 0.02 GMAC a clip",
        "steps": "6 of 8 clips, in 3 epochs of 2",
    }


def test_what_a_causal_network_sees_before_a_clip_is_said(data: TrainingData) -> None:
    causal = dataclasses.replace(CONFIG, model="x3d_xs?width=0.125&causal=true", stride=1)
    clip = "8 frames of 32x32, every frame at 30 fps: 0.23 s"
    assert facts(causal, data)["clip"] == f"{clip}, in training with up to 8 frames before it"
    assert facts(dataclasses.replace(causal, prefix=0), data)["clip"] == clip
    with pytest.raises(UsageError, match="`prefix` is for causal networks"):
        facts(dataclasses.replace(CONFIG, prefix=2), data)


def test_groups_are_named(data: TrainingData) -> None:
    by_digit = dataclasses.replace(data, group_by="([0-9])$")
    assert re.match(r"10 videos of \d+ groups?: ", facts(CONFIG, by_digit)["training"])


def test_a_run_without_validation(data: TrainingData) -> None:
    alone = dataclasses.replace(data, validation=data.validation.subset([]))
    assert facts(CONFIG, alone)["validation"].startswith("none")


def test_processes_share_the_steps(data: TrainingData) -> None:
    assert (
        facts(dataclasses.replace(CONFIG, batch_size=5), data, processes=2)["steps"]
        == "6 of 10 clips, in 3 epochs of 2"
    )
    assert facts(dataclasses.replace(CONFIG, flip=False), data)["mirroring"] == "off"


def test_the_time_expected_grows_with_the_epochs(data: TrainingData) -> None:
    network = make_network(CONFIG, data.train, None)
    few = expected_seconds(CONFIG, data, network)
    many = expected_seconds(dataclasses.replace(CONFIG, epochs=3000), data, network)
    assert few is not None
    assert many is not None
    assert many > 10 * few > 0


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "1 s"), (99, "99 s"), (720, "12 min"), (12600, "3.5 h")])
def test_times_are_rounded(seconds: float, said: str) -> None:
    assert rounded_time(seconds) == said

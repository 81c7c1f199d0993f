from __future__ import annotations

import logging

import pytest

from s2tf_edge.cli.train import command
from s2tf_edge.errors import UsageError
from s2tf_edge.training import TrainConfig
from s2tf_edge.training.recipes import AUTO, NONE, list_recipes, recipe_settings


@pytest.mark.parametrize("name", list_recipes())
def test_every_recipe_is_a_valid_set_of_settings(name: str) -> None:
    settings = recipe_settings(name, videos=100, pretrained=False)
    config = TrainConfig(model="s2tf_r3d_10", **settings)
    assert all(getattr(config, key) == value for key, value in settings.items())
    # Network, clip and seed are the user's to choose.
    assert not {"model", "seed", "frames", "size", "workers"} & set(settings)


@pytest.mark.parametrize(
    ("videos", "pretrained", "expected", "reason"),
    [
        (60, False, "small-scratch", "random weights, 60 videos to train on"),
        (19_999, False, "small-scratch", "random weights, 19,999 videos"),
        (20_000, False, "x3d", "20,000 videos to train on, which is many"),
        (60, True, "small-finetune", "starts from a pretrained network"),
        (240_000, True, "small-finetune", "starts from a pretrained network"),
    ],
)
def test_auto_chooses_by_data_and_weights_and_says_why(
    videos: int, pretrained: bool, expected: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="s2tf_edge"):
        chosen = recipe_settings(AUTO, videos=videos, pretrained=pretrained)
    assert caplog.messages == [message for message in caplog.messages if message.startswith(f"recipe {expected}: ")]
    assert reason in caplog.text
    assert chosen == recipe_settings(expected, videos=videos, pretrained=pretrained)


def test_none_sets_nothing() -> None:
    assert recipe_settings(NONE, videos=60, pretrained=False) == {}


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(UsageError, match="`recipe` must be one of auto, none, s2tfnet, small-finetune, small-scratch"):
        recipe_settings("list", videos=60, pretrained=False)


def test_the_help_of_the_command_names_every_recipe() -> None:
    import inspect

    annotation = inspect.signature(command()).parameters["recipe"].annotation
    text = annotation.__metadata__[0].help
    assert all(name in text for name in [AUTO, NONE, *list_recipes()])

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.training import TrainConfig, train
from s2tf_edge.training.config import read_overrides
from s2tf_edge.training.settings_file import SETTINGS_FILE, write_settings

Sides = tuple[LabeledVideos, LabeledVideos]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    awkward = 'a "quoted" \\d+ größer\x7f'
    config = TrainConfig(model="r3d_10", freeze=awkward, lr=1e-5, loss="ce", flip=False, epochs=7, ema=0.99)
    write_settings(tmp_path / "a.toml", config, notes=["two\nlines"])
    assert TrainConfig(**read_overrides(tmp_path / "a.toml")) == config
    text = (tmp_path / "a.toml").read_text(encoding="utf-8")
    assert "\n# two\n# lines\n" in text
    # What has no value is there to be found, too.
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    assert names == {line.strip("# ").split(" =")[0].split(":")[0] for line in text.splitlines() if line} & names


def test_what_is_never_reached_is_read_again(tmp_path: Path) -> None:
    config = TrainConfig(model="r3d_10", checkpoint_minutes=math.inf, clip_grad=math.inf)
    write_settings(tmp_path / "a.toml", config, notes=[])
    assert TrainConfig(**read_overrides(tmp_path / "a.toml")) == config


def test_a_run_repeats_from_the_settings_it_left_to_the_byte(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    config = dataclasses.replace(tiny, ema=0.9, precision="auto", optimizer="sgd", lr=0.05)
    first = train(config, videos=sides[0], validation=sides[1], out=tmp_path / "first", command="s2tf-train again")
    settings = read_overrides(tmp_path / "first" / SETTINGS_FILE)
    assert settings["precision"] != "auto"
    text = (tmp_path / "first" / SETTINGS_FILE).read_text(encoding="utf-8")
    assert "# videos of synthetic?clips=20: 20 to train on, 10 to validate, 10 classes\n" in text
    assert "# the same run again: s2tf-train again\n" in text
    second = train(TrainConfig(**settings), videos=sides[0], validation=sides[1], out=tmp_path / "second")
    assert first.model.read_bytes() == second.model.read_bytes()
    # And the run itself goes on from it, which here is to find that it is done.
    again = train(TrainConfig(**settings), videos=sides[0], validation=sides[1], out=tmp_path / "first")
    assert (again.top1, again.epoch) == (first.top1, first.epoch)


def test_a_file_of_the_user_s_own_is_not_written_over(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    (tmp_path / SETTINGS_FILE).write_text("epochs = 3 # notes of mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"train\.toml is a file of your own, where the run writes its settings"):
        train(tiny, videos=sides[0], validation=sides[1], out=tmp_path)
    assert (tmp_path / SETTINGS_FILE).read_text(encoding="utf-8") == "epochs = 3 # notes of mine"


def test_a_run_that_is_refused_leaves_the_settings_of_the_one_before(
    tmp_path: Path, tiny: TrainConfig, sides: Sides
) -> None:
    config = dataclasses.replace(tiny, epochs=1)
    train(config, videos=sides[0], validation=sides[1], out=tmp_path)
    before = (tmp_path / SETTINGS_FILE).read_bytes()
    with pytest.raises(UsageError, match="of another run"):
        train(dataclasses.replace(config, lr=0.1), videos=sides[0], validation=sides[1], out=tmp_path)
    assert (tmp_path / SETTINGS_FILE).read_bytes() == before

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import pytest

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.training.config import TrainConfig, read_overrides


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("epochs", 0, "`epochs` must be one or more, got 0"),
        ("batch_size", 0, "`batch_size` must be one or more"),
        ("lr", 0.0, "`lr` must lie above zero and below infinity, got 0"),
        ("lr", math.inf, "`lr` must lie above zero and below infinity, got inf"),
        ("mixup", math.inf, "`mixup` must lie at zero or above and below infinity, got inf"),
        ("checkpoint_minutes", math.nan, "`checkpoint_minutes` must lie at zero or above, got nan"),
        ("seed", -1, "`seed` must be from 0 to 4294967295, got -1"),
        ("seed", 2**32, "`seed` must be from 0 to 4294967295, got 4294967296"),
        ("workers", -1, "`workers` must be 0 or more"),
        ("min_scale", 0.0, r"`min_scale` must lie in \(0, 1\]"),
        ("aspect_jitter", 1.4, r"`aspect_jitter` must lie in \[0, 1\.4\)"),
        ("speed_jitter", -0.1, r"`speed_jitter` must lie in \[0, 1\.4\)"),
        ("hue", 0.6, r"`hue` must lie in \[0, 0\.5\]"),
        ("erase", 1.1, r"`erase` must lie in \[0, 1\]"),
        ("randaugment_magnitude", 11.0, r"`randaugment_magnitude` must lie in \[0, 10\]"),
        ("background", 1.0, r"`background` must lie in \[0, 1\)"),
        ("mixup", -1.0, "`mixup` must lie at zero or above"),
        ("cache", " ", "`cache` takes ram or a folder, got ' '"),
        ("dropout", 1.0, r"`dropout` must lie in \[0, 1\)"),
        ("loss", "mse", "`loss` must be one of ce, ce-l1, ce-l1-l2, got 'mse'"),
        ("precision", "int8", "`precision` must be one of auto, fp32, bf16-mixed, 16-mixed"),
    ],
)
def test_values_out_of_range_are_refused(field: str, value: object, rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        TrainConfig(model="s2tf_r3d_10", **{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "field", [field.name for field in dataclasses.fields(TrainConfig) if isinstance(field.default, float)]
)
def test_what_is_no_number_is_refused(field: str) -> None:
    with pytest.raises(UsageError, match=f"`{field}` must lie .*, got nan"):
        TrainConfig(model="s2tf_r3d_10", **{field: math.nan})  # type: ignore[arg-type]


@pytest.mark.parametrize(("clips_per_video", "videos", "expected"), [(0, 30, 8), (0, 100, 3), (0, 1000, 1), (2, 30, 2)])
def test_small_data_sets_give_several_clips_of_each_video(clips_per_video: int, videos: int, expected: int) -> None:
    config = TrainConfig(model="s2tf_r3d_10", clips_per_video=clips_per_video)
    assert config.repeats(videos) == expected


def test_overrides_are_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('loss = "ce"\nepochs = 3\nmin_scale = 0.5\n', encoding="utf-8")
    config = TrainConfig(model="s2tf_r3d_10", **read_overrides(path))
    assert (config.loss, config.epochs, config.min_scale) == ("ce", 3, 0.5)


def test_unknown_keys_are_errors_that_name_them(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("epoch = 3\n", encoding="utf-8")
    with pytest.raises(
        InputFileError,
        match=r"unknown keys \['epoch'\]; epoch looks like epochs misspelt",
    ):
        read_overrides(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('epochs = "3"', "epochs must be of type int, got '3'"),
        ("batch_size = 2.5", "batch_size must be of type int, got 2.5"),
        ('flip = "no"', "flip must be of type bool, got 'no'"),
        ("frames = true", "frames must be of type int, got True"),
        ("lr = [1]", r"lr must be of type float or int, got \[1\]"),
    ],
)
def test_values_of_another_type_are_refused(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(line, encoding="utf-8")
    with pytest.raises(InputFileError, match=message):
        read_overrides(path)


def test_whole_numbers_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("lr = 1", encoding="utf-8")
    assert read_overrides(path) == {"lr": 1}


def test_settings_are_read_without_torch() -> None:
    code = (
        "import sys, s2tf_edge.cli.train as c; c.command(); sys.exit(bool({'torch', 'lightning'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

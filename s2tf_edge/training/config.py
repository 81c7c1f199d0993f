"""All settings of a training run, and overrides of them from a TOML file."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2tf_edge.option_fields import check_fields, option_of
from s2tf_edge.toml_file import read_settings
from s2tf_edge.training.settings.augmentation import AugmentationSettings
from s2tf_edge.training.settings.checkpoints import CheckpointSettings
from s2tf_edge.training.settings.clip import ClipSettings
from s2tf_edge.training.settings.declaring import Setting, setting
from s2tf_edge.training.settings.distillation import DistillationSettings
from s2tf_edge.training.settings.fine_tuning import FineTuningSettings
from s2tf_edge.training.settings.loading import LoadingSettings
from s2tf_edge.training.settings.loss import LossSettings
from s2tf_edge.training.settings.optimization import OptimizationSettings

__all__ = ["TOPICS", "TrainConfig", "read_overrides", "without_effect"]

TOPICS: typing.Final[dict[str, type[Any]]] = {
    "Clip": ClipSettings,
    "Optimization": OptimizationSettings,
    "Fine-tuning": FineTuningSettings,
    "Loss": LossSettings,
    "Augmentation": AugmentationSettings,
    "Loading": LoadingSettings,
    "Distillation": DistillationSettings,
    "Checkpoints": CheckpointSettings,
}
"""The dataclasses that settings come from, by the headings that they have in the help."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig(
    ClipSettings,
    OptimizationSettings,
    FineTuningSettings,
    LossSettings,
    AugmentationSettings,
    LoadingSettings,
    DistillationSettings,
    CheckpointSettings,
):
    """How a network is trained; each topic's settings are declared in ``s2tf_edge.training.settings``.

    Raises:
        UsageError: a value is out of its range.
    """

    model: str = setting(
        dataclasses.MISSING,
        "Network, such as s2tf_nl_i3d_r50 or 's2tf_r3d_10?width=0.25'; see s2tf-models.",
        metavar="NAME",
    )

    def __post_init__(self) -> None:
        check_fields(self)


def without_effect() -> list[str]:
    """Names of the settings that leave the weights as they are."""
    return [field.name for field in dataclasses.fields(TrainConfig) if not option_of(field, Setting).affects_weights]


def read_overrides(path: Path) -> dict[str, Any]:
    """Settings from a TOML file whose keys are the fields of ``TrainConfig``.

    Raises:
        InputFileError: the file cannot be read, is not TOML, or has a key or a type of value that is no setting's.
    """
    return read_settings(path, typing.get_type_hints(TrainConfig))

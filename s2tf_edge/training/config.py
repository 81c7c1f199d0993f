"""All settings of a training run, and overrides of them from a TOML file."""

from __future__ import annotations

import dataclasses
import difflib
import sys
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s2tf_edge.errors import InputFileError
from s2tf_edge.file_kinds import SETTINGS, check_kind
from s2tf_edge.option_fields import check_fields, option_of
from s2tf_edge.text_file import read_text
from s2tf_edge.training.settings.augmentation import AugmentationSettings
from s2tf_edge.training.settings.checkpoints import CheckpointSettings
from s2tf_edge.training.settings.clip import ClipSettings
from s2tf_edge.training.settings.declaring import Setting, setting
from s2tf_edge.training.settings.distillation import DistillationSettings
from s2tf_edge.training.settings.fine_tuning import FineTuningSettings
from s2tf_edge.training.settings.loading import LoadingSettings
from s2tf_edge.training.settings.loss import LossSettings
from s2tf_edge.training.settings.optimization import OptimizationSettings
from s2tf_edge.words import first_few

__all__ = ["TOPICS", "TrainConfig", "read_overrides", "without_effect"]

_MAX_BYTES: typing.Final = 2**20
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
        InputFileError: the file cannot be read, is not TOML, or has a key that is no setting.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    check_kind(path, SETTINGS)
    text = read_text(path, max_bytes=_MAX_BYTES, kind="TOML")
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"cannot read {path} as TOML: {error}"
        raise InputFileError(msg) from error
    names = sorted(field.name for field in dataclasses.fields(TrainConfig))
    unknown = sorted(set(values) - set(names))
    if unknown:
        alike = {key: meant for key in unknown for meant in difflib.get_close_matches(key, names, 1)}
        meant = first_few((f"{key} looks like {name} misspelt" for key, name in alike.items()), 2, separator="; ")
        advice = meant or "s2tf-train --help lists all settings, with hyphens"
        msg = f"{path} has unknown keys {first_few(map(repr, unknown), 3)}; {advice}"
        raise InputFileError(msg)
    types = typing.get_type_hints(TrainConfig)
    for key, value in values.items():
        allowed = _types(types[key])
        if type(value) not in allowed:
            wanted = " or ".join(kind.__name__ for kind in allowed)
            msg = f"{path}: {key} must be of type {wanted}, got {value!r}"
            raise InputFileError(msg)
    return values


def _types(hint: Any) -> tuple[type, ...]:
    """The types of TOML values that a field takes: ``int | None`` takes int, ``float`` takes int as well."""
    kinds = tuple(kind for kind in (typing.get_args(hint) or (hint,)) if kind is not type(None))
    return (*kinds, int) if kinds == (float,) else kinds

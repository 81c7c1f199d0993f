"""``train.toml``: all settings of a run beside its network, to repeat it by."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from s2tf_edge import __version__
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.training.config import TOPICS, TrainConfig
from s2tf_edge.whole_file import whole_file

__all__ = ["SETTINGS_FILE", "check_settings_file", "describe_settings", "write_settings"]

SETTINGS_FILE: Final = "train.toml"
_MARK: Final = "# Settings of a training run, by S2TF-Edge"


def check_settings_file(path: Path) -> None:
    """Looks whether ``path`` may be written.

    Raises:
        UsageError: there is a file that no run has written.
    """
    if path.is_file() and not path.read_text(encoding="utf-8", errors="replace").startswith(_MARK):
        msg = f"{path} is a file of your own, where the run writes its settings; rename it, or give another `out`"
        raise UsageError(msg)


def write_settings(path: Path, config: TrainConfig, *, notes: Sequence[str]) -> None:
    """Writes all settings, as ``read_overrides`` reads them; a file of that name stays whole until they are written.

    Args:
        path: a TOML file.
        config: what it says.
        notes: what it says above them, in comments.

    Raises:
        InputFileError: the file cannot be written.
    """
    lines = [f"{_MARK} {__version__}", *(f"# {line}" for note in notes for line in note.splitlines())]
    lines += ["", _line("model", config.model)]
    for title, topic in TOPICS.items():
        lines += ["", f"# {title}"]
        lines += [_line(field.name, getattr(config, field.name)) for field in dataclasses.fields(topic)]
    with whole_file(path) as file:
        file.write(("\n".join(lines) + "\n").encode())


def describe_settings(
    videos: LabeledVideos, validation: LabeledVideos, pretrained: Path | None, command: str | None
) -> list[str]:
    """Notes on what the settings were for."""
    sides = f"{len(videos)} to train on, {len(validation)} to validate"
    notes = [f"videos of {videos.name}: {sides}, {len(videos.labels)} classes"]
    notes += [f"from the weights of {pretrained}"] * (pretrained is not None)
    notes += [f"the same run again: {command}"] * (command is not None)
    return notes


def _line(name: str, value: Any) -> str:
    return f"# {name}: not set" if value is None else f"{name} = {_toml(value)}"


def _toml(value: Any) -> str:
    """A string, number, truth value or several of them, as TOML has it."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if value == math.inf:
        return "inf"
    # JSON's are the same, but for one control character that it leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", r"\u007f")

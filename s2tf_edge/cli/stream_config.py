"""``s2tf-stream --config FILE.toml``: what is asked for in a file, below what the command line says."""

from __future__ import annotations

import os
import typing
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import typer

from s2tf_edge.cli.log_lines import LogForm
from s2tf_edge.cli.stream_flags import StreamFlags
from s2tf_edge.cli.stream_inputs import name_inputs
from s2tf_edge.errors import InputFileError

__all__ = ["merge_flags", "typed_flags"]

_NO_KEYS: Final = {"inputs", "config", "selftest", "version"}
_SECRET: Final = {"source", "token", "on_event", "webhook"}
"""Values that may hold a password."""
_INPUTS: Final = {"source", "camera", "name"}
"""What is read, and what that is called: one thing, which the command line replaces as a whole."""
_TYPED: Final = {"COMMANDLINE", "ENVIRONMENT"}


def typed_flags(context: typer.Context) -> set[str]:
    """Flags that the command line or a variable of the environment gave."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return {name for name, source in sources.items() if source is not None and source.name in _TYPED}


def merge_flags(flags: StreamFlags, typed: Collection[str]) -> StreamFlags:
    """The flags with those of their ``config`` file, where there is one.

    Args:
        flags: of the command line.
        typed: names of those that were given there, whose values in the file do not count.

    Raises:
        InputFileError: the file cannot be read, or has a key or value that is not allowed; or the first word of the
            command line is neither an artifact nor a source.
        UsageError: another word is an artifact.
    """
    named = name_inputs(flags)
    if flags.config is None:
        return named
    covered = set(typed) if named.artifact is not None else set(typed) - {"artifact"}
    if named.source or named.camera or named.selftest:
        covered |= _INPUTS
    return replace(named, **{key: value for key, value in _read(flags.config).items() if key not in covered})


def _read(path: Path) -> dict[str, Any]:
    hints = {name: hint for name, hint in typing.get_type_hints(StreamFlags).items() if name not in _NO_KEYS}
    from s2tf_edge.toml_file import read_settings

    values = read_settings(path, hints, secret=_SECRET)
    return {key: _to_flag(path, key, value) for key, value in values.items()}


def _to_flag(config: Path, key: str, value: Any) -> Any:
    """A value as a flag has it, with paths counted from the folder of the file, wherever the command runs."""
    from s2tf_edge.runtime.sources.parsing import names_path

    if key in {"artifact", "jsonl", "save", "require_signature"} and not value:
        msg = f"{config}: {key} is empty; leave it out"
        raise InputFileError(msg)
    folder = config.parent
    if key == "artifact" or (key == "jsonl" and value != "-"):
        return _join(folder, value)
    if key in {"save", "require_signature"}:
        return Path(_join(folder, value))
    if key == "log":
        return LogForm(value)
    if key == "source":
        return [_join(folder, text) if text and names_path(text) else text for text in value]
    return value


def _join(folder: Path, text: str) -> str:
    # By hand, for a slash at the end says that a folder is meant.
    expanded = os.path.expanduser(text)  # noqa: PTH111
    is_plain = os.path.isabs(expanded) or folder == Path()  # noqa: PTH117
    return expanded if is_plain else f"{folder}/{expanded}"

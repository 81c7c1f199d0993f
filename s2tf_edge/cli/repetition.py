"""The command line that gives a run again, once its settings are in a file."""

from __future__ import annotations

import shlex
from collections.abc import Collection
from typing import Any

import typer

__all__ = ["repeat_words"]


def repeat_words(context: typer.Context, *, command: str, without: Collection[str]) -> list[str]:
    """What was typed for a command, as a shell reads it: its name, arguments and flags, but those of ``without``."""
    words = [command]
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in without:
            words += _words(parameter, context.params[name])
    return words


def _words(parameter: Any, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [(parameter.opts if value else parameter.secondary_opts)[0]]
    values = [shlex.quote(str(each)) for each in (value if isinstance(value, list | tuple) else [value])]
    if parameter.param_type_name == "argument":
        return values
    return [word for each in values for word in (parameter.opts[0], each)]

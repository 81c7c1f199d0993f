"""What Python calls a field or an argument, said as a user of a command types it.

Errors of the library name them in backticks: ``give `eval=DATA` ``. A command prints ``give --eval DATA``. A name that
is no flag of the command stays as it is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["FlagWords"]

_QUOTED: Final = re.compile(r"`([^`\n]+)`")
_NO_FIELDS: Final = {"help", "version", "quiet", "verbose", "log", "half", "int8"}
"""Flags that stand for no field of their name: in backticks they are somebody else's words."""
_RESULTS: Final = {"folder": "folder with --out"}
_OTHER_WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "s2tf-eval": _RESULTS,
    "s2tf-report": _RESULTS,
    "s2tf-train": {"validation": "--val-split", "validation=0.2": "--val-split 0.2"},
    "s2tf-stream": {
        "VideoSink": "--save",
        "WebSink": "--serve",
        "camera(N)": "--camera N",
        "duration_seconds": "duration",
        "file": "place with --jsonl",
        "folder": "folder with --jsonl",
        "fps": "fps",
        "mask=True": "--mask",  # of s2tf-export
        "max_age_seconds": "max age",
        "max_outage_seconds": "max outage",
        "regions": "--roi",
        "start_seconds": "start",
    },
}
"""By command: names that are not those of its flags, and what it says of them."""


class FlagWords:
    """The words of one command.

    Args:
        command: its name.
        parameters: as click has them, with the flags of each.
    """

    def __init__(self, command: str, parameters: Iterable[Any]) -> None:
        flags = [flag for parameter in parameters for flag in (*parameter.opts, *parameter.secondary_opts)]
        names = {flag[2:].replace("-", "_"): flag for flag in flags if flag.startswith("--")}
        self._flags = {name: flag for name, flag in names.items() if name not in _NO_FIELDS}
        self._others = _OTHER_WORDS.get(command, {})

    def translate(self, message: str) -> str:
        """``message`` with the flags of this command in place of the names that Python has for them."""
        return _QUOTED.sub(lambda quoted: self._word(quoted[1]) or quoted[0], message)

    def _word(self, python: str) -> str | None:
        if python in self._others:
            return self._others[python]
        name, equals, value = python.partition("=")
        if value == "False":
            return self._flags.get(f"no_{name}")
        flag = self._flags.get(name)
        if flag is None or not equals or value == "True":
            return flag
        return f"{flag} {_without_quotes(value)}"


def _without_quotes(value: str) -> str:
    """The text of a string literal; anything else, such as a placeholder, as it is."""
    try:
        return str(ast.literal_eval(value)) if value[:1] in {"'", '"'} else value
    except (ValueError, SyntaxError):
        return value

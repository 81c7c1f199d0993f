"""Lines of a log: text for people, or JSON, one object a line, for those who collect them."""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Annotated, Any

import typer

from s2tf_edge.words import json_text, message_line, printable, shortened

__all__ = ["JsonFormatter", "Log", "LogForm", "TextFormatter"]


class LogForm(enum.Enum):
    """What lines on stderr are."""

    TEXT = "text"
    JSON = "json"


Log = Annotated[
    LogForm | None,
    typer.Option("--log", help="Lines on stderr as text, the default, or as JSON.", envvar="S2TF_LOG"),
]


class TextFormatter(logging.Formatter):
    """The message in the words of the command; warnings are as short as errors.

    Args:
        translate: puts a message into the words of the command that runs.
    """

    def __init__(self, translate: Callable[[str], str]) -> None:
        super().__init__("%(message)s")
        self._translate = translate

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name that logging calls
        """The line of a record; others' words in it are escaped, and long ones are cut."""
        text = self._translate(super().formatMessage(record))
        return message_line(text) if record.levelno >= logging.WARNING else shortened(printable(text))

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """A traceback, whose messages are others' words too."""
        return printable(super().formatException(ei))


class JsonFormatter(logging.Formatter):
    """``{"time": …, "level": "warning", "logger": …, "message": …}``, and ``traceback`` where there is one.

    Args:
        translate: puts a message into the words of the command that runs.
    """

    def __init__(self, translate: Callable[[str], str]) -> None:
        super().__init__()
        self._translate = translate

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record; others' words in it are escaped, and nothing is cut."""
        time = datetime.fromtimestamp(record.created, timezone.utc)
        values = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._translate(record.getMessage()),
        }
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json_text(values)

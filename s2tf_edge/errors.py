"""Errors of the toolkit, each with the exit code that every command ends in.

    S2TFError                      1
    ├── UsageError                 2    wrong options, names or combinations of them
    ├── UnsupportedError           3    the target has no way to run an operator or network
    ├── BuildError                 4    a compiler refused to build the engine
    ├── VerificationError          5    an artifact does not agree with the network it was made from
    ├── AccuracyError              6    the accuracy gate was not met
    ├── MissingExtraError          7    a runtime, optional package or program is not installed
    ├── SourceError                8    a camera or stream was lost or cannot be opened
    └── InputFileError             9    a file is missing, unreadable, corrupt or of the wrong kind

A message says what was got, what is allowed and what to do, in one line. Fields and arguments stand in backticks, as
Python has them: ``give `eval=DATA` ``. A command prints its flags instead: ``give --eval DATA``.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AccuracyError",
    "BuildError",
    "InputFileError",
    "MissingExtraError",
    "S2TFError",
    "SourceError",
    "UnsupportedError",
    "UsageError",
    "VerificationError",
]


class S2TFError(Exception):
    """Base of everything this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(S2TFError):
    """Options, names or values that do not fit together."""

    exit_code = 2


class UnsupportedError(S2TFError):
    """An operator or a network that the target cannot run."""

    exit_code = 3


class BuildError(S2TFError):
    """A compiler failed to build an engine."""

    exit_code = 4


class VerificationError(S2TFError):
    """An artifact that does not agree with its network."""

    exit_code = 5


class AccuracyError(S2TFError):
    """An accuracy bound that was not met."""

    exit_code = 6


class MissingExtraError(S2TFError):
    """An optional package or program that is not installed; the message ends with the line that installs it."""

    exit_code = 7


class SourceError(S2TFError):
    """A camera or stream that cannot be opened or was lost."""

    exit_code = 8


class InputFileError(S2TFError):
    """A file that is missing, unreadable, corrupt or of the wrong kind."""

    exit_code = 9

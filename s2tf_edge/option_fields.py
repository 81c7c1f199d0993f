"""Fields of an options dataclass that say all about themselves: their help, their check, their words on a command line.

    batch: int = field(default=1, metadata=declare(Option(help="Clips at once.", check=counts(1, 256))))

From the declaration come a command's flags (``s2tf_edge.cli.dataclass_flags``), the checks, and the command line that
gives the same options again.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from s2tf_edge.errors import UsageError

__all__ = [
    "Check",
    "Choices",
    "OneOf",
    "Option",
    "check_expressions",
    "check_fields",
    "choices_of",
    "command_words",
    "counts",
    "declare",
    "flag_of",
    "given_fields",
    "in_command_order",
    "in_range",
    "one_of",
    "option_of",
]

_KEY: Final = "option"

Check = Callable[[str, Any], None]
"""Takes a field's name and value, and raises UsageError for a value that is not allowed."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Values that go by names, and what else people call them on a command line; files keep the names alone."""

    purposes: Mapping[str, str]
    """By name, in lower case: what each is for, empty where the name says it."""
    other_names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What else is understood, in lower case, and the name that it stands for."""
    switches: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Flags, without their dashes, that give a value by themselves: ``{"half": "fp16"}``."""

    def name(self, text: str) -> str:
        """The name that ``text`` stands for, in whatever case; what stands for none as it is, for who checks it."""
        word = text.lower()
        return word if word in self.purposes else self.other_names.get(word, text)

    def explain(self) -> str:
        """All names with what they are for, on one line."""
        return ", ".join(f"{name} ({purpose})" if purpose else name for name, purpose in self.purposes.items())


def _text(value: Any) -> str:
    """Paths as they are understood from any folder, anything else as it prints."""
    return str(value.absolute() if isinstance(value, Path) else value)


@dataclass(frozen=True, kw_only=True)
class Option:
    """What a field is to its users."""

    help: str
    """What a command's help says."""
    metavar: str | None = None
    """What stands for the value in the help; None for its type."""
    check: Check | None = None
    """For values other than None."""
    choices: Choices | None = None
    """Names that values go by, where ``check`` is not a ``OneOf``, which has them."""
    letter: str | None = None
    """A second, short flag: ``o`` for ``-o``."""
    text: Callable[[Any], str] = _text
    """How a value, or each of several, is written into a command line."""


def declare(option: Option) -> Mapping[str, Any]:
    """A field's ``metadata``."""
    return {_KEY: option}


AnyOption = TypeVar("AnyOption", bound=Option)


def option_of(field: Field[Any], kind: type[AnyOption]) -> AnyOption:
    """What was declared of a field, as the ``kind`` of option that its class declares."""
    option = field.metadata[_KEY]
    assert isinstance(option, kind)
    return option


def given_fields(options: Any) -> list[Field[Any]]:
    """The fields that are not at their default, and those that have none."""
    return [field for field in dataclasses.fields(options) if getattr(options, field.name) != field.default]


def flag_of(field: Field[Any]) -> str:
    """The field's flag: ``--its-name``, or ``--no-its-name`` for a switch that is on by default."""
    return f"--{'no-' if field.default is True else ''}{field.name.replace('_', '-')}"


def command_words(field: Field[Any], value: Any) -> list[str]:
    """What gives the field a value other than its default: a switch, or a flag before each value."""
    flag, text = flag_of(field), option_of(field, Option).text
    if isinstance(value, bool):
        return [flag]
    values = value if isinstance(value, tuple) else (value,)
    return [word for each in values for word in (flag, text(each))]


def in_command_order(options: Any) -> list[Field[Any]]:
    """The fields as a command line has them: first those with one value, then those with several, switches last."""

    def place(field: Field[Any]) -> int:
        return 2 if isinstance(field.default, bool) else 1 if isinstance(field.default, tuple) else 0

    return sorted(dataclasses.fields(options), key=place)


def check_fields(options: Any) -> None:
    """Looks at every value by itself.

    Raises:
        UsageError: one is not allowed.
    """
    for field in dataclasses.fields(options):
        value, check = getattr(options, field.name), option_of(field, Option).check
        if check is not None and value is not None:
            check(field.name, value)


@dataclass(frozen=True)
class OneOf:
    """Allows these values alone."""

    allowed: tuple[str, ...]

    def __call__(self, name: str, value: str) -> None:
        """Raises UsageError for any other."""
        if value not in self.allowed:
            msg = f"`{name}` must be one of {', '.join(self.allowed)}, got {value!r}"
            raise UsageError(msg)


def one_of(allowed: Sequence[str]) -> OneOf:
    """Allows these values alone."""
    return OneOf(tuple(allowed))


def choices_of(option: Option) -> Choices | None:
    """The names that an option's values go by; None where they are numbers, files or any text."""
    if option.choices is None and isinstance(option.check, OneOf):
        return Choices(purposes=dict.fromkeys(option.check.allowed, ""))
    return option.choices


def counts(low: int, high: int | None = None) -> Check:
    """Allows whole numbers from ``low`` to ``high``; without it, all from ``low`` on."""
    allowed = f"from {low} to {high}" if high is not None else "one or more" if low == 1 else f"{low} or more"

    def check(name: str, value: int) -> None:
        if value < low or (high is not None and value > high):
            msg = f"`{name}` must be {allowed}, got {value}"
            raise UsageError(msg)

    return check


def in_range(where: str, is_there: Callable[[float], bool]) -> Check:
    """Allows numbers of which ``is_there`` holds, in words ``where``, such as ``between 0 and 100 points``."""

    def check(name: str, value: float) -> None:
        if not is_there(value):
            msg = f"`{name}` must lie {where}, got {value:g}"
            raise UsageError(msg)

    return check


def check_expressions(name: str, expressions: Sequence[str]) -> None:
    """Looks whether each is a regular expression.

    Raises:
        UsageError: one is not.
    """
    for expression in expressions:
        _check_expression(name, expression)


def _check_expression(name: str, expression: str) -> None:
    try:
        re.compile(expression)
    except re.error as error:
        msg = f"`{name}` {expression!r} is not a regular expression: {error}"
        raise UsageError(msg) from error

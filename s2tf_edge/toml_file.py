"""Settings out of TOML files: known keys alone, each of the type that the code declares for it."""

from __future__ import annotations

import difflib
import enum
import sys
import types
import typing
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import InputFileError
from s2tf_edge.file_kinds import SETTINGS, check_kind
from s2tf_edge.text_file import read_text
from s2tf_edge.words import first_few

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["read_settings"]

_MAX_BYTES: Final = 2**20
_MOST_SHOWN: Final = 3
_MOST_LISTED: Final = 12
_AS_FLAGS: Final = "keys are the command's flags, with _ in place of -"
_LISTS: Final = {str: '["a", "b"]', int: "[0, 1]"}


def read_settings(path: Path, hints: Mapping[str, Any], *, secret: Collection[str] = ()) -> dict[str, Any]:
    """The values of a TOML file, as TOML has them.

    Args:
        path: the file.
        hints: by key the type of its value, as a signature or a dataclass declares it: ``int | None`` is a number that
            may be left out, ``float`` takes whole numbers as well, a ``Path`` is written as text, an enumeration by
            its values.
        secret: keys whose values no message shows.

    Raises:
        InputFileError: the file cannot be read, is not TOML, or has a key or a type of value that is not allowed.
    """
    check_kind(path, SETTINGS)
    values = _parse(path)
    _check_keys(path, values, sorted(hints))
    for key, value in values.items():
        shown = "something else" if key in secret else repr(value)
        _check_type(f"{path}: {key}", value, hints[key], shown=shown)
    return values


def _parse(path: Path) -> dict[str, Any]:
    text = read_text(path, max_bytes=_MAX_BYTES, kind="a TOML file")
    try:
        return tomllib.loads(text)
    except ValueError as error:
        msg = f"cannot read {path} as TOML: {error}"
        raise InputFileError(msg) from error
    except RecursionError as error:
        msg = f"cannot read {path} as TOML: its values are nested too deeply"
        raise InputFileError(msg) from error


def _check_keys(path: Path, values: Mapping[str, Any], names: list[str]) -> None:
    unknown = sorted(set(values) - set(names))
    if unknown:
        tables = [key for key in unknown if isinstance(values[key], dict)]
        words = [key for key in unknown if key not in tables]
        alike = {key: meant for key in words for meant in difflib.get_close_matches(key, names, 1)}
        meant = [f"{key} looks like {name} misspelt" for key, name in alike.items()]
        meant += [f"no key stands in a table, so leave out [{key}]" for key in tables]
        # A list of dozens would push what is wrong out of a short message.
        meant = [*meant[:_MOST_SHOWN], f"allowed are {names}" if len(names) <= _MOST_LISTED else _AS_FLAGS]
        msg = f"{path} has unknown keys [{first_few(map(repr, unknown), _MOST_SHOWN)}]; {'; '.join(meant)}"
        raise InputFileError(msg)


def _check_type(what: str, value: Any, hint: Any, *, shown: str) -> None:
    kinds = [kind for kind in _members(hint) if kind is not type(None)]
    if typing.get_origin(kinds[0]) is list:
        items = typing.get_args(kinds[0])
        is_right = type(value) is list and all(type(each) in _allowed(items) for each in value)
        wanted = f"a list such as {_LISTS[items[0]]}"
    elif issubclass(kinds[0], enum.Enum):
        names = [each.value for each in kinds[0]]
        is_right, wanted = value in names, f"one of {', '.join(names)}"
    else:
        is_right, wanted = type(value) in _allowed(kinds), f"of type {_words(kinds)}"
    if not is_right:
        msg = f"{what} must be {wanted}, got {shown}"
        raise InputFileError(msg)


def _members(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in {typing.Union, types.UnionType} else (hint,)


def _allowed(kinds: Iterable[Any]) -> list[type]:
    """The types that TOML's values of such kinds have; a truth value is no number there."""
    return [each for kind in kinds for each in {float: (float, int), Path: (str,)}.get(kind, (kind,))]


def _words(kinds: Iterable[Any]) -> str:
    return " or ".join(each.__name__ for each in _allowed(kinds))

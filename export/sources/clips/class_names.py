"""Names of classes that a graph carries along, in the ways in which exporters write them."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

__all__ = ["class_names"]

_KEYS: Final = ("labels", "names", "classes", "class_names", "classNames", "categories")
_MAX_LETTERS: Final = 2**20


def class_names(properties: Mapping[str, str], *, count: int | None) -> tuple[str, ...] | None:
    """The names of ``count`` classes out of a graph's metadata properties; None where it has not as many.

    Args:
        properties: the graph's.
        count: how many; None where that is not known.

    Lists and objects by index or by name are read, in JSON or as Python prints them, and text by lines or commas.
    """
    for key in _KEYS:
        text = properties.get(key, "")
        if text and len(text) <= _MAX_LETTERS and (found := _names(text, count)):
            return found
    return None


def _names(text: str, count: int | None) -> tuple[str, ...] | None:
    plain = "" if text.lstrip()[:1] in {"[", "{", "("} else text
    for names in (_of_values(_parse(text)), plain.splitlines(), plain.split(",")):
        stripped = tuple(str(name).strip() for name in names)
        if len(set(stripped)) == len(stripped) == (count or max(2, len(stripped))) and all(stripped):
            return stripped
    return None


def _parse(text: str) -> Any:
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            return read(text)
    return None


def _of_values(values: Any) -> list[Any]:
    """Names in the order of their indices: of a list, of ``{0: "run"}`` or of ``{"run": 0}``."""
    if isinstance(values, list | tuple):
        return list(values)
    if not isinstance(values, dict):
        return []
    by_index = {_index(key): name for key, name in values.items()} | {_index(at): key for key, at in values.items()}
    return [by_index[index] for index in range(len(values))] if set(range(len(values))) <= set(by_index) else []


def _index(value: Any) -> int | None:
    # JSON as Python reads it has infinity, which is no index.
    with suppress(ValueError, TypeError, OverflowError):
        return None if isinstance(value, bool) else int(value)
    return None

"""Keys of a JSON object that people write: what is missing or misspelt, and values of the wrong kind."""

from __future__ import annotations

import difflib
import json
import logging
import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

__all__ = ["Kinds", "are_numbers", "check_keys", "check_kinds", "is_name", "is_number", "is_object", "is_whole", "show"]

logger = logging.getLogger(__name__)

_ALIKE: Final = 0.75
"""Likeness (0 to 1) from which a key counts as misspelt: ``frame`` is 0.91 like ``frames``, ``std`` 0.67 ``stride``."""

Kinds = Mapping[str, tuple[Callable[[Any], bool], str]]
"""By key: whether a value is of the kind, and the words for that kind."""


def check_keys(values: Mapping[str, Any], *, required: Collection[str], optional: Collection[str]) -> None:
    """Whether all that must be there is; keys of other names are notes, unless they look like one of these misspelt.

    Raises:
        ValueError: a key is missing or misspelt.
    """
    missing = [key for key in required if key not in values]
    known = (*required, *optional)
    notes = [key for key in values if key not in known]
    misspelt = {key: alike[0] for key in notes if (alike := difflib.get_close_matches(key.lower(), known, 1, _ALIKE))}
    if missing or misspelt:
        parts = [f"it lacks {', '.join(missing)}"] if missing else []
        parts += [f"{key!r} looks like {meant!r} misspelt" for key, meant in misspelt.items()]
        needed = f"required are {', '.join(required)}, " if required else ""
        msg = f"{'; '.join(parts)}; {needed}allowed {', '.join(optional)}"
        raise ValueError(msg)
    if notes:
        logger.debug("keys taken as notes: %s", ", ".join(notes))


def check_kinds(values: Mapping[str, Any], kinds: Kinds) -> None:
    """Whether each value is of the kind that its key asks for.

    Raises:
        ValueError: one is not.
    """
    for key, value in values.items():
        fits, words = kinds.get(key, (None, ""))
        if fits is not None and not fits(value):
            msg = f"{key} must be {words}, got {show(value)}"
            raise ValueError(msg)


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, which true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def are_numbers(values: Any) -> bool:
    """Whether they are a list of three finite numbers."""
    return isinstance(values, list) and len(values) == 3 and all(map(is_number, values))


def is_name(value: Any) -> bool:
    """Whether it is a text that is not empty."""
    return isinstance(value, str) and bool(value)


def is_object(value: Any) -> bool:
    """Whether it is a JSON object of JSON objects."""
    return isinstance(value, dict) and bool(value) and all(isinstance(each, dict) for each in value.values())


def show(value: Any) -> str:
    """A value for a message, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"

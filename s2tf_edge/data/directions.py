"""Class names that tell a direction, so that a mirrored video shows another class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

__all__ = ["directions_among"]

# Of snake_case, kebab-case, spaces and camelCase: turnLEFT and TurnLeft2 have two words each.
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_DIRECTIONS: Final = frozenset(
    f"{side}{ending}" for side in ("left", "right") for ending in ("", "s", "ward", "wards", "hand", "handed", "most")
) | {"clockwise", "counterclockwise", "anticlockwise", "ccw"}


def directions_among(labels: Sequence[str]) -> list[str]:
    """Those of the class names that say left, right or a sense of rotation, as a word of its own."""
    return [label for label in labels if _DIRECTIONS & {word.lower() for word in _WORD.findall(label)}]

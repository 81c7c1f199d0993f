"""Words for messages."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["first_few"]


def first_few(names: Sequence[str], count: int = 4) -> str:
    """The first names, and how many more there are."""
    more = len(names) - count
    return ", ".join(names[:count]) + (f" and {more} more" if more > 0 else "")

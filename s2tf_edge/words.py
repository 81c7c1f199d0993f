"""Words of messages, which are one line and do not grow with the data."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["counted", "first_few", "one_line"]


def first_few(items: Iterable[object], count: int = 4, *, separator: str = ", ") -> str:
    """The first of the items, and how many more there are: ``a, b, c, d and 3 more``."""
    items = list(items)
    more = len(items) - count
    return separator.join(str(item) for item in items[:count]) + (f" and {more} more" if more > 0 else "")


def counted(count: int, noun: str) -> str:
    """``1 video``, ``2 videos``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def one_line(said: object) -> str:
    """An error's words, or other text, without line breaks and double spaces."""
    return " ".join(str(said).split())

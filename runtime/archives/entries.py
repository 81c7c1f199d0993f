"""The videos of an archive: each has a number, an address that opens it, and a name that may be shown."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from s2tf_edge.data.container import redacted

__all__ = ["Found", "ListedEntry", "Piece", "Task", "is_url", "readable_name", "shown_name"]

_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*(?:://|::.*://)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Found:
    """A video that SOURCES name, as it is found."""

    address: str = field(repr=False)
    """An absolute path, or a URL, which may hold a password."""
    name: str
    """As the user wrote it, without passwords."""
    size: int | None = None
    """Bytes, where that is known."""


@dataclass(frozen=True, kw_only=True)
class ListedEntry:
    """A video of the settled list."""

    number: int
    """Its place there, from 0."""
    address: str = field(repr=False)
    """As in ``Found``; bytes of a path that are no text are surrogates, as Python has them."""
    name: str
    """As in ``Found``."""


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Videos that are worked on together, and whose results are committed together."""

    number: int
    """From 0; the names of its files."""
    entries: tuple[ListedEntry, ...]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A piece as a worker gets it."""

    piece: Piece
    given_up: Mapping[int, str] = field(default_factory=dict)
    """Why entries are not tried again, by their number."""


def is_url(text: str) -> bool:
    """Whether it is an address of a store, rather than a path."""
    return _URL.match(text) is not None


def shown_name(address: str) -> str:
    """A path as it is, a URL without its passwords and signatures."""
    return redacted(address) if is_url(address) else address


def readable_name(name: str) -> tuple[str, bytes | None]:
    r"""A name as text that any file may hold, and its bytes where these are no text.

    A byte that is no text is written as ``\xff``.
    """
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raw = os.fsencode(name)
        return raw.decode("utf-8", "backslashreplace"), raw
    return name, None

"""Whether two reports are of the same videos, wherever these lie on each machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

__all__ = ["digest_videos"]

_FIRST_BYTES: Final = 2**16
"""Of a file, that count beside its size: reading data sets whole once more would take as long as they are large."""


def digest_videos(videos: Iterable[tuple[str, str | None]]) -> str:
    """SHA-256, in hex, over videos in whatever order: name, class, and of a file its size and first bytes.

    Args:
        videos: names and classes; of a path its last part counts, as folders differ from machine to machine.
    """
    lines = sorted("\0".join([*_describe(Path(name), name), true or ""]) for name, true in videos)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _describe(path: Path, name: str) -> tuple[str, ...]:
    try:
        with path.open("rb") as file:
            begin = hashlib.sha256(file.read(_FIRST_BYTES)).hexdigest()
            return path.name, str(path.stat().st_size), begin
    except (OSError, ValueError):
        # Made, or gone since: its name has to do.
        return (name,)

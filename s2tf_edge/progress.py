"""How long steps tell where they are, without knowing who listens."""

from __future__ import annotations

from typing import Protocol

__all__ = ["Progress", "no_progress"]


class Progress(Protocol):
    """Called after each unit of a long step."""

    def __call__(self, done: int, total: int) -> None:
        """Reports that ``done`` of ``total`` units are finished."""


def no_progress(done: int, total: int) -> None:
    """Listens to nothing."""

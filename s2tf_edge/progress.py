"""How long steps tell where they are, without knowing who listens."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["NamedProgress", "Progress", "StatedProgress", "begin_step", "no_progress", "tell_state"]


class Progress(Protocol):
    """Called after each unit of a long step."""

    def __call__(self, done: int, total: int) -> None:
        """Reports that ``done`` of ``total`` units are finished."""


@runtime_checkable
class NamedProgress(Progress, Protocol):
    """Progress that shows which of several steps goes on."""

    def begin(self, step: str) -> None:
        """Says what is counted from now on."""


def begin_step(progress: Progress, step: str) -> None:
    """Names the step that begins, to a listener that shows names."""
    if isinstance(progress, NamedProgress):
        progress.begin(step)


@runtime_checkable
class StatedProgress(Progress, Protocol):
    """Progress that shows in words where a step is."""

    def state(self, words: str) -> None:
        """Says where the step is; what was said before holds no more."""


def tell_state(progress: Progress, words: str) -> None:
    """Says where a long step is, to a listener that shows it: ``epoch 3/60, step 12/30, loss 1.92``."""
    if isinstance(progress, StatedProgress):
        progress.state(words)


def no_progress(done: int, total: int) -> None:
    """Listens to nothing."""

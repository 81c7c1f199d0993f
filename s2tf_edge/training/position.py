"""Where in a run a checkpoint was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["POSITION_KEY", "Position"]

POSITION_KEY: Final = "s2tf_position"
"""Under which a checkpoint has it, as a dict."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """Epochs that are done, and batches of the next one."""

    epochs: int
    steps: int = 0
    """Batches of the epoch that is under way, on each process; 0 between epochs."""
    steps_of_epoch: int
    clips_of_step: int
    """In a batch of all processes together."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Position:
        """From what a checkpoint has."""
        return cls(**{name: int(values[name]) for name in cls.__dataclass_fields__})

    @property
    def is_within_epoch(self) -> bool:
        """Whether an epoch is under way."""
        return self.steps > 0

    def describe(self, epochs: int) -> str:
        """In words: ``after epoch 3 of 60``, or ``in epoch 4 of 60, after step 12 of 30``."""
        if not self.is_within_epoch:
            return f"after epoch {self.epochs} of {epochs}"
        return f"in epoch {self.epochs + 1} of {epochs}, after step {self.steps} of {self.steps_of_epoch}"

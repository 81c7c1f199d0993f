"""Which of how many processes this one is, as torchrun tells each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Processes"]


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes of a run; one alone without torchrun."""

    rank: int = 0
    """Which this is, of all on all machines."""
    count: int = 1
    """On all machines."""
    here: int = 1
    """On this machine."""
    machines: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Processes:
        """What torchrun put into the environment."""
        return cls(
            rank=int(environment.get("RANK", "0")),
            count=int(environment.get("WORLD_SIZE", "1")),
            here=int(environment.get("LOCAL_WORLD_SIZE", "1")),
            machines=int(environment.get("GROUP_WORLD_SIZE", "1")),
        )

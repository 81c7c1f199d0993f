"""How long a step may take: so many seconds of a core's time, whatever else the machine does.

Steps whose length goes with the network's (calibration, the search of presets, the network's own answers) do less of
it where a clip takes seconds, and say so. Time is that of this process on all of its cores, divided by their number:
on a machine that has nothing else to do it is about what passes, and on a busy one the same decisions are made.
"""

from __future__ import annotations

import os
import time

__all__ = ["Budget"]


class Budget:
    """Time that is spent from the moment it is made."""

    def __init__(self, seconds: float) -> None:
        """Begins.

        Args:
            seconds: of which the step is to take little more.
        """
        self.seconds = seconds
        self._began = _processor_seconds()

    @property
    def spent(self) -> float:
        """Seconds since it began."""
        return _processor_seconds() - self._began

    @property
    def is_spent(self) -> bool:
        """Whether the time is over."""
        return self.spent >= self.seconds


def _processor_seconds() -> float:
    return time.process_time() / _cores()


def _cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

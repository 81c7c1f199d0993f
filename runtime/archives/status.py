"""How an archive stands: what is done of it, how fast that goes, and when it will be over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from s2tf_edge.runtime.archives.max_bad import said_of_errors
from s2tf_edge.runtime.archives.tally import ArchiveTally

__all__ = ["SCHEMA_VERSION", "ArchiveStatus"]

SCHEMA_VERSION: Final = 1
"""Of ``summary.json``: it grows when a key goes or means something else."""


@dataclass(frozen=True, kw_only=True)
class ArchiveStatus:
    """At one moment of a run."""

    videos: int
    """On the list."""
    done: ArchiveTally
    """Of this and earlier runs."""
    now: ArchiveTally
    """Of this run."""
    seconds: float
    """Since this run began."""
    workers: int
    deaths: int
    """Workers that were lost in this run."""

    @property
    def hours_per_hour(self) -> float:
        """Hours of video that an hour of this run recognizes."""
        return self.now.seconds / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Until all is done, as fast as it went so far; None before anything is."""
        if not self.now.videos:
            return None
        return self.seconds / self.now.videos * (self.videos - self.done.videos)

    def words(self) -> str:
        """One line for who waits."""
        parts = [f"recognizing: {self.done.videos:,} of {self.videos:,} videos"]
        if self.now.seconds:
            parts.append(f"{self.hours_per_hour:,.1f} hours of video an hour")
        if self.done.bad:
            parts.append(f"{self.done.bad:,} bad ({said_of_errors(self.done)})")
        if self.deaths:
            parts.append(f"{self.deaths} workers lost")
        if self.seconds_left is not None:
            parts.append(f"{_duration(self.seconds_left)} left")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; what is done is of all runs, ``run`` of the last one."""
        return {
            "schema_version": SCHEMA_VERSION,
            "listed": self.videos,
            "is_complete": self.done.videos == self.videos,
            **self.done.to_dict(),
            "run": {
                "videos": self.now.videos,
                "hours": round(self.now.seconds / 3600, 6),
                "seconds": round(self.seconds, 3),
                "hours_per_hour": round(self.hours_per_hour, 3),
                "workers": self.workers,
                "workers_lost": self.deaths,
            },
        }


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 48:
        return f"{hours / 24:,.1f} days"
    if minutes >= 90:
        return f"{hours:.1f} h"
    return f"{minutes:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"

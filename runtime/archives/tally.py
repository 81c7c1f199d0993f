"""What has become of an archive so far, in numbers that do not grow with it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from s2tf_edge.runtime.archives.rows import ERRORS, PieceRows, Row
from s2tf_edge.runtime.archives.shards import Shards

__all__ = ["ArchiveTally"]

_MAX_LABELS: Final = 10_000
_MAX_EXAMPLES: Final = 10
_VIDEO_COLUMNS: Final = ("source", "status", "error", "seconds", "frames", "windows")
_EVENT_COLUMNS: Final = ("label", "t_start", "t_end")


@dataclass(kw_only=True)
class ArchiveTally:
    """Counts of videos and what was found in them."""

    videos: int = 0
    seconds: float = 0.0
    """Of video that was recognized."""
    frames: int = 0
    windows: int = 0
    events: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Bad videos by kind, as the column ``error`` has it."""
    labels: Counter[str] = field(default_factory=Counter)
    """Events of each label."""
    label_seconds: dict[str, float] = field(default_factory=dict)
    """How long those are together."""
    examples: list[tuple[str, str, str]] = field(default_factory=list)
    """Source, kind and message of some bad videos."""

    @property
    def bad(self) -> int:
        """Videos that could not be used."""
        return sum(self.errors.values())

    @classmethod
    def of_rows(cls, rows: PieceRows) -> ArchiveTally:
        """Of a piece that was just done."""
        tally = cls()
        for row in rows.tables["videos"]:
            tally._count_video(row)
        for row in rows.tables["events"]:
            tally._count_event(row)
        return tally

    @classmethod
    def of_shard(cls, shards: Shards, piece: int) -> ArchiveTally:
        """Of a piece that is done.

        Raises:
            InputFileError: its files are missing or were spoiled.
        """
        tally = cls()
        for row in shards.read("videos", piece, columns=_VIDEO_COLUMNS):
            tally._count_video(row)
        for row in shards.read("events", piece, columns=_EVENT_COLUMNS):
            tally._count_event(row)
        return tally

    def add(self, other: ArchiveTally) -> None:
        """Adds what was counted elsewhere."""
        self.videos += other.videos
        self.seconds += other.seconds
        self.frames += other.frames
        self.windows += other.windows
        self.events += other.events
        self.errors.update(other.errors)
        for label, count in other.labels.items():
            self._count_label(label, count, other.label_seconds[label])
        self.examples += other.examples[: _MAX_EXAMPLES - len(self.examples)]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "videos": self.videos,
            "ok": self.videos - self.bad,
            "bad": self.bad,
            "errors": dict(sorted(self.errors.items())),
            "hours": round(self.seconds / 3600, 6),
            "frames": self.frames,
            "windows": self.windows,
            "events": self.events,
            "labels": [
                {"label": label, "events": count, "seconds": round(self.label_seconds[label], 3)}
                for label, count in sorted(self.labels.items(), key=lambda item: (-item[1], item[0]))
            ],
            "bad_videos": [
                {"source": source, "error": kind, "status": status} for source, kind, status in self.examples
            ],
        }

    def _count_video(self, row: Row) -> None:
        self.videos += 1
        seconds = row["seconds"] or 0.0
        self.seconds += seconds if math.isfinite(seconds) else 0.0
        self.frames += row["frames"] or 0
        self.windows += row["windows"] or 0
        if row["error"] is not None:
            kind = row["error"] if row["error"] in ERRORS else "internal"
            self.errors[kind] += 1
            if len(self.examples) < _MAX_EXAMPLES:
                self.examples.append((row["source"] or "", kind, (row["status"] or "")[:400]))

    def _count_event(self, row: Row) -> None:
        self.events += 1
        seconds = (row["t_end"] or 0.0) - (row["t_start"] or 0.0)
        self._count_label(row["label"] or "", 1, seconds if math.isfinite(seconds) else 0.0)

    def _count_label(self, label: str, count: int, seconds: float) -> None:
        if label in self.labels or len(self.labels) < _MAX_LABELS:
            self.labels[label] += count
            self.label_seconds[label] = self.label_seconds.get(label, 0.0) + seconds

"""What became of one source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from s2tf_edge.runtime.sources.continuity import Continuity
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.records import SourceStatus
from s2tf_edge.runtime.streaming.regions import Region

__all__ = ["SourceReport", "ZoneReport"]


@dataclass(kw_only=True)
class ZoneReport:
    """What became of one zone of a source, or of its whole picture; written by the thread that makes records."""

    index: int
    """Its position among the sources of the records."""
    name: str
    region: Region | None = None
    """None for the whole picture."""
    windows: int = 0
    """Windows that were run."""


@dataclass(kw_only=True)
class SourceReport:
    """What became of one source so far; written by the thread that reads it."""

    index: int
    """Position of its first zone among the sources of the records."""
    source: Source
    regions: tuple[Region, ...] = ()
    """Zones that are each a source of the records; without any, the whole picture is one."""
    state: str = "waiting"
    """waiting, playing, lost, ended or failed, as in a SourceStatus."""
    frames: int = 0
    gaps: int = 0
    reconnects: int = 0
    """How often it was lost and found again."""
    corrupt_packets: int = 0
    out_of_order: int = 0
    frames_behind: int = 0
    """Frames that were left out because decoding was behind."""
    regions_left_out: int = 0
    """Regions of frames that were not followed because there were too many at a time."""
    first_seconds: float = 0.0
    """Presentation time of the first frame that was read."""
    position_seconds: float = 0.0
    """Presentation time of the newest frame."""
    own_offset_seconds: float = 0.0
    """From presentation time to the source's own."""
    presented_at: float | None = None
    """``perf_counter`` when the newest frame was presented; None before the first."""
    duration_seconds: float | None = None
    """Of the part that is to be read; None where it is not known."""
    broken: str | None = None
    """Why a file ended before its end."""
    message: str | None = None
    """What is wrong, while it is lost or after it failed."""
    error: str | None = None
    continuity: Continuity = field(default_factory=Continuity, repr=False)
    """What is remembered from one opening to the next."""
    times: StageTimes = field(default_factory=StageTimes)

    def __post_init__(self) -> None:
        name = self.source.name
        zones = [
            ZoneReport(index=index, name=f"{name} [{region.name}]", region=region)
            for index, region in enumerate(self.regions, self.index)
        ]
        self.zones = tuple(zones) or (ZoneReport(index=self.index, name=name),)
        """What it is in the records: one source for each zone."""

    def status(self, zone: ZoneReport) -> SourceStatus:
        """Where one of its zones is now."""
        return SourceStatus(
            name=zone.name,
            state=self.state,
            frames=self.frames,
            windows=zone.windows,
            gaps=self.gaps,
            reconnects=self.reconnects,
            position_seconds=self.position_seconds,
            duration_seconds=self.duration_seconds,
            message=self.message,
            first_seconds=self.first_seconds,
        )

    def to_dict(self, zone: ZoneReport) -> dict[str, Any]:
        """One of its zones as plain JSON values."""
        counts = {
            "frames": self.frames,
            "seconds": round(self.position_seconds - self.first_seconds, 6),
            "windows": zone.windows,
            "gaps": self.gaps,
            "reconnects": self.reconnects,
            "corrupt_packets": self.corrupt_packets,
            "frames_behind": self.frames_behind,
            "frames_out_of_order": self.out_of_order,
        }
        return {"name": zone.name, **counts, "broken": self.broken, "error": self.error}

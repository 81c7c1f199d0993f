"""What a stream says: typed records, each with the JSON object that stands for it in a file of predictions.

All times are presentation times in seconds. A file keeps its own, so that they match the video; a live source starts
at 0. They never run back within a source: where its clock starts anew, as in recordings strung together, they go on,
and the source's own times stand beside them. ``source`` is the position of the source among those asked for; where
zones were asked for, each zone of each is one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from s2tf_edge import __version__
from s2tf_edge.runtime.streaming.regions import Box, Region
from s2tf_edge.runtime.streaming.zones import Zone
from s2tf_edge.spec import ClipSpec

__all__ = [
    "SCHEMA_VERSION",
    "STAGES",
    "Action",
    "Event",
    "Failure",
    "Gap",
    "Picture",
    "Prediction",
    "Record",
    "SourceStatus",
    "Start",
    "Status",
    "Summary",
    "own_time",
    "to_json",
]

STAGES: Final = ("wait", "queue", "preprocess", "infer", "smooth")
"""What a label's age is made of, in order: until the window is complete, for a network to be free, until the network's
input is made, the network's run, and until the label is out."""


_NOT_IN_JSON: Final = {"json": "never"}
_WHERE_KNOWN: Final = {"json": "where known"}
_SAME_SECONDS: Final = 1e-3
SCHEMA_VERSION: Final = 1
"""Of the JSON forms: it grows when a key goes or means something else, not when one is added."""


def _now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True, kw_only=True)
class Start:
    """What is about to run; the first record."""

    schema_version: int = SCHEMA_VERSION
    version: str = __version__
    """Of this package."""
    started_at: datetime = field(default_factory=_now)
    """The wall clock's time, in UTC, when the stream began; a live source's 0 follows once it has opened."""
    artifact: str
    network: str
    target: str
    precision: str
    clip: ClipSpec
    labels: int
    """Classes that the network tells apart."""
    hop: int
    """Sampled frames from the start of one window to the start of the next."""
    form: str = "clip"
    """``clip``, or ``step`` where a prediction takes new frames alone and what is remembered."""
    policy: str | tuple[str, ...]
    """every or latest, also where auto was asked for; one for each source where they differ."""
    smooth: str
    threshold: float
    sources: tuple[str, ...]
    regions: tuple[Region, ...] = ()
    """For each source the zone that it is, where zones were asked for; else empty."""
    pictures: tuple[int, ...] = ()
    """For each source the one whose Pictures it is seen in, where zones share them; empty where each has its own."""

    def only(self, source: int) -> Start:
        """As if that source had been the only one."""
        return dataclasses.replace(
            self,
            policy=self.policy if isinstance(self.policy, str) else self.policy[source],
            sources=(self.sources[source],),
            regions=self.regions[source : source + 1],
            pictures=(0,) if self.pictures else (),
        )

    def picture_of(self, source: int) -> int:
        """The source whose Pictures show this one: itself, or the first zone of the same camera or file."""
        return self.pictures[source] if self.pictures else source

    def picture_name(self, source: int) -> str:
        """The name of what is read, without that of its zone."""
        name = self.sources[source]
        return name.removesuffix(f" [{self.regions[source].name}]") if self.regions else name


@dataclass(frozen=True, kw_only=True)
class Action:
    """An action that goes on, as its Event will have it."""

    label: str
    t_start: float
    score: float
    """Mean of the scores of its windows so far."""
    is_new: bool = field(default=False, metadata=_NOT_IN_JSON)
    """Whether it begins with this window; not in the JSON form."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The scores of one window, after smoothing."""

    source: int
    region: str | None = field(default=None, metadata=_WHERE_KNOWN)
    """Name or id of the region that the window shows; None, and not in the JSON form, for the whole picture."""
    box: Box | None = field(default=None, metadata=_WHERE_KNOWN)
    """Where the region was at ``t_end``: left, top, width and height in shares of the picture as it is shown."""
    t_start: float
    """When the window's first frame is presented."""
    t_end: float
    """When its last frame is presented."""
    label: str
    score: float
    """In [0, 1]."""
    topk: tuple[tuple[str, float], ...]
    """The best classes and their scores, best first."""
    age_ms: float
    """From the presentation of the window's newest frame to this record."""
    infer_ms: float
    """Time of the run that the window was part of."""
    action: Action | None = None
    """The action that goes on with this window: the one place where it is told when an action began."""
    stages_ms: Mapping[str, float] = field(default_factory=dict, metadata=_NOT_IN_JSON)
    """The parts of ``age_ms``, by the names of ``STAGES``; not in the JSON form."""
    mask: NDArray[np.float32] | None = field(default=None, metadata=_NOT_IN_JSON)
    """The saliency mask, float32 [H', W'] over the window's crop, where it was asked for; not in the JSON form."""
    source_t_start: float | None = field(default=None, metadata=_WHERE_KNOWN)
    """``t_start`` by the source's own clock; None, and not in the JSON form, where it is the same."""
    source_t_end: float | None = field(default=None, metadata=_WHERE_KNOWN)
    """``t_end`` by the source's own clock, likewise."""

    @property
    def begins(self) -> Event | None:
        """The action that begins with this window, as far as it is known by then."""
        if self.action is None or not self.action.is_new:
            return None
        offset = 0.0 if self.source_t_start is None else self.source_t_start - self.t_start
        return Event(
            source=self.source,
            region=self.region,
            label=self.action.label,
            t_start=self.action.t_start,
            t_end=self.t_end,
            score=self.action.score,
            source_t_start=own_time(self.action.t_start, offset),
            source_t_end=own_time(self.t_end, offset),
        )

    def best(self, count: int) -> tuple[tuple[str, float], ...]:
        """The best classes and their scores, ``count`` at most; but for the first, none that rounds to 0 percent."""
        first, *others = self.topk[:count]
        return (first, *(other for other in others if round(100 * other[1])))


@dataclass(frozen=True, kw_only=True)
class Event:
    """One action from its beginning to its end: a run of windows with the same label above the threshold."""

    source: int
    region: str | None = field(default=None, metadata=_WHERE_KNOWN)
    """As in a Prediction."""
    label: str
    t_start: float
    t_end: float
    score: float
    """Mean of the scores of its windows."""
    source_t_start: float | None = field(default=None, metadata=_WHERE_KNOWN)
    """``t_start`` by the source's own clock; None, and not in the JSON form, where it is the same."""
    source_t_end: float | None = field(default=None, metadata=_WHERE_KNOWN)
    """``t_end`` by the source's own clock, likewise."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A loss of signal: no window contains frames from both sides of it."""

    source: int
    t_start: float
    """When the last frame before it was presented."""
    t_end: float
    """When the first frame after it was presented."""
    cause: str = "pause"
    """pause: the source gave no frame; clock: its clock started anew; lost: it was lost and found again; behind: frames
    were left out, as decoding them took longer than they last."""
    source_t_start: float | None = field(default=None, metadata=_WHERE_KNOWN)
    """``t_start`` by the source's own clock; None, and not in the JSON form, where it is the same."""
    source_t_end: float | None = field(default=None, metadata=_WHERE_KNOWN)
    """``t_end`` by the source's own clock, likewise."""

    @classmethod
    def between(
        cls, source: int, t_start: float, t_end: float, *, cause: str, offsets_seconds: tuple[float, float]
    ) -> Gap:
        """A gap with the source's own times, told by how far they are from presentation time before it and after."""
        before, after = offsets_seconds
        return cls(
            source=source,
            t_start=t_start,
            t_end=t_end,
            cause=cause,
            source_t_start=own_time(t_start, before),
            source_t_end=own_time(t_end, after),
        )


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A source that cannot be opened or was lost; the others go on."""

    source: int
    name: str
    message: str
    exit_code: int


@dataclass(frozen=True, kw_only=True)
class SourceStatus:
    """Where one source is."""

    name: str
    state: str
    """waiting (for its turn, or to open), playing, lost (it is being opened again), ended or failed."""
    frames: int
    windows: int
    gaps: int
    reconnects: int
    position_seconds: float
    """Presentation time of the newest frame."""
    duration_seconds: float | None
    """Of the part that is to be read; None where it is not known, as of a live source."""
    message: str | None
    """What is wrong, if anything is."""
    first_seconds: float = 0.0
    """Presentation time of the first frame that was read: what was read of ``duration_seconds`` counts from it."""

    @property
    def done_seconds(self) -> float:
        """How much was read, no more than there is."""
        done = max(0.0, self.position_seconds - self.first_seconds)
        return done if self.duration_seconds is None else min(done, self.duration_seconds)


@dataclass(frozen=True, kw_only=True)
class Status:
    """How things stand, at regular times, for those who show it; it has no JSON form."""

    seconds: float
    """Since the start."""
    drops: Mapping[str, int]
    """What was left out so far, by cause."""
    stages_ms: Mapping[str, Mapping[str, float]]
    """As in the Summary, so far."""
    sources: tuple[SourceStatus, ...]
    network_seconds: float = 0.0
    """How long the run whose turn it is has been awaited; 0 where the network has nothing to do."""
    reader_seconds: float = 0.0
    """How long the slowest reader has been at work on what it read last; reads and waits of any kind do not count."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Counts and times of the whole run; the last record."""

    seconds: float
    """Duration of the run."""
    interrupted: bool
    frames_in: int
    windows: int
    """Windows that were run."""
    events: int
    gaps: int
    drops: Mapping[str, int]
    """What was left out, by cause."""
    stages_ms: Mapping[str, Mapping[str, float]]
    """p50, p95, p99 of each stage: decode, scale, regions where a function finds them, those of ``STAGES``, and age."""
    sources: tuple[Mapping[str, Any], ...]
    """For each source its name, frames, windows, gaps and error."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A frame as it came from the source, for those who show or save it; it has no JSON form."""

    source: int
    """The first of those that it shows, where zones share it."""
    pts_seconds: float
    frame: av.VideoFrame
    zones: tuple[Zone, ...] = ()
    """Where its zones and regions are; empty where it is recognized as a whole."""

    @property
    def nbytes(self) -> int:
        """Memory that the frame takes."""
        return sum(plane.buffer_size for plane in self.frame.planes)


Record = Start | Prediction | Event | Gap | Failure | Status | Summary | Picture
"""Any of what a stream says."""

_TYPES: Mapping[type, str] = {
    Start: "start",
    Prediction: "prediction",
    Event: "event",
    Gap: "gap",
    Failure: "error",
    Summary: "summary",
}
_DECIMALS = 6


def own_time(seconds: float, offset_seconds: float) -> float | None:
    """By the source's own clock; None where it agrees with presentation time."""
    return seconds + offset_seconds if abs(offset_seconds) > _SAME_SECONDS else None


def to_json(record: Record) -> dict[str, Any] | None:
    """The record as plain JSON values, its ``type`` first; None for a picture or a status."""
    if isinstance(record, Picture | Status):
        return None
    return {"type": _TYPES[type(record)], **_shown_values(record)}


def _shown_values(record: Record | Action) -> dict[str, Any]:
    shown = [each.name for each in dataclasses.fields(record) if _is_shown(each, record)]
    return {name: _plain(getattr(record, name)) for name in shown}


def _is_shown(field: dataclasses.Field[Any], record: Record | Action) -> bool:
    when = field.metadata.get("json", "always")
    return when == "always" or (when == "where known" and getattr(record, field.name) is not None)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DECIMALS)
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, ClipSpec):
        return value.to_dict()
    if isinstance(value, Action):
        return _shown_values(value)
    if isinstance(value, Region):
        return {"name": value.name, "box": _plain(value.box)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value

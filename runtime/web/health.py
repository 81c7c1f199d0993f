"""Whether a stream does what it is there for: ``/healthz``."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from s2tf_edge.runtime.streaming.records import Failure, Prediction, Record, Start, Status, Summary

__all__ = ["Health", "Verdict"]

_PATIENCE_SECONDS: Final = 30.0
_PATIENCE_SPANS: Final = 3
"""A long clip takes long to be complete."""
_WELL: Final = ("waiting", "playing", "ended")
_LOST_WORK: Final = ("windows_superseded", "windows_too_old", "frames_out_of_order")
"""Causes by which what was read comes to no prediction."""


@dataclass(frozen=True, kw_only=True)
class _SourceHealth:
    name: str
    state: str = "waiting"
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What ``/healthz`` answers: whether the stream is well, and what is wrong."""

    status: str
    """ok; degraded: some source is lost or failed, others go on; or not well: starting, failing, stalled or ended."""
    reason: str | None
    seconds_since_prediction: float | None
    sources: tuple[_SourceHealth, ...]

    @property
    def is_well(self) -> bool:
        """Whether at least one source plays or waits, and predictions come."""
        return self.status in ("ok", "degraded")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        since = self.seconds_since_prediction
        return {
            "status": self.status,
            "reason": self.reason,
            "seconds_since_prediction": None if since is None else round(since, 3),
            "sources": [vars(source) for source in self.sources],
        }


class Health:
    """Follows a stream.

    Where regions come and go there may be nothing to predict for hours: frames that are read while the network has
    nothing to do, and nothing is left out, are as good as a prediction.

    Args:
        patience_seconds: without either, from which on the stream counts as stalled; three times the length of a
            clip where that is more.
    """

    def __init__(self, *, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._patience_seconds = patience_seconds
        self._sources: dict[int, _SourceHealth] = {}
        self._predicted_at: float | None = None
        self._progressed_at: float | None = None
        """When there was the last prediction, or frames were read of which none was due."""
        self._frames = 0
        self._lost_work = 0
        self._started_at: float | None = None
        self._has_ended = False

    def write(self, record: Record) -> None:
        """Takes a record."""
        if isinstance(record, Prediction):
            self._predicted_at = self._progressed_at = monotonic()
            self._mark_playing(record.source)
        elif isinstance(record, Status):
            states = [_SourceHealth(name=item.name, state=item.state, message=item.message) for item in record.sources]
            self._sources = dict(enumerate(states))
            self._note_progress(record)
        elif isinstance(record, Failure):
            failed = _SourceHealth(name=record.name, state="failed", message=record.message)
            self._sources = {**self._sources, record.source: failed}
        elif isinstance(record, Start):
            self._patience_seconds = max(self._patience_seconds, _PATIENCE_SPANS * record.clip.span_seconds)
            self._sources = {index: _SourceHealth(name=name) for index, name in enumerate(record.sources)}
            self._started_at = monotonic()
        elif isinstance(record, Summary):
            self._has_ended = True

    def verdict(self) -> Verdict:
        """How the stream is now."""
        now = monotonic()
        since = None if self._predicted_at is None else now - self._predicted_at
        sources = tuple(self._sources.values())
        status, reason = self._judge(sources, now)
        return Verdict(status=status, reason=reason, seconds_since_prediction=since, sources=sources)

    def _note_progress(self, status: Status) -> None:
        frames = sum(source.frames for source in status.sources)
        lost_work = sum(status.drops.get(cause, 0) for cause in _LOST_WORK)
        if frames > self._frames and lost_work == self._lost_work and not status.network_seconds:
            self._progressed_at = monotonic()
        self._frames, self._lost_work = frames, lost_work

    def _mark_playing(self, source: int) -> None:
        """A stream without Status records says by its predictions alone that a source plays."""
        held = self._sources.get(source)
        if held is not None and held.state == "waiting":
            self._sources = {**self._sources, source: _SourceHealth(name=held.name, state="playing")}

    def _judge(self, sources: tuple[_SourceHealth, ...], now: float) -> tuple[str, str | None]:
        if self._has_ended:
            return "ended", "all sources have ended"
        if self._started_at is None:
            return "starting", "the network is being loaded"
        ill = [source for source in sources if source.state not in _WELL]
        reason = "; ".join(source.message or f"{source.name} is {source.state}" for source in ill)
        if ill and not any(source.state in ("waiting", "playing") for source in sources):
            return "failing", reason
        if now - (self._progressed_at or self._started_at) > self._patience_seconds:
            return "stalled", f"no prediction for {now - (self._predicted_at or self._started_at):.0f} s"
        return ("degraded", reason) if ill else ("ok", None)

"""What is told of an action: a JSON object when it begins and one when it has ended."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any, Final

from s2tf_edge.runtime.streaming.records import Event, Prediction, Record, Start, to_json

__all__ = ["AlertMaker"]

_NOT_KNOWN_YET: Final = {"t_end", "source_t_end"}


class AlertMaker:
    """Makes alerts of the records of a stream.

    An alert is the line that a file of JSON lines has for the event, with the ``phase`` (``begin`` or ``end``), the
    ``name`` of its source and the ``time`` at which it is told. Source, label and ``t_start`` are the same in both.
    """

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()

    def make(self, record: Record) -> bytes | None:
        """The alert as JSON in UTF-8; None for a record with which no action begins or ends."""
        if isinstance(record, Start):
            self._names = record.sources
        if isinstance(record, Prediction) and record.begins is not None:
            return self._encode(record.begins, phase="begin")
        return self._encode(record, phase="end") if isinstance(record, Event) else None

    def _encode(self, event: Event, *, phase: str) -> bytes:
        values: dict[str, Any] = to_json(event) or {}
        if phase == "begin":
            values = {key: value for key, value in values.items() if key not in _NOT_KNOWN_YET}
        name = self._names[event.source] if event.source < len(self._names) else None
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        kind = values.pop("type", "event")
        return json.dumps(
            {"type": kind, "phase": phase, "time": now, "name": name, **values}, ensure_ascii=False
        ).encode()

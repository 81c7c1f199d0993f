"""What an archive's files hold: their columns, and the rows of one video. docs/archives.md shows them to users."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from s2tf_edge.runtime.archives.entries import ListedEntry, readable_name
from s2tf_edge.runtime.streaming.records import Event, Failure, Gap, Prediction, Record, Summary, to_json

__all__ = ["COLUMNS", "ERRORS", "OK", "TABLES", "PieceRows", "Row", "VideoRows"]

Row = dict[str, Any]
OK: Final = "ok"
TABLES: Final = ("predictions", "events", "videos")
"""In the order in which they are written: a piece is done once its videos are there."""
ERRORS: Final[Mapping[str, str]] = {
    "missing": "there is no such file",
    "unreadable": "it cannot be read as a video",
    "store": "its bytes could not be fetched",
    "network": "the network or its runtime failed on it",
    "worker": "its worker died of it, twice",
    "internal": "an error that s2tf-edge does not know of",
}
"""Why videos are bad, by the word in the column ``error``."""
_WHO: Final = {"entry": "int64", "source": "string", "source_bytes": "binary"}
_TIMES: Final = dict.fromkeys(("t_start", "t_end", "source_t_start", "source_t_end"), "float64")
_COUNTS: Final = ("frames", "windows", "events", "gaps", "corrupt_packets", "frames_out_of_order")
COLUMNS: Final[Mapping[str, Mapping[str, str]]] = {
    "predictions": {**_WHO, **_TIMES, "label": "string", "score": "float64", "topk": "topk"},
    "events": {**_WHO, **_TIMES, "label": "string", "score": "float64"},
    "videos": {
        **_WHO,
        "status": "string",
        "error": "string",
        "seconds": "float64",
        **dict.fromkeys(_COUNTS, "int64"),
        "broken": "string",
    },
}
"""By table: the type of each column. ``topk`` is a list of label and score."""


class VideoRows:
    """The rows of one video, of the records that a stream of it alone gives.

    Nothing in them depends on when, where, or beside which others it was recognized.
    """

    def __init__(self, entry: ListedEntry) -> None:
        name, raw = readable_name(entry.name)
        self._who: Row = {"entry": entry.number, "source": name, "source_bytes": raw}
        self._clear()

    def _clear(self) -> None:
        self.predictions: list[Row] = []
        self.events: list[Row] = []
        self._counts: Row = dict.fromkeys(_COUNTS, 0)
        self._told: Row = {"status": OK, "error": None, "seconds": 0.0, "broken": None}

    def add(self, record: Record) -> None:
        """Takes a record."""
        if isinstance(record, Prediction):
            self.predictions.append(self._row("predictions", record))
        elif isinstance(record, Event):
            self.events.append(self._row("events", record))
        elif isinstance(record, Gap):
            self._counts["gaps"] += 1
        elif isinstance(record, Failure):
            self._fail("unreadable", record.message)
        elif isinstance(record, Summary):
            (source,) = record.sources
            self._counts |= {key: source[key] for key in ("frames", "corrupt_packets", "frames_out_of_order")}
            self._told |= {"seconds": source["seconds"], "broken": _text(source["broken"])}

    def give_up(self, kind: str, message: str) -> None:
        """Says what became of the video, where a stream of it could not end; what it said until then does not count."""
        self._clear()
        self._fail(kind, message)

    @property
    def is_bad(self) -> bool:
        """Whether something is wrong with the video."""
        return self._told["error"] is not None

    @property
    def video(self) -> Row:
        """Its own row."""
        counts = self._counts | {"windows": len(self.predictions), "events": len(self.events)}
        values = self._who | self._told | counts
        return {column: values[column] for column in COLUMNS["videos"]}

    def _fail(self, kind: str, message: str) -> None:
        self._told |= {"status": _text(message), "error": kind}

    def _row(self, table: str, record: Record) -> Row:
        values = (to_json(record) or {}) | self._who
        values["label"] = _text(values["label"])
        if "topk" in values:
            values["topk"] = [{"label": _text(label), "score": score} for label, score in values["topk"]]
        return {column: values.get(column) for column in COLUMNS[table]}


@dataclass(frozen=True, kw_only=True)
class PieceRows:
    """All rows of a piece, by table."""

    tables: Mapping[str, list[Row]] = field(default_factory=lambda: {table: [] for table in TABLES})

    def add(self, rows: VideoRows) -> None:
        """Adds a video."""
        self.tables["predictions"].extend(rows.predictions)
        self.tables["events"].extend(rows.events)
        self.tables["videos"].append(rows.video)


def _text(said: str | None) -> str | None:
    """As a file takes it: what is no text, as in the names of files, is escaped."""
    return None if said is None else said.encode("utf-8", "backslashreplace").decode("utf-8")

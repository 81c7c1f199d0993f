"""Records as text: JSON lines in a file or on stdout, and lines for people."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TextIO

from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.sinks.line_file import LineFile
from s2tf_edge.runtime.streaming.records import Event, Failure, Gap, Prediction, Record, Start, Status, Summary, to_json
from s2tf_edge.words import json_text

__all__ = ["JsonlSink", "TextSink"]


_GAPS: Final = {
    "pause": "no signal until {:.2f} s",
    "clock": "its clock started anew",
    "lost": "lost, and found again at {:.2f} s",
    "behind": "too slow to decode, frames left out until {:.2f} s",
}
"""What a gap of each cause is called."""


class JsonlSink:
    """One JSON object a line, flushed line by line, so that a reader sees each as it comes.

    A file is made once a source has been read from, so that a run in which all of them fail leaves none; what a run
    that failed later has written stays, as a log does. A named pipe is waited for until somebody reads it.

    Args:
        file: a path, or a text stream, which stays open.
        append: whether lines follow those that the file has; else it is made anew.
        stop: ends the wait for the reader of a named pipe.

    Raises:
        InputFileError: the file cannot be written.
    """

    def __init__(self, file: Path | TextIO, *, append: bool = False, stop: threading.Event | None = None) -> None:
        self._stream = None if isinstance(file, Path) else file
        self._held: list[str] = []
        self._is_begun = False
        self._file: LineFile | None = None
        if isinstance(file, Path):
            if not _may_write(file):
                msg = f"cannot write {file}; choose a file in a folder that exists and may be written to"
                raise InputFileError(msg)
            self._file = LineFile(file, append=append, stop=stop)

    def write(self, record: Record) -> None:
        """Writes a line, unless the record is a picture.

        Raises:
            BrokenPipeError: the reader has gone.
            InputFileError: the file cannot be written; it says what the file holds.
        """
        values = to_json(record)
        if values is not None:
            self._held.append(json_text(values) + "\n")
        self._is_begun = self._is_begun or self._stream is not None or not _has_read_nothing(record)
        if self._held and self._is_begun:
            self._put(self._held)
            self._held.clear()

    def close(self) -> None:
        """Closes the file, if it was opened here."""
        if self._file is not None:
            self._file.close()

    def _put(self, lines: Sequence[str]) -> None:
        if self._file is not None:
            self._file.write(lines)
        elif self._stream is not None:
            self._stream.writelines(lines)
            self._stream.flush()


def _may_write(path: Path) -> bool:
    return not path.is_dir() and os.access(path if path.exists() else path.parent, os.W_OK)


def _has_read_nothing(record: Record) -> bool:
    """Whether a run of nothing but such records has read from no source."""
    if isinstance(record, Summary):
        return all(source["error"] for source in record.sources)
    return isinstance(record, Start | Failure | Status)


class TextSink:
    """A line for each action as it begins, at the time that its Event will have, for people to read.

    A source without any gets one line with its best label.
    """

    def __init__(self, show: Callable[[str], None], *, threshold: float) -> None:
        self._show = show
        self._threshold = threshold
        self._names: tuple[str, ...] = ()
        self._has_zones = False
        self._begun_at: dict[tuple[int, str | None], float] = {}
        """When the action that goes on began, of each source, or of each region that moves in it."""
        self._told: set[int] = set()
        """Sources that ever had an action."""
        self._best: dict[int, Prediction] = {}

    def write(self, record: Record) -> None:
        """Shows an action that begins, or a gap."""
        if isinstance(record, Start):
            self._names = record.sources
            self._has_zones = bool(record.regions)
        elif isinstance(record, Prediction):
            self._write_prediction(record)
        elif isinstance(record, Event) and self._moves(record):
            # A region that moves may never come back under its name; another action of it may have begun already.
            if self._begun_at.get((record.source, record.region)) == record.t_start:
                del self._begun_at[record.source, record.region]
        elif isinstance(record, Gap):
            self._begun_at = {key: begun for key, begun in self._begun_at.items() if key[0] != record.source}
            self._write_line(record.source, record.t_start, _GAPS[record.cause].format(record.t_end))

    def close(self) -> None:
        """Shows the best label of each source that had no action."""
        for source, best in self._best.items():
            if source not in self._told:
                text = f"nothing scored {self._threshold:.2f} or more; best: {best.label} ({best.score:.2f})"
                self._write_line(source, best.t_start, text)

    def _write_prediction(self, record: Prediction) -> None:
        source = record.source
        if source not in self._best or record.score > self._best[source].score:
            self._best[source] = record
        action, key = record.action, (source, record.region)
        if action is not None and action.t_start != self._begun_at.get(key):
            self._begun_at[key] = action.t_start
            self._told.add(source)
            region = f"[{record.region}]  " if self._moves(record) else ""
            self._write_line(source, action.t_start, f"{region}{action.label}  {action.score:.2f}")

    def _moves(self, record: Prediction | Event) -> bool:
        """Whether it is of a region that comes and goes, and not of a zone, which is a source of its own."""
        return record.region is not None and not self._has_zones

    def _write_line(self, source: int, seconds: float, text: str) -> None:
        name = f"{self._names[source]}  " if len(self._names) > 1 else ""
        self._show(f"{name}{seconds:8.2f} s  {text}")

"""Records as text: JSON lines in a file or on stdout, and lines for people."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.streaming.records import Event, Failure, Gap, Prediction, Record, Start, Summary, to_json

__all__ = ["JsonlSink", "TextSink"]


_GAPS: Final = {
    "pause": "no signal until {:.2f} s",
    "clock": "its clock went back to {:.2f} s",
    "lost": "lost, and found again at {:.2f} s",
    "behind": "too slow to decode, frames left out until {:.2f} s",
}
"""What a gap of each cause is called."""


class JsonlSink:
    """One JSON object a line, flushed line by line, so that a reader sees each as it comes.

    A file is made once a source has been read from, so that a run in which all of them fail leaves none; what a run
    that failed later has written stays, as a log does.

    Raises:
        InputFileError: the file cannot be written.
    """

    def __init__(self, file: Path | TextIO) -> None:
        self._path = file if isinstance(file, Path) else None
        self._file = None if isinstance(file, Path) else file
        self._held: list[str] = []
        if self._path is not None and not _may_write(self._path):
            msg = f"cannot write {file}; choose a file in a folder that exists and may be written to"
            raise InputFileError(msg)

    def write(self, record: Record) -> None:
        """Writes a line, unless the record is a picture.

        Raises:
            BrokenPipeError: the reader has gone.
            InputFileError: the file cannot be written.
        """
        values = to_json(record)
        if values is not None:
            self._held.append(json.dumps(values, ensure_ascii=False) + "\n")
        if self._file is None and self._path is not None and not _has_read_nothing(record):
            self._file = _open(self._path)
        if self._file is not None:
            self._file.writelines(self._held)
            self._file.flush()
            self._held.clear()

    def close(self) -> None:
        """Closes the file, if it was opened here."""
        if self._file is not None and self._path is not None:
            self._file.close()


def _may_write(path: Path) -> bool:
    return not path.is_dir() and os.access(path if path.exists() else path.parent, os.W_OK)


def _open(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        msg = f"cannot write {path} ({error.strerror}); choose another `file`"
        raise InputFileError(msg) from error


def _has_read_nothing(record: Record) -> bool:
    """Whether a run of nothing but such records has read from no source."""
    if isinstance(record, Summary):
        return all(source["error"] for source in record.sources)
    return isinstance(record, Start | Failure)


class TextSink:
    """A line whenever the label of a source changes, for people to read.

    Below the threshold no label is shown; a source that never reached it gets one line with its best label.
    """

    def __init__(self, show: Callable[[str], None], *, threshold: float) -> None:
        self._show = show
        self._threshold = threshold
        self._names: tuple[str, ...] = ()
        self._has_zones = False
        self._labels: dict[tuple[int, str | None], str] = {}
        """What was shown last of each source, or of each region that moves in it, and still goes on."""
        self._labeled: set[int] = set()
        self._best: dict[int, Prediction] = {}

    def write(self, record: Record) -> None:
        """Shows a change of label, or a gap."""
        if isinstance(record, Start):
            self._names = record.sources
            self._has_zones = bool(record.regions)
        elif isinstance(record, Prediction):
            self._write_prediction(record)
        elif isinstance(record, Event) and self._labels.get((record.source, record.region)) == record.label:
            # A region that moves may never come back under its name.
            if self._moves(record):
                del self._labels[record.source, record.region]
        elif isinstance(record, Gap):
            self._labels = {key: label for key, label in self._labels.items() if key[0] != record.source}
            self._write_line(record.source, record.t_start, _GAPS[record.cause].format(record.t_end))

    def close(self) -> None:
        """Shows the best label of each source that had none above the threshold."""
        for source, best in self._best.items():
            if source not in self._labeled:
                text = f"nothing scored {self._threshold:.2f} or more; best: {best.label} ({best.score:.2f})"
                self._write_line(source, best.t_start, text)

    def _write_prediction(self, record: Prediction) -> None:
        source = record.source
        if source not in self._best or record.score > self._best[source].score:
            self._best[source] = record
        if record.score < self._threshold:
            return
        key = source, record.region
        if self._labels.get(key) != record.label:
            self._labels[key] = record.label
            self._labeled.add(source)
            region = f"[{record.region}]  " if self._moves(record) else ""
            self._write_line(source, record.t_start, f"{region}{record.label}  {record.score:.2f}")

    def _moves(self, record: Prediction | Event) -> bool:
        """Whether it is of a region that comes and goes, and not of a zone, which is a source of its own."""
        return record.region is not None and not self._has_zones

    def _write_line(self, source: int, seconds: float, text: str) -> None:
        name = f"{self._names[source]}  " if len(self._names) > 1 else ""
        self._show(f"{name}{seconds:8.2f} s  {text}")

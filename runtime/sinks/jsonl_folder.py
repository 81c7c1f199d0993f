"""A file of predictions for each source."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from s2tf_edge.data.video_paths import VIDEO_SUFFIXES
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.runtime.sinks.line_file import LineFile
from s2tf_edge.runtime.sources.picture_files import PICTURE_SUFFIXES
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.records import Event, Failure, Gap, Prediction, Record, Start, Summary, to_json
from s2tf_edge.words import json_text

__all__ = ["JsonlFolderSink", "file_stems"]

_SUFFIX: Final = ".jsonl"
_MAX_STEM: Final = 200
_MAX_ZONE: Final = 80
"""In bytes of UTF-8: a file's name may have 255, and more follows these."""
_CAUSES: Final = ("corrupt_packets", "frames_behind", "frames_out_of_order")
"""What a source's own facts count of what was left out; windows are dropped of all sources together."""


class JsonlFolderSink:
    """Writes ``FOLDER/clip.jsonl`` for ``videos/clip.mp4``: as if that source had been the only one, number 0.

    Each file has its own first line, all that was found in its source, and a summary of it once the run has ended. It
    is made once its source has been read from; what a killed run has written stays. No file is open between two lines,
    so that a folder may hold any number of videos.

    Args:
        folder: where the files lie, or are to lie.
        append: whether lines follow those that a file has; else it is made anew.

    Raises:
        UsageError: ``folder`` is a file.
        InputFileError: the folder cannot be made or written to.
    """

    def __init__(self, folder: Path, *, append: bool = False) -> None:
        self._folder = folder
        self._append = append
        self._files: tuple[_File, ...] = ()
        if folder.exists() and not folder.is_dir():
            msg = f"{folder} is a file; name a folder for a file of predictions a source"
            raise UsageError(msg)
        above = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not os.access(above, os.W_OK):
            msg = f"cannot write to {folder}; choose a folder that may be written to"
            raise InputFileError(msg)

    def write(self, record: Record) -> None:
        """Writes to the file of the record's source; the first record opens none, the last one ends them all.

        Raises:
            InputFileError: a file cannot be written.
        """
        if isinstance(record, Start):
            names = [record.picture_name(source) for source in range(len(record.sources))]
            stems = file_stems(names, zones=[region.name for region in record.regions])
            self._files = tuple(
                _File(self._folder / (stem + _SUFFIX), record.only(source), append=self._append)
                for source, stem in enumerate(stems)
            )
        elif isinstance(record, Summary):
            for file, facts in zip(self._files, record.sources, strict=True):
                file.end(record, facts)
        elif isinstance(record, Prediction | Event | Gap | Failure):
            self._files[record.source].write(dataclasses.replace(record, source=0))

    def close(self) -> None:
        """Nothing is open."""


def file_stems(names: Sequence[str], *, zones: Sequence[str] = ()) -> list[str]:
    """A name without suffix for each source, none of them twice, whatever the case of its letters.

    A file gives its own stem, anything else its name without what a file's name may not hold, nor a password. Of
    sources with the same stem the second gets ``-2``, the third ``-3``, in their order.

    Args:
        names: of what is read, for each source.
        zones: for each source the name of its zone, which follows its stem; empty where there are none.
    """
    taken: set[str] = set()
    stems = []
    for name, zone in zip(names, zones or [""] * len(names), strict=True):
        behind = f"-{_plain_name(zone, most=_MAX_ZONE)}" if zone else ""
        stem = _stem(name, most=_MAX_STEM - len(os.fsencode(behind))) + behind
        candidates = (stem if number == 1 else f"{stem}-{number}" for number in range(1, len(names) + 2))
        free = next(each for each in candidates if each.casefold() not in taken)
        taken.add(free.casefold())
        stems.append(free)
    return stems


class _File:
    """The file of one source."""

    def __init__(self, path: Path, start: Start, *, append: bool) -> None:
        self._lines = LineFile(path, append=append, stays_open=False, field="folder")
        self._held: list[Record] = [start]
        self._is_begun = False
        self._events = 0
        self._times = StageTimes()

    def write(self, record: Prediction | Event | Gap | Failure) -> None:
        if isinstance(record, Prediction):
            for stage, milliseconds in {**record.stages_ms, "infer": record.infer_ms, "age": record.age_ms}.items():
                self._times.add(stage, milliseconds)
        self._events += isinstance(record, Event)
        self._put(record, begins=not isinstance(record, Failure))

    def end(self, summary: Summary, facts: Mapping[str, Any]) -> None:
        """The summary of this source; nothing of one that was never read from."""
        own = dataclasses.replace(
            summary,
            frames_in=facts["frames"],
            windows=facts["windows"],
            events=self._events,
            gaps=facts["gaps"],
            drops={cause: facts[cause] for cause in _CAUSES if facts.get(cause)},
            stages_ms=self._times.to_dict(),
            sources=(facts,),
        )
        self._put(own, begins=bool(facts["frames"]) and not facts["error"])

    def _put(self, record: Record, *, begins: bool) -> None:
        """Writes a line, and those held before it; or holds it, while nothing shows that the source can be read."""
        self._held.append(record)
        if self._is_begun or begins:
            self._lines.write([json_text(to_json(each)) + "\n" for each in self._held])
            self._held.clear()
            self._is_begun = True


def _stem(name: str, *, most: int) -> str:
    if name == "-":
        return "stdin"
    if _is_file(name):
        return _cut(Path(name).stem, most)
    without_password = re.sub(r"//[^/]*@", "//", name)
    unsafe = r"[^\w.]+" if "://" in name or name.startswith("lavfi:") else r"[^\w. ]+"
    return _plain_name(without_password, unsafe=unsafe, most=most)


def _plain_name(text: str, *, unsafe: str = r"[^\w.]+", most: int) -> str:
    return _cut(re.sub(unsafe, "-", text).strip("-. "), most) or "source"


def _cut(text: str, most: int) -> str:
    """Its beginning, of so many bytes at the most."""
    text = text[:most]
    while len(os.fsencode(text)) > most:
        text = text[:-1]
    return text


def _is_file(name: str) -> bool:
    """Whether it is the name of a file, missing ones included: no address, no device, nothing that the user made up."""
    if "://" in name or name.startswith(("lavfi:", "/dev/")):
        return False
    # Path.exists raises where a name is too long for a file, as one that the user made up may be.
    return Path(name).suffix.lower() in (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES) or os.path.exists(name)  # noqa: PTH110

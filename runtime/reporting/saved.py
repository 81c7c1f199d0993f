"""Reports that were written before, perhaps on another machine: what of ``report.json`` others are compared by."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.reporting.data_digest import digest_videos
from s2tf_edge.text_file import read_text
from s2tf_edge.words import one_line

__all__ = ["SavedReport", "SavedRow", "read_report"]

_MAX_BYTES: Final = 2**28
_VERSION: Final = 1
_MAX_QUOTED: Final = 80


@dataclass(frozen=True, kw_only=True)
class SavedRow:
    """An artifact that ran."""

    name: str
    values: Mapping[str, Any]
    """Of it in ``report.json``."""
    answers: Mapping[tuple[str, str | None], str]
    """The class that it said, by name and class of the video; of one that a list had twice, the first time."""

    def number(self, key: str) -> float | None:
        """A metric; None where it is not known."""
        value = self.values.get(key)
        try:
            return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
        except OverflowError:  # a whole number of hundreds of digits
            return None

    @property
    def form(self) -> tuple[str, str]:
        """Runtime and precision."""
        runtime = self.values.get("runtime")
        backend = runtime.get("backend") if isinstance(runtime, Mapping) else None
        return str(backend or "–"), str(self.values.get("precision") or "–")


@dataclass(frozen=True, kw_only=True)
class SavedReport:
    """What another run found."""

    path: Path
    rows: Mapping[str, SavedRow]
    """Those that ran, by name."""
    skipped: Mapping[str, str]
    """Why others could not run, by name."""
    machine: str
    busy: bool
    data: str
    videos: str | None
    """Stands for the videos that were scored, the same on every machine that has them; None where there were none."""
    created: str
    has_labels: bool
    settings: Mapping[str, Any]
    """How it was measured."""


def read_report(path: Path) -> SavedReport:
    """Reads a ``report.json``, or that of a report's folder.

    Raises:
        InputFileError: it cannot be read, or is no report of this version.
    """
    file = path / "report.json" if path.is_dir() else path
    text = read_text(file, max_bytes=_MAX_BYTES, kind="a report")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"{file} is no JSON ({one_line(error)[:_MAX_QUOTED]}); give a report.json that s2tf-report wrote"
        raise InputFileError(msg) from error
    version = values.get("schema_version") if isinstance(values, Mapping) else None
    if version != _VERSION or not isinstance(values.get("artifacts"), list):
        got = "has no schema_version" if version is None else f"has schema_version {str(version)[:_MAX_QUOTED]!r}"
        msg = f"{file} is no report of version {_VERSION}: it {got}; make it again with s2tf-report"
        raise InputFileError(msg)
    try:
        return _gather(file, values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"{file} contradicts what a report has ({type(error).__name__}: {one_line(error)[:_MAX_QUOTED]})"
        raise InputFileError(msg) from error


def _gather(file: Path, values: Mapping[str, Any]) -> SavedReport:
    videos = [(str(video["name"]), _text(video["true"])) for video in values["videos"]]
    rows, skipped = {}, {}
    for item in values["artifacts"]:
        name = str(item["name"])
        if item.get("skipped") is not None:
            skipped[name] = str(item["skipped"])
            continue
        answers: dict[tuple[str, str | None], str] = {}
        for key, said in zip(videos, item["said"], strict=True):
            if said is not None:
                answers.setdefault(key, str(said))
        rows[name] = SavedRow(name=name, values=item, answers=answers)
    if not rows:
        msg = f"{file} has no artifact that ran, of {len(skipped)}; give a report of measured ones"
        raise InputFileError(msg)
    return SavedReport(
        path=file,
        rows=rows,
        skipped=skipped,
        machine=_name_machine(values["machine"]),
        busy=bool(values["surroundings"]["busy"]),
        data=str(values["data"]),
        # Reports had no digest at first.
        videos=str(values.get("data_sha256") or digest_videos((Path(name).name, true) for name, true in videos))
        if videos
        else None,
        created=str(values["created"]),
        has_labels=any(true is not None for _, true in videos),
        settings=dict(values.get("settings") or {}),
    )


def _name_machine(facts: Mapping[str, Any]) -> str:
    gpu = f", {facts['gpu']}" if facts.get("gpu") else ""
    return one_line(f"{facts.get('cpu', 'unknown')}, {facts.get('cores', 'unknown')} cores{gpu}")


def _text(value: Any) -> str | None:
    return None if value is None else str(value)

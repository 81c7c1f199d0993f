"""What a folder of results is of: an artifact and options, which every later run must agree with."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from s2tf_edge import __version__
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.runtime.archives.folder_lock import JOB_FOLDER
from s2tf_edge.runtime.artifact import identify
from s2tf_edge.runtime.session import SessionOptions
from s2tf_edge.runtime.streaming.stream_options import StreamOptions
from s2tf_edge.text_file import read_text
from s2tf_edge.whole_file import whole_file

__all__ = ["Job", "check_folder"]

_FILE: Final = "job.json"
_VERSION: Final = 1
_MAX_BYTES: Final = 2**20
_FIELDS: Final = (
    *("topk", "threshold", "hop", "start_seconds", "duration_seconds", "fps", "hwaccel"),
    # A list of fields rather than all: what is added later has its default in older folders.
)
_OF_STREAMS: Final = ("regions", "pictures", "saliency", "status_seconds", "max_age_seconds")
"""Options of a stream that nobody watches, or whose rows have no place for it."""
_NEW_FOLDER: Final = "choose another `out` for it, or give what was given before"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What is the same in all runs that add to one folder."""

    artifact_sha256: str
    """Of its ``meta.json``, which has the hash of all else; of a ``model.pt`` itself."""
    options: Mapping[str, Any]
    """By name, as plain JSON values."""

    @classmethod
    def of(cls, artifact: Path, options: StreamOptions, session: SessionOptions, *, format: str) -> Job:
        """What is asked for.

        Raises:
            UsageError: an option is one of streams alone.
            InputFileError: there is no artifact.
        """
        given = [name for name in _OF_STREAMS if getattr(options, name)]
        if given or options.policy == "latest":
            name = (given or ["policy"])[0]
            msg = f"`{name}` is of streams; the files of an archive are recognized whole, window by window"
            raise UsageError(msg)
        told = {name: getattr(options, name) for name in _FIELDS}
        told |= {"smooth": str(options.smoothing), "device": session.device, "threads": session.threads}
        return cls(artifact_sha256=identify(artifact), options=told | {"format": format})

    def check(self, folder: Path) -> None:
        """Sees that a folder that has a job has this one.

        Raises:
            UsageError: another artifact, or other options, were given before.
            InputFileError: what stands there cannot be read.
        """
        path = folder / JOB_FOLDER / _FILE
        if path.exists():
            self._compare(_read(path), folder)

    def write(self, folder: Path, *, artifact: Path) -> None:
        """Makes it the job of a folder that has none, once there is something to do.

        Raises:
            InputFileError: it cannot be written.
        """
        path = folder / JOB_FOLDER / _FILE
        if path.exists():
            return
        values = {
            "schema_version": _VERSION,
            "version": __version__,
            "artifact": str(artifact),
            "artifact_sha256": self.artifact_sha256,
            "options": dict(self.options),
        }
        with whole_file(path) as file:
            file.write(json.dumps(values, indent=2).encode("ascii") + b"\n")

    @staticmethod
    def forget(folder: Path) -> None:
        """Leaves a folder without a job again: one that has no results binds nobody to its options."""
        (folder / JOB_FOLDER / _FILE).unlink(missing_ok=True)

    def _compare(self, before: Mapping[str, Any], folder: Path) -> None:
        if before["artifact_sha256"] != self.artifact_sha256:
            msg = f"{folder} has results of another artifact, {before['artifact'][:80]!r}; {_NEW_FOLDER}"
            raise UsageError(msg)
        options = before["options"]
        for name, value in self.options.items():
            if name in options and options[name] != value:
                msg = f"{folder} was begun with {name} {_said(options[name])}, got {_said(value)}; {_NEW_FOLDER}"
                raise UsageError(msg)


def check_folder(folder: Path) -> None:
    """Sees that a folder is new, or one of results.

    Raises:
        UsageError: it is a file, or holds something else.
    """
    if folder.exists() and not folder.is_dir():
        msg = f"{folder} is a file; choose another `out`"
        raise UsageError(msg)
    if folder.is_dir() and not (folder / JOB_FOLDER).is_dir() and any(folder.iterdir()):
        msg = f"{folder} holds files that s2tf-batch did not write; choose another `out`"
        raise UsageError(msg)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(read_text(path, max_bytes=_MAX_BYTES))
    except (ValueError, RecursionError):
        values = None
    texts = ("artifact", "artifact_sha256")
    is_ours = isinstance(values, dict) and all(isinstance(values.get(name), str) for name in texts)
    if not (is_ours and isinstance(values.get("options"), dict)):
        msg = f"{path} is not as s2tf-batch wrote it; choose another `out`"
        raise InputFileError(msg)
    if values.get("schema_version") != _VERSION:
        msg = f"{path} is of another version of s2tf-batch; choose another `out`, or go on with that version"
        raise InputFileError(msg)
    assert isinstance(values, dict)
    return values


def _said(value: Any) -> str:
    return "none" if value is None else repr(value)[:40]

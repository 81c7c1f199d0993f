"""The user's cache folder, ``~/.cache/s2tf-edge`` on Linux: compiled networks, and which artifact was exported last.

Whatever is kept there can be done without: a folder that cannot be had is no reason to fail.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import tempfile
from pathlib import Path
from typing import Final

import platformdirs

from s2tf_edge.errors import UsageError

__all__ = ["cache_folder", "compiled_models", "last_artifact", "remember_artifact"]

logger = logging.getLogger(__name__)

_KEPT: Final = 16
"""Compiled networks that stay; each is about as large as its artifact."""
_LAST_FILE: Final = "last.json"
_HINT: Final = "export one with: s2tf-export model.pt --target openvino, or name an artifact folder or a model.pt"


def cache_folder() -> Path:
    """The folder, which may not exist yet.

    Raises:
        OSError: nothing tells where it would be, as in a container whose user has neither name nor ``$HOME``.
    """
    try:
        folder = platformdirs.user_cache_path("s2tf-edge", appauthor=False)
        if not folder.is_absolute():
            # What older versions of the library make of "~" that leads nowhere: a folder of that name.
            raise RuntimeError(folder)
    except RuntimeError as error:
        msg = "this user has no home folder; set HOME or XDG_CACHE_HOME"
        raise FileNotFoundError(errno.ENOENT, msg) from error
    return folder


def compiled_models() -> Path | None:
    """A folder in which OpenVINO keeps the networks that it compiled, so that the next start is faster.

    All but the newest are removed first. None where the folder cannot be written, which is no reason to fail.
    """
    try:
        folder = cache_folder() / "openvino"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        for blob in sorted(folder.glob("*.blob"), key=_changed_seconds, reverse=True)[_KEPT:]:
            blob.unlink(missing_ok=True)
    except OSError as error:
        logger.debug("networks are compiled at every start, for the cache cannot be written: %s", error)
        return None
    return folder


def remember_artifact(path: Path) -> None:
    """Makes ``path`` the artifact exported last; a cache that cannot be written is no reason to fail."""
    try:
        file = cache_folder() / _LAST_FILE
        aside = file.with_name(f"{file.name}.{os.getpid()}")
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps({"artifact": str(path.resolve())}) + "\n", encoding="utf-8")
        aside.replace(file)
    except OSError as error:
        logger.debug("cannot remember %s: %s", path, error)


def last_artifact() -> Path:
    """The artifact exported last, which ``s2tf-stream`` runs when it is given none.

    Raises:
        UsageError: none was exported yet, or it is gone.
    """
    try:
        path = Path(json.loads((cache_folder() / _LAST_FILE).read_text(encoding="utf-8"))["artifact"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"no ARTIFACT given and none was exported yet; {_HINT}"
        raise UsageError(msg) from error
    if not path.exists():
        msg = f"no ARTIFACT given and the one exported last, {path}, is gone; {_HINT}"
        raise UsageError(msg)
    return path


def _changed_seconds(path: Path) -> float:
    """When a file was written; the dawn of time where another process has just removed it."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0

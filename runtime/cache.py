"""The user's cache folder: ``$XDG_CACHE_HOME/s2tf-edge``, else ``~/.cache/s2tf-edge``.

Whatever is kept there can be done without: a folder that cannot be had is no reason to fail.
"""

from __future__ import annotations

import errno
import logging
import os
import tempfile
from pathlib import Path
from typing import Final

__all__ = ["cache_folder", "compiled_models"]

logger = logging.getLogger(__name__)

_KEPT: Final = 16
"""Compiled networks that stay; each is about as large as its artifact."""


def cache_folder() -> Path:
    """The folder, which may not exist yet.

    Raises:
        OSError: nothing tells where it would be, as in a container whose user has neither name nor ``$HOME``.
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(cache) if cache else Path.home() / ".cache") / "s2tf-edge"
    except RuntimeError as error:
        msg = "this user has no home folder; set HOME or XDG_CACHE_HOME"
        raise FileNotFoundError(errno.ENOENT, msg) from error


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


def _changed_seconds(path: Path) -> float:
    """When a file was written; the dawn of time where another process has just removed it."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0

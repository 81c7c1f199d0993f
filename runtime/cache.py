"""The user's cache folder: ``$XDG_CACHE_HOME/s2tf-edge``, else ``~/.cache/s2tf-edge``."""

from __future__ import annotations

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
    """The folder, which may not exist yet."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "s2tf-edge"


def compiled_models() -> Path | None:
    """A folder in which OpenVINO keeps the networks that it compiled, so that the next start is faster.

    All but the newest are removed first. None where the folder cannot be written, which is no reason to fail.
    """
    folder = cache_folder() / "openvino"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        blobs = sorted(folder.glob("*.blob"), key=lambda path: path.stat().st_mtime, reverse=True)
        for blob in blobs[_KEPT:]:
            blob.unlink(missing_ok=True)
    except OSError as error:
        logger.debug("networks are compiled at every start, for %s cannot be written: %s", folder, error)
        return None
    return folder

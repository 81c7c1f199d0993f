"""The artifact that was exported last: what ``s2tf-stream`` runs when it is given none.

It is remembered in ``last.json`` in the user's cache folder.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.cache import cache_folder

__all__ = ["last_artifact", "remember_artifact"]

logger = logging.getLogger(__name__)

_HINT = "export one with: s2tf-export model.pt --target openvino, or name an artifact folder or a model.pt"


def remember_artifact(path: Path) -> None:
    """Makes ``path`` the last artifact; a cache that cannot be written is no reason to fail."""
    try:
        file = _file()
        aside = file.with_name(f"{file.name}.{os.getpid()}")
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(json.dumps({"artifact": str(path.resolve())}) + "\n", encoding="utf-8")
        aside.replace(file)
    except OSError as error:
        logger.debug("cannot remember %s: %s", path, error)


def last_artifact() -> Path:
    """The artifact exported last.

    Raises:
        UsageError: none was exported yet, or it is gone.
    """
    try:
        path = Path(json.loads(_file().read_text(encoding="utf-8"))["artifact"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"no ARTIFACT given and none was exported yet; {_HINT}"
        raise UsageError(msg) from error
    if not path.exists():
        msg = f"no ARTIFACT given and the one exported last, {path}, is gone; {_HINT}"
        raise UsageError(msg)
    return path


def _file() -> Path:
    return cache_folder() / "last.json"

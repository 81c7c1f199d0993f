"""Small files of an artifact."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["write_executable", "write_json"]


def write_json(values: Mapping[str, Any], path: Path) -> None:
    """Writes one JSON object."""
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def write_executable(text: str, path: Path) -> None:
    """Writes a script that anyone may run."""
    # Paths that are no valid UTF-8, or come through a locale without it, go back as the bytes that they were.
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    path.chmod(0o755)

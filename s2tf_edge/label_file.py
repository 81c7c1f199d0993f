"""Files that name a network's classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from s2tf_edge.errors import InputFileError
from s2tf_edge.file_kinds import CLASS_NAMES, check_kind

__all__ = ["read_labels"]


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Names of classes in the order of their indices.

    Args:
        path: a text file with a name a line, or a number and a name as UCF101's ``classInd.txt`` has them; or a JSON
            file with a list of names, or an object from names to indices as Kinetics' class names come.

    Raises:
        InputFileError: the file is missing, unreadable or empty, names a class twice, or skips an index.
    """
    path = check_kind(path, CLASS_NAMES).path
    try:
        text = path.read_text(encoding="utf-8-sig")
        labels = _from_json(json.loads(text)) if path.suffix == ".json" else _from_lines(text)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise InputFileError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not a list of class names: {error}"
        raise InputFileError(msg) from error
    if not labels or len(set(labels)) != len(labels):
        msg = f"{path} must name one class or more, each once; it has {len(labels)} names, {len(set(labels))} different"
        raise InputFileError(msg)
    return labels


def _from_json(content: Any) -> tuple[str, ...]:
    if isinstance(content, dict):
        # Kinetics' own file has quotes within its quotes.
        content = _by_index({str(name).strip('"'): index for name, index in content.items()})
    if not isinstance(content, list) or not all(isinstance(name, str) for name in content):
        msg = "expected a JSON list of names or an object from names to indices"
        raise ValueError(msg)
    return tuple(content)


def _by_index(indices: dict[str, Any]) -> list[str]:
    if sorted(indices.values(), key=str) != sorted(range(len(indices)), key=str):
        msg = f"indices must be 0 to {len(indices) - 1}, each once"
        raise ValueError(msg)
    return sorted(indices, key=indices.__getitem__)


def _from_lines(text: str) -> tuple[str, ...]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    numbers = [line.split(maxsplit=1)[0] for line in lines]
    for first in (0, 1):
        if numbers == [str(index) for index in range(first, first + len(lines))] and all(" " in line for line in lines):
            return tuple(line.split(maxsplit=1)[1] for line in lines)
    return tuple(lines)

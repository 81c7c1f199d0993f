"""What is at a path, and what it belongs to."""

from __future__ import annotations

import codecs
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s2tf_edge.file_kinds.kinds import FileKind
from s2tf_edge.file_kinds.signatures import kind_of_bytes, kind_of_json, parse_json

__all__ = ["META_FILE", "FoundFile", "find_kind"]

META_FILE: Final = "meta.json"
"""What makes a folder an artifact."""
_META_KEYS: Final = frozenset({"format", "target", "files"})
_MODEL_FILE: Final = "model.pt"
_PAIRS: Final = {FileKind.ONNX: (".json", FileKind.CLIP_FILE), FileKind.CLIP_FILE: (".onnx", FileKind.ONNX)}
"""A graph and its clip file, by the ending that the other has where both have one name."""
_FOLDERS: Final = (
    (".onnx", FileKind.ONNX, FileKind.ONNX_FOLDER),
    (".xml", FileKind.IR, FileKind.IR_FOLDER),
)
"""Folders by what lies in them: its ending, its kind, and theirs."""
_END_BYTES: Final = 4 * 2**20
"""Read of each end of a file."""
_JSON_BYTES: Final = 16 * 2**20
_MAX_ENTRIES: Final = 1000
"""Looked at in a folder."""


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    """What is at a path."""

    path: Path
    kind: FileKind
    related: tuple[Path, ...] = ()
    """The artifact that a file is part of, the artifacts or the model.pt in a folder or beside a checkpoint, the graph
    that weights or a clip file belong to, the clip file of a graph."""

    @property
    def stands_for(self) -> Path:
        """The artifact where the path is one of its files, else the path."""
        return self.related[0] if self.kind is FileKind.ARTIFACT_FILE else self.path


def find_kind(path: str | Path) -> FoundFile:
    """What is at ``path``; never raises: what cannot be read is ``UNKNOWN``, for whoever opens it to say why."""
    path = Path(path)
    try:
        if path.is_dir():
            return _look_at_folder(path)
        if not path.exists():
            return FoundFile(path=path, kind=FileKind.MISSING)
        # Nothing is read from a pipe or a device, which would not give it back.
        return _look_at_file(path) if path.is_file() else FoundFile(path=path, kind=FileKind.UNKNOWN)
    except (OSError, ValueError):
        return FoundFile(path=path, kind=FileKind.UNKNOWN)


def _look_at_folder(folder: Path) -> FoundFile:
    if (folder / META_FILE).is_file():
        return FoundFile(path=folder, kind=FileKind.ARTIFACT)
    if (folder / "saved_model.pb").is_file():
        return FoundFile(path=folder, kind=FileKind.SAVED_MODEL)
    if (model := folder / _MODEL_FILE).is_file():
        return FoundFile(path=folder, kind=FileKind.RUN_FOLDER, related=(model,))
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry, _ in zip(entries, range(_MAX_ENTRIES), strict=False))
    shown = [folder / name for name in names if not name.startswith(".")]
    if artifacts := tuple(path for path in shown if _read_meta(path)):
        return FoundFile(path=folder, kind=FileKind.ARTIFACTS, related=artifacts)
    for suffix, kind, kind_of_folder in _FOLDERS:
        graphs = [path for path in shown if path.suffix == suffix and path.is_file() and _kind_of_file(path) is kind]
        if graphs:
            return FoundFile(path=folder, kind=kind_of_folder, related=tuple(graphs))
    return FoundFile(path=folder, kind=FileKind.FOLDER)


def _look_at_file(path: Path) -> FoundFile:
    if _is_of_artifact(path):
        return FoundFile(path=path, kind=FileKind.ARTIFACT_FILE, related=(path.parent,))
    kind = _kind_of_file(path)
    beside: tuple[Path, ...] = ()
    if kind is FileKind.UNKNOWN:
        kind, beside = _kind_by_neighbor(path)
    elif kind is FileKind.RUN_CHECKPOINT:
        beside = tuple(model for model in [path.with_name(_MODEL_FILE)] if model.is_file())
    elif kind in _PAIRS:
        suffix, other = _PAIRS[kind]
        pair = path.with_suffix(suffix)
        beside = (pair,) if pair.is_file() and _kind_of_file(pair) is other else ()
    return FoundFile(path=path, kind=kind, related=beside)


def _is_of_artifact(path: Path) -> bool:
    if path.name == META_FILE:
        return _read_meta(path.parent) is not None
    meta = _read_meta(path.parent)
    files = {} if meta is None else meta["files"]
    return isinstance(files, Mapping) and path.name in files


def _read_meta(folder: Path) -> Mapping[str, Any] | None:
    """What an artifact's description holds; None where it is none."""
    path = folder / META_FILE
    if not path.is_file():
        return None
    values = _read_json(path)
    return values if isinstance(values, dict) and values.keys() >= _META_KEYS else None


def _read_json(path: Path) -> Any:
    with path.open("rb") as file:
        data = file.read(_JSON_BYTES + 1)
    return parse_json(data) if len(data) <= _JSON_BYTES else None


def _kind_of_file(path: Path) -> FileKind:
    with path.open("rb") as file:
        head = file.read(_END_BYTES)
        file.seek(-min(_END_BYTES, file.seek(0, os.SEEK_END)), os.SEEK_END)
        tail = file.read(_END_BYTES)
    kind = kind_of_bytes(head, tail, suffix=path.suffix.lower())
    if kind is not FileKind.TEXT or head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] not in {b"{", b"["}:
        return kind
    values = _read_json(path)
    return kind if values is None else kind_of_json(values)


def _kind_by_neighbor(path: Path) -> tuple[FileKind, tuple[Path, ...]]:
    """Of a file without a sign of its own: weights tell by the graph beside them."""
    name = path.name
    for suffix in (".data", "_data", ".weights"):
        stem = name.removesuffix(suffix)
        if stem != name:
            for graph in (path.with_name(stem), path.with_name(f"{stem}.onnx")):
                if graph.suffix.lower() == ".onnx" and graph.is_file():
                    return FileKind.ONNX_WEIGHTS, (graph,)
    xml = path.with_suffix(".xml")
    if path.suffix.lower() == ".bin" and xml.is_file() and _kind_of_file(xml) is FileKind.IR:
        return FileKind.IR_WEIGHTS, (xml,)
    return FileKind.UNKNOWN, ()

"""Files of weights that no reader here has; whatever else a file is, ``file_kinds`` tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import InputFileError
from s2tf_edge.file_kinds import PUBLISHED, FileKind, FoundFile, check_kind, find_kind
from s2tf_edge.text_file import read_text
from s2tf_edge.words import first_few

__all__ = ["check_published"]

_MAX_INDEX_BYTES: Final = 16 * 2**20
_TO_ONNX: Final = (
    "export the network to ONNX from its own code and give that: s2tf-export NETWORK.onnx --meta FILE.json "
    "--target openvino"
)
_FRAMEWORKS: Final = {".pdparams": "PaddlePaddle", ".msgpack": "JAX"}
"""By the endings of their weights, which nothing else tells: one is a pickle like PyTorch's older files."""
_OF_TORCH_SAVE: Final = (b"PK\x03\x04", b"\x80\x02\x8a")
"""What ``torch.save`` begins its files with, since 1.6 and before."""


def check_published(path: Path) -> FoundFile:
    """Looks at what is given for a published checkpoint, before it is read.

    Raises:
        InputFileError: it is something else, or weights that only another library reads; what to do about it.
    """
    found = find_kind(path)
    explanation = _explain_framework(path) or (_explain_index(path) if found.kind is FileKind.JSON else None)
    if explanation:
        msg = f"{path} {explanation}"
        raise InputFileError(msg)
    return check_kind(path, PUBLISHED)


def _explain_framework(path: Path) -> str | None:
    framework = _FRAMEWORKS.get(path.suffix.lower())
    if framework is None or not path.is_file():
        return None
    with path.open("rb") as file:
        is_pytorch = file.read(4).startswith(_OF_TORCH_SAVE)
    return None if is_pytorch else f"holds weights of {framework}; {_TO_ONNX}"


def _explain_index(path: Path) -> str | None:
    """Of a JSON file that says in which parts of a checkpoint each weight lies."""
    parts = _parts(json.loads(read_text(path, max_bytes=_MAX_INDEX_BYTES)))
    if not parts:
        return None
    return (
        f"is the index of a checkpoint in {len(parts)} parts ({first_few(parts, 3)}); load it with its own library and "
        "save one file: torch.save(model.state_dict(), 'weights.pth')"
    )


def _parts(index: Any) -> list[str]:
    places = index.get("weight_map") if isinstance(index, dict) else None
    names = places.values() if isinstance(places, dict) else ()
    return sorted({name for name in names if isinstance(name, str) and name.isprintable()})

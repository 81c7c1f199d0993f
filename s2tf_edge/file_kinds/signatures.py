"""Kinds told by the first bytes of a file, and by the last of an archive's; nothing is unpacked or unpickled."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from s2tf_edge.file_kinds.kinds import FileKind

__all__ = ["kind_of_bytes", "kind_of_json", "parse_json"]

_STARTS: Final[Mapping[bytes, FileKind]] = {
    b"version https://git-lfs": FileKind.POINTER,
    b"\x93NUMPY": FileKind.ARRAYS,
    b"\x89HDF\r\n\x1a\n": FileKind.KERAS,
    b"GGUF": FileKind.GGUF,
    b"%PDF-": FileKind.PDF,
    b"\x1aE\xdf\xa3": FileKind.VIDEO,  # Matroska, WebM
    b"FLV\x01": FileKind.VIDEO,
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": FileKind.VIDEO,  # ASF
    b"\x00\x00\x01\xba": FileKind.VIDEO,  # MPEG
    b"\x00\x00\x01\xb3": FileKind.VIDEO,
    b"OggS": FileKind.VIDEO,
    b"\x89PNG\r\n": FileKind.PICTURE,
    b"\xff\xd8\xff": FileKind.PICTURE,  # JPEG
    b"GIF8": FileKind.PICTURE,
    b"\x1f\x8b": FileKind.ARCHIVE,  # gzip
    b"BZh": FileKind.ARCHIVE,
    b"\xfd7zXZ": FileKind.ARCHIVE,
    b"7z\xbc\xaf": FileKind.ARCHIVE,
    b"Rar!": FileKind.ARCHIVE,
    b"\x28\xb5\x2f\xfd": FileKind.ARCHIVE,  # Zstandard
}
_FIFTH: Final[Mapping[bytes, FileKind]] = {
    **dict.fromkeys((b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"), FileKind.VIDEO),
    b"TFL3": FileKind.TFLITE,
    b"ORTM": FileKind.ORT,
    b"ET12": FileKind.EXECUTORCH,
}
"""What stands behind a length or offset of four bytes: boxes of MP4, and file identifiers of FlatBuffers."""
_RIFF: Final[Mapping[bytes, FileKind]] = {b"AVI ": FileKind.VIDEO, b"WEBP": FileKind.PICTURE}
_OUR_MODEL: Final = b"s2tf_edge.model"
_OUR_RUN: Final = b"s2tf_run"
"""Keys that a model.pt and a training run's checkpoint have in their dictionaries."""
_TS_PACKETS: Final = ((0, 188), (4, 192))
"""Where MPEG-TS has its first sync byte, and how far on the next ones: .ts and .m2ts."""
_ONNX: Final = re.compile(rb"\x08[\x01-\x1f][\x12\x1a\x22\x28\x32\x3a\x42\x72]")
"""ModelProto: an IR version, then one of its other fields."""
_SAFETENSORS: Final = re.compile(rb"[\x00-\xff]{5}\x00{3}\{[ \"}]")
"""The length of a JSON object, which begins with a name."""
_WEB_PAGE: Final = re.compile(r"(<\?xml[^>]*>\s*)?<(!doctype html|html|head|error)[\s>]")
"""HTML, or the XML in which stores of files say what went wrong."""
_PYTORCH_01: Final = b"sys_info\0"
"""What the tar archives of PyTorch 0.1 begin with."""
_CLIP_KEYS: Final = frozenset({"frames", "crop", "mean", "std"})


def kind_of_bytes(head: bytes, tail: bytes, *, suffix: str) -> FileKind:
    """What a file is.

    Args:
        head: its first bytes, some megabytes where there are as many.
        tail: its last bytes, which hold the directory of a zip archive.
        suffix: of its name, in lower case; where bytes do not tell, it does.
    """
    if not head:
        return FileKind.EMPTY
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(head, tail)
    for start, kind in _STARTS.items():
        if head.startswith(start):
            return kind
    return _kind_within(head) or _kind_of_network(head, suffix) or _kind_of_text(head, suffix)


def _kind_within(head: bytes) -> FileKind | None:
    """By what stands further on."""
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    if head[4:8] in _FIFTH and b"\0" in head[:4]:
        return _FIFTH[head[4:8]]
    if head[257:262] == b"ustar":
        return FileKind.CHECKPOINT if head.startswith(_PYTORCH_01) else FileKind.ARCHIVE
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return FileKind.PICTURE
    if any(head[at : at + 3 * step : step] == b"\x47" * 3 for at, step in _TS_PACKETS):
        return FileKind.VIDEO
    return None


def _kind_of_zip(head: bytes, tail: bytes) -> FileKind:
    """PyTorch's files are zip archives, whose members tell what kind; they are stored as they are."""
    if b"/archive_format" in tail or b"serialized_exported_program.json" in tail:
        return FileKind.EXPORTED_PROGRAM
    if b"/constants.pkl" in tail:
        return FileKind.TORCHSCRIPT
    if b"model.weights.h5" in tail:
        return FileKind.KERAS
    if b".npy" in head[:1024]:
        return FileKind.ARRAYS
    if b"data.pkl" not in head and b"data.pkl" not in tail:
        return FileKind.ARCHIVE
    if _OUR_MODEL in head:
        return FileKind.MODEL
    return FileKind.RUN_CHECKPOINT if _OUR_RUN in head else FileKind.CHECKPOINT


def _kind_of_network(head: bytes, suffix: str) -> FileKind | None:
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return FileKind.CHECKPOINT  # a pickle
    if head[1:4] == b"trt" or suffix in {".engine", ".plan", ".trt"}:
        return FileKind.ENGINE
    if suffix == ".safetensors" or _SAFETENSORS.match(head):
        return FileKind.SAFETENSORS
    is_onnx = _ONNX.match(head) is not None
    # A saved_model.pb begins like a graph of IR version 1, which no tool writes any more.
    if suffix in {".pb", ".pbtxt"} and not (is_onnx and head[1] > 2):
        return FileKind.GRAPHDEF
    return FileKind.ONNX if is_onnx else None


def _kind_of_text(head: bytes, suffix: str) -> FileKind:
    text = _decode(head)
    if text is None:
        return FileKind.UNKNOWN
    start = text[:4096].lstrip().lower()
    if _WEB_PAGE.match(start):
        return FileKind.WEB_PAGE
    if start.startswith(("<?xml", "<net")) and "<net " in start:
        return FileKind.IR
    return FileKind.LIST if suffix in {".txt", ".csv"} else FileKind.TEXT


def _decode(head: bytes) -> str | None:
    """The text that a file begins with, whose last character may be cut in two; None where it is none."""
    try:
        return None if b"\0" in head else codecs.getincrementaldecoder("utf-8-sig")().decode(head)
    except UnicodeDecodeError:
        return None


def kind_of_json(values: Any) -> FileKind:
    """What the content of a JSON file is for."""
    if isinstance(values, dict) and len(_CLIP_KEYS & values.keys()) > 1:
        return FileKind.CLIP_FILE
    if isinstance(values, dict) and all(type(value) is int for value in values.values()):
        names = sorted(values.values()) == list(range(len(values)))
    else:
        names = isinstance(values, list) and all(isinstance(value, str) for value in values)
    return FileKind.CLASS_NAMES if values and names else FileKind.JSON


def parse_json(data: bytes) -> Any:
    """The content of a JSON file; None where it is none."""
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None

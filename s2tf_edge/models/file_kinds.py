"""What a file is that was given for a PyTorch checkpoint and is none: told by its first bytes, before it is loaded.

Nothing of a file is believed but what stands here: it may come from anywhere.
"""

from __future__ import annotations

import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from s2tf_edge.errors import InputFileError

__all__ = ["check_checkpoint_file", "is_safetensors"]

_HEAD_BYTES: Final = 4096
_MAX_HEADER_BYTES: Final = 100_000_000
"""What the format allows for the header of a .safetensors file."""
_SHOWN_NAMES: Final = 3

_TO_ONNX: Final = "export the network to ONNX from its own code and give that: s2tf-export NET.onnx --meta CLIP.json"
_AGAIN: Final = "download or copy it again"
_UNPACK: Final = "unpack it, and give the checkpoint inside"

_BEGINNINGS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"version https://git-lfs.github.com/spec/", "is a pointer of Git LFS, not the file; fetch it: git lfs pull"),
    (b"\x89HDF\r\n\x1a\n", f"is HDF5, as Keras and TensorFlow write it, which holds no PyTorch weights; {_TO_ONNX}"),
    (b"\x93NUMPY", "is one NumPy array, not a network's weights; give what torch.save or safetensors wrote"),
    (b"\x1f\x8b", f"is a gzip archive; {_UNPACK}"),
    (b"BZh", f"is a bzip2 archive; {_UNPACK}"),
    (b"\xfd7zXZ\x00", f"is an xz archive; {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"is a zstd archive; {_UNPACK}"),
    (b"7z\xbc\xaf\x27\x1c", f"is a 7z archive; {_UNPACK}"),
    (b"Rar!", f"is a RAR archive; {_UNPACK}"),
    (b"%PDF", "is a PDF; give what torch.save or safetensors wrote"),
    (b"GGUF", f"is a GGUF file, which holds quantized language models; {_TO_ONNX}"),
)
"""First bytes, and what they say."""

_PLACES: Final[tuple[tuple[int, bytes, str], ...]] = (
    (4, b"TFL3", f"is a TensorFlow Lite model, which holds no PyTorch weights; {_TO_ONNX}"),
    (4, b"ET1", f"is an ExecuTorch program, which holds no PyTorch weights; {_TO_ONNX}"),
    (4, b"ftyp", "is a video; give what torch.save or safetensors wrote"),
)
"""Bytes further on, and what they say."""

_SUFFIXES: Final = {
    ".onnx": "is an ONNX graph, which needs no import; give it to s2tf-export NET.onnx --meta CLIP.json",
    ".pdparams": f"holds weights of PaddlePaddle; {_TO_ONNX}",
    ".engine": "is an engine of TensorRT, compiled for one GPU; give the network that it was built from",
    ".plan": "is an engine of TensorRT, compiled for one GPU; give the network that it was built from",
    ".xml": "is a text, such as OpenVINO's model.xml; artifacts run as they are: s2tf-stream FOLDER",
    ".npz": "holds NumPy arrays; give what torch.save or safetensors wrote",
    ".pb": f"is a graph of TensorFlow, or an ONNX graph; {_TO_ONNX}",
    ".msgpack": f"holds weights of JAX; {_TO_ONNX}",
}
"""Kinds that are told by the name alone, where the file is no PyTorch file."""


def check_checkpoint_file(path: Path) -> None:
    """Refuses what is no PyTorch checkpoint, with what it is and what to do.

    Raises:
        InputFileError: the file is missing, unreadable, or of a kind that is known and another.
    """
    if path.is_dir():
        msg = f"{path} is not a file but {_what_folder(path)}"
        raise InputFileError(msg)
    if not path.is_file():
        msg = f"{path} does not exist"
        raise InputFileError(msg)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        found = _what(path, head)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror or error}"
        raise InputFileError(msg) from error
    if found:
        msg = f"{path} {found}"
        raise InputFileError(msg)


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as a .safetensors one: the length of a header, and JSON; whole or cut short."""
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_HEADER_BYTES


def _what(path: Path, head: bytes) -> str | None:
    if not head:
        return f"is empty; {_AGAIN}"
    for check in _CHECKS:
        if found := check(path, head):
            return found
    return None


def _by_bytes(path: Path, head: bytes) -> str | None:
    del path
    if head[:1] == b"\x08" and head[1:2] < b"\x20" and head[2:3] in {b"\x12", b":"}:  # its version, then who made it
        return _SUFFIXES[".onnx"]
    beginning = next((what for start, what in _BEGINNINGS if head.startswith(start)), None)
    return beginning or next((what for at, mark, what in _PLACES if head[at : at + len(mark)] == mark), None)


def _by_text(path: Path, head: bytes) -> str | None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:512].lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "is a web page (HTML), such as a login or an error, saved in place of the file; download the file itself"
    if text.startswith(b"<?xml"):
        return _SUFFIXES[".xml"] if b"<net" in text else f"is a text (XML), such as a server's error; {_AGAIN}"
    if text.startswith(b"{"):
        return _what_json(path)
    return None


def _what_json(path: Path) -> str | None:
    if path.stat().st_size > _MAX_HEADER_BYTES:
        return None
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    shards = sorted({str(name) for name in content.get("weight_map", {}).values()}) if isinstance(content, dict) else []
    if not shards:
        return "is a text (JSON); give what torch.save or safetensors wrote"
    return (
        f"is the index of a checkpoint in {len(shards)} parts ({', '.join(shards[:_SHOWN_NAMES])}); load it with its "
        "own library and save one file: torch.save(model.state_dict(), 'weights.pth')"
    )


def _by_zip(path: Path, head: bytes) -> str | None:
    if not head.startswith(b"PK\x03\x04"):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError):
        return f"is not a PyTorch file, or it is damaged: it is cut short at {path.stat().st_size} bytes; {_AGAIN}"
    return _what_zip(names)


def _what_zip(names: list[str]) -> str | None:
    parts = [name.split("/", 1)[-1] for name in names]
    if any(part.startswith("code/") for part in parts):
        return (
            "is a TorchScript archive, a program and not weights alone; "
            f"{_TO_ONNX}, or save its weights: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth')"
        )
    if "archive_format" in parts or "serialized_exported_program.json" in parts:
        return f"is a program of torch.export, not weights alone; {_TO_ONNX}"
    if "data.pkl" in parts:
        return None
    if "config.json" in parts and any(part.endswith(".h5") for part in parts):
        return f"is a Keras model, which holds no PyTorch weights; {_TO_ONNX}"
    if names and all(name.endswith(".npy") for name in names):
        return _SUFFIXES[".npz"]
    inside = [name for name in names if name.endswith((".pth", ".pt", ".pyth", ".ckpt", ".safetensors", ".tar"))]
    shown = f" of {len(inside)} checkpoints ({', '.join(inside[:_SHOWN_NAMES])})" if inside else ""
    return f"is a zip archive{shown}; {_UNPACK}"


def _by_tar(path: Path, head: bytes) -> str | None:
    if head[257:262] != b"ustar":
        return None
    try:
        with tarfile.open(path) as archive:
            names = [member.name for member in archive.getmembers()[:1000]]
    except (tarfile.TarError, OSError, ValueError):
        names = []
    if {"storages", "tensors", "pickle"} <= set(names):
        return "was written by PyTorch 0.1, which is no longer read; load and save it with PyTorch 1 first"
    return f"is a tar archive; {_UNPACK}"


def _by_safetensors(path: Path, head: bytes) -> str | None:
    length = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or length > _MAX_HEADER_BYTES or path.stat().st_size >= length + 8:
        return None
    return f"is a .safetensors file that is cut short at {path.stat().st_size} bytes; {_AGAIN}"


def _by_suffix(path: Path, head: bytes) -> str | None:
    is_pytorch = head.startswith((b"PK\x03\x04", b"\x80\x02\x8a"))
    return None if is_pytorch else _SUFFIXES.get(path.suffix.lower())


_CHECKS: Final[tuple[Callable[[Path, bytes], str | None], ...]] = (
    _by_bytes,
    _by_text,
    _by_zip,
    _by_tar,
    _by_safetensors,
    _by_suffix,
)


def _what_folder(path: Path) -> str:
    names = sorted(each.name for each in path.iterdir())
    files = [name for name in names if name.endswith((".pth", ".pt", ".pyth", ".safetensors"))]
    if "meta.json" in names:
        return "an artifact of s2tf-export, which runs as it is: s2tf-stream FOLDER"
    if ".metadata" in names:
        return (
            "a distributed checkpoint; make one file of it: "
            "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pth"
        )
    if "saved_model.pb" in names:
        return f"a SavedModel of TensorFlow; {_TO_ONNX}"
    inside = f", such as {files[0]}" if files else ""
    return f"a folder; give the file inside{inside}"

"""What lies in an archive, by its directory; nothing is unpacked."""

from __future__ import annotations

import tarfile
import zipfile
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final

__all__ = ["list_members"]

_FIRST: Final = (".pt", ".pth", ".pyth", ".ckpt", ".safetensors", ".onnx", ".xml", ".engine", ".h5")
"""Endings of networks, which come before the files beside them."""
_MAX_MEMBERS: Final = 1000


def list_members(path: Path) -> list[str]:
    """Names of the files in a zip or tar archive, networks first.

    Returns:
        The names; none of an archive that is compressed as a whole, damaged, or of another kind.
    """
    try:
        names = _of_zip(path) if zipfile.is_zipfile(path) else _of_tar(path)
    except (zipfile.BadZipFile, tarfile.TarError, OSError, ValueError, NotImplementedError):
        return []
    # Names are anybody's: those that a terminal would take for something else are left out.
    shown = [name for name in names if name.isprintable() and not _is_hidden(name)]
    return sorted(shown, key=lambda name: PurePosixPath(name).suffix.lower() not in _FIRST)


def _of_zip(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return [info.filename for info in archive.infolist()[:_MAX_MEMBERS] if not info.is_dir()]


def _of_tar(path: Path) -> list[str]:
    # "r:" reads no compressed archive, whose members are only found by unpacking it.
    with tarfile.open(path, "r:") as archive:
        return [member.name for member in islice(archive, _MAX_MEMBERS) if member.isfile()]


def _is_hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)

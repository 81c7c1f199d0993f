"""Classes and functions that a checkpoint names, read from its pickle without executing it."""

from __future__ import annotations

import contextlib
import io
import pickletools
import zipfile
from pathlib import Path
from typing import Final

__all__ = ["read_class_names"]

_MAX_BYTES: Final = 64 * 2**20
_HARMLESS: Final = ("collections.OrderedDict", "torch._utils.", "torch._tensor.", "numpy.dtype", "_codecs.encode")


def read_class_names(path: Path) -> set[str]:
    """Names that a file of ``torch.save`` would import, but for those that a state dict of tensors needs.

    Returns:
        Dotted names; none of a file that is damaged or whose pickle has more than 64 MiB.
    """
    try:
        return {name for name in _names_in(_read_pickle(path)) if not _is_harmless(name)}
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile):
        return set()


def _read_pickle(path: Path) -> bytes:
    if not zipfile.is_zipfile(path):
        return path.read_bytes() if path.stat().st_size <= _MAX_BYTES else b""
    with zipfile.ZipFile(path) as archive:
        info = next(each for each in archive.infolist() if each.filename.endswith("data.pkl"))
        return archive.read(info) if info.file_size <= _MAX_BYTES else b""


def _names_in(pickled: bytes) -> set[str]:
    """Of one pickle, or of the few that PyTorch wrote one after the other before 1.6."""
    names, texts, stream = set[str](), list[str](), io.BytesIO(pickled)
    with contextlib.suppress(ValueError, IndexError, UnicodeError):  # behind the pickles, or where one is damaged
        while stream.tell() < len(pickled):
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name == "GLOBAL":
                    names.add(str(argument).replace(" ", "."))
                elif opcode.name == "STACK_GLOBAL" and len(texts) > 1:
                    names.add(".".join(texts[-2:]))
                elif isinstance(argument, str):
                    texts.append(argument)
    return names


def _is_harmless(name: str) -> bool:
    return name.startswith(_HARMLESS) or name.endswith(("Storage", ".scalar")) or name == "torch.Size"

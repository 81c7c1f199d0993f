"""The Python objects of a checkpoint that ``torch.load(weights_only=True)`` refused, named without running a pickle."""

from __future__ import annotations

import contextlib
import io
import pickletools
import re
import zipfile
from pathlib import Path
from typing import Final

__all__ = ["explain_refused_objects"]

_MAX_PICKLE_BYTES: Final = 64 << 20
_SHOWN_NAMES: Final = 3


def explain_refused_objects(path: Path, error: Exception) -> str | None:
    """Why ``torch.load(weights_only=True)`` refused the Python objects of a file; None where it did for another reason.

    Names of classes are read from the pickle, which is not executed.
    """
    if "Unsupported" not in str(error) and "Weights only load failed" not in str(error):
        return None
    names = _class_names(path) or set(re.findall(r"GLOBAL ([\w.]+)", str(error)))
    if any(name.startswith("torch.nn.modules.") for name in names):
        return (
            "is a whole network, saved by torch.save(model), which is refused because loading it runs code; where you "
            "trust it, save its weights with the code that made it: m = torch.load(FILE, weights_only=False); "
            "torch.save(m.state_dict(), 'weights.pth')"
        )
    if not names:
        return None
    shown = ", ".join(sorted(names)[:_SHOWN_NAMES])
    return (
        f"holds Python objects beside tensors, which are refused because loading them can run code ({shown}); where "
        "you trust it, save its weights alone: c = torch.load(FILE, weights_only=False); "
        "torch.save(c['state_dict'], 'weights.pth')"
    )


def _class_names(path: Path) -> set[str]:
    """Classes and functions that a pickle names, but for those that a state dict of tensors needs."""
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    try:
        if not is_zip:
            return _names_in(path.read_bytes() if path.stat().st_size <= _MAX_PICKLE_BYTES else b"")
        with zipfile.ZipFile(path) as archive:
            info = next(each for each in archive.infolist() if each.filename.endswith("data.pkl"))
            return _names_in(archive.read(info) if info.file_size <= _MAX_PICKLE_BYTES else b"")
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile):
        return set()


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
    return {name for name in names if not _is_harmless(name)}


def _is_harmless(name: str) -> bool:
    plain = ("collections.OrderedDict", "torch._utils.", "torch._tensor.", "numpy.dtype", "_codecs.encode")
    return name.startswith(plain) or name.endswith(("Storage", ".scalar")) or name == "torch.Size"

"""Why PyTorch did not read a file: told by what the file holds and by what PyTorch said; no code in it is run."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Final

from s2tf_edge.models.pickle_names import read_class_names
from s2tf_edge.words import first_few

__all__ = ["explain_unopened", "explain_unreadable"]

_HEAD_BYTES: Final = 4096
_WEIGHTS: Final = (".pth", ".pt", ".pyth", ".ckpt", ".safetensors")
_NO_PYTORCH: Final = "is not a PyTorch file, or it is damaged"
_AGAIN: Final = "copy or download it again"


def explain_unopened(path: Path, error: OSError) -> str:
    """Why a file could not be opened: it is missing, a folder, or whatever ``error`` says."""
    if isinstance(error, FileNotFoundError):
        return f"{path} does not exist"
    if not path.is_dir():
        return f"cannot read {path}: {error.strerror or error}"
    names = sorted(each.name for each in path.iterdir())
    if ".metadata" in names:
        return (
            f"{path} is not a file but a distributed checkpoint; make one file of it: "
            "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER weights.pth"
        )
    files = [name for name in names if name.endswith(_WEIGHTS)]
    return f"{path} is not a file but a folder; give the file inside" + (f", such as {files[0]}" if files else "")


def explain_unreadable(path: Path, error: Exception) -> str:
    """Why ``torch.load(weights_only=True)`` failed on a file that can be opened.

    Args:
        path: the file.
        error: what PyTorch raised.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if b"blobs" in head:
        return (
            f"{path} is a Caffe2 pickle (SlowFast's *.pkl), which holds no PyTorch weights; "
            "load it in SlowFast with TRAIN.CHECKPOINT_TYPE caffe2, save a *.pyth there and give that"
        )
    if head[257:262] == b"ustar":
        return f"{path} was written by PyTorch 0.1, which is no longer read; load and save it with PyTorch 1 first"
    if head.startswith(b"PK") and not zipfile.is_zipfile(path):
        return f"{path} {_NO_PYTORCH}: it is cut short at {path.stat().st_size} bytes; {_AGAIN}"
    if objects := _explain_refused_objects(path, error):
        return f"{path} {objects}"
    return f"{path} {_NO_PYTORCH} ({type(error).__name__}); {_AGAIN}"


def _explain_refused_objects(path: Path, error: Exception) -> str | None:
    """Which Python objects were refused; None where it was something else."""
    if "Unsupported" not in str(error) and "Weights only load failed" not in str(error):
        return None
    names = read_class_names(path) or set(re.findall(r"GLOBAL ([\w.]+)", str(error)))
    if any(name.startswith("torch.nn.modules.") for name in names):
        return (
            "is a whole network, saved by torch.save(model), which is refused because loading it runs code; where you "
            "trust it, save its weights with the code that made it: m = torch.load(FILE, weights_only=False); "
            "torch.save(m.state_dict(), 'weights.pth')"
        )
    if not names:
        return None
    return (
        "holds Python objects beside tensors, which are refused because loading them can run code "
        f"({first_few(sorted(names), 3)}); where you trust it, save its weights alone: "
        "c = torch.load(FILE, weights_only=False); torch.save(c['state_dict'], 'weights.pth')"
    )

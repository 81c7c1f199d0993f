"""``model.pt``: a network's weights with everything needed to rebuild and feed it.

One dict of plain values and tensors, which ``torch.load(weights_only=True)`` reads: nothing in it is ever executed.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.file_kinds import MODEL_FILE, check_kind
from s2tf_edge.models.registry import create_model
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.models.unreadable_files import explain_unopened, explain_unreadable
from s2tf_edge.spec import ClipSpec
from s2tf_edge.whole_file import whole_file
from s2tf_edge.words import one_line

__all__ = [
    "FORMAT_VERSION",
    "ModelFile",
    "load_model",
    "read_model_file",
    "read_tensors",
    "save_model",
]

FORMAT_VERSION: Final = 1
_KIND: Final = "s2tf_edge.model"


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """What a ``model.pt`` holds."""

    network: str
    """Name with options, as ``create_model`` takes it."""
    num_classes: int
    clip: ClipSpec
    labels: tuple[str, ...]
    state_dict: Mapping[str, Tensor]
    metrics: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


def save_model(
    path: str | Path,
    model: VideoNetwork,
    *,
    metrics: Mapping[str, Any] | None = None,
    seed: int | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Writes a ``model.pt``; a file of that name stays whole until the new one is.

    Args:
        path: file to write.
        model: a network as ``create_model`` built it, in any mode and on any device.
        metrics: plain values that say how good it is.
        seed: that it was trained from.
        extra: further plain values.

    Raises:
        UsageError: ``model`` is an inference form, which no name rebuilds.
        InputFileError: the file cannot be written.
    """
    if model.is_inference:
        msg = "an inference form cannot be saved as a model file; save the network it was made from"
        raise UsageError(msg)
    content = {
        "kind": _KIND,
        "format": FORMAT_VERSION,
        "network": model.name,
        "num_classes": model.num_classes,
        "clip": model.spec.to_dict(),
        "labels": list(model.labels),
        "state_dict": {key: value.detach().cpu() for key, value in model.state_dict().items()},
        "metrics": dict(metrics or {}),
        "seed": seed,
        "versions": {
            "s2tf-edge": version("s2tf-edge"),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        "extra": dict(extra or {}),
    }
    with whole_file(Path(path)) as file:
        torch.save(content, file)


def load_model(path: str | Path) -> VideoNetwork:
    """The network of a ``model.pt``, in eval mode on the CPU.

    Raises:
        InputFileError: the file is missing, unreadable or not a whole ``model.pt``.
    """
    file = read_model_file(path)
    try:
        # On "meta" no weights are drawn only to be replaced, and the caller's random state stays as it was.
        with torch.device("meta"):
            model = create_model(
                file.network,
                num_classes=file.num_classes,
                frames=file.clip.frames,
                size=file.clip.size,
                labels=file.labels,
            )
        model.load_state_dict(dict(file.state_dict), assign=True)
    except (UsageError, RuntimeError) as error:
        msg = f"{path} does not hold a network that this version can build: {one_line(error)}"
        raise InputFileError(msg) from error
    model.spec = file.clip
    return model.eval()


def read_model_file(path: str | Path) -> ModelFile:
    """Reads a ``model.pt`` without building its network.

    Raises:
        InputFileError: the file is missing, unreadable or not a whole ``model.pt``.
    """
    check_kind(path, MODEL_FILE)
    content = read_tensors(path)
    if not isinstance(content, dict) or content.get("kind") != _KIND:
        msg = f"{path} is not a model file of this package; turn a published checkpoint into one with s2tf-import"
        raise InputFileError(msg)
    number = content.get("format")
    if type(number) is not int or number != FORMAT_VERSION:
        msg = f"{path} has format {number!r}, this version reads {FORMAT_VERSION}; upgrade s2tf-edge"
        raise InputFileError(msg)
    try:
        return ModelFile(
            network=str(content["network"]),
            num_classes=int(content["num_classes"]),
            clip=ClipSpec.from_dict(content["clip"]),
            labels=tuple(str(label) for label in content["labels"]),
            state_dict=_tensors(content["state_dict"]),
            metrics=dict(content["metrics"]),
            seed=content["seed"],
            versions=dict(content["versions"]),
            extra=dict(content["extra"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, RuntimeError) as error:
        # A runtime error is a tensor's, which stands where a number should.
        msg = f"{path} is not a whole model file ({type(error).__name__}: {error}); train or import again"
        raise InputFileError(msg) from error


def read_tensors(path: str | Path) -> Any:
    """What ``torch.save`` wrote, if it is tensors and plain values; code in a file is never run.

    Raises:
        InputFileError: the file is missing, unreadable, truncated, not a PyTorch file, or holds objects that only code
            could rebuild.
    """
    path = Path(path)
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputFileError(explain_unopened(path, error)) from error
    try:
        with torch.serialization.safe_globals(_numpy_scalars()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A damaged file fails in any of a dozen ways, from KeyError and OSError to struct.error.
        raise InputFileError(explain_unreadable(path, error)) from error


def _numpy_scalars() -> list[Any]:
    """What a NumPy number in a checkpoint names, such as a best accuracy: it is made of plain values."""
    dtypes = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")]
    scalar = type(np.float64(0)).__reduce__(np.float64(0))[0]
    names = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [np.dtype, *dtypes, *((scalar, name) for name in names)]


def _tensors(values: Mapping[str, Any]) -> dict[str, Tensor]:
    if any(not isinstance(value, Tensor) for value in values.values()):
        msg = "state_dict holds something else than tensors"
        raise TypeError(msg)
    return dict(values)

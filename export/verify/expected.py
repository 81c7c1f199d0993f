"""``expected.npz``: what the network says of seeded clips, kept beside an engine for whoever builds it anew.

A device that finishes a build has the graph, but neither the network nor PyTorch to ask it.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError
from s2tf_edge.export.verify.seeded_clips import SEEDED_CLIPS
from s2tf_edge.runtime.artifact import EXPECTED_FILE, ArtifactMeta
from s2tf_edge.runtime.session import Outputs

__all__ = ["read_expected", "write_expected"]

_DAMAGE: Final = (OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What numpy makes of a file that is not what it should be."""
_MAX_BYTES: Final = 64 * 2**20
"""Of the file as it unpacks: eight masks of 512×512, and logits, are 8 MiB."""


def write_expected(outputs: Outputs, folder: Path) -> None:
    """Keeps what the network says of ``seeded_clips`` of the artifact."""
    arrays: dict[str, Any] = {"logits": outputs.logits}
    if outputs.mask is not None:
        arrays["mask"] = outputs.mask
    np.savez_compressed(folder / EXPECTED_FILE, **arrays)


def read_expected(folder: Path, meta: ArtifactMeta) -> Outputs:
    """What the network said, of the outputs that the artifact has.

    Raises:
        InputFileError: the file cannot be read, or does not hold what it should: artifacts are untrusted.
    """
    path = folder / EXPECTED_FILE
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            unpacked = sum(each.file_size for each in arrays.zip.infolist())
            if unpacked > _MAX_BYTES:
                msg = f"it unpacks to {unpacked} bytes, more than {_MAX_BYTES}"
                raise ValueError(msg)
            return Outputs(
                logits=_array(arrays, "logits", (len(meta.labels),)),
                mask=_array(arrays, "mask", _mask_sides(meta)) if "mask" in meta.outputs else None,
            )
    except (AttributeError, *_DAMAGE) as error:
        msg = f"{path} does not hold what a network said of seeded clips ({error}); export the model again"
        raise InputFileError(msg) from error


def _mask_sides(meta: ArtifactMeta) -> list[int]:
    """Of a mask as sessions give it: a graph that steps has no axis of time."""
    sides = list(meta.outputs["mask"]["shape"][1:])
    return sides if meta.step is None else [sides[0], 1, *sides[1:]]


def _array(arrays: Mapping[str, NDArray[Any]], name: str, sides: Sequence[int]) -> NDArray[np.float32]:
    array, shape = arrays[name], (SEEDED_CLIPS, *sides)
    if array.shape != shape or array.dtype != np.float32:
        msg = f"{name} must be float32 {list(shape)}, got {array.dtype} {list(array.shape)}"
        raise ValueError(msg)
    return array

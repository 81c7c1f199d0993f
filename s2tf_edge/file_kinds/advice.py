"""What is said of a path that is not what was wanted: what it is, and which command or path is right."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from s2tf_edge.errors import InputFileError
from s2tf_edge.file_kinds.detection import FoundFile, find_kind
from s2tf_edge.file_kinds.kinds import (
    CLIP_FILE,
    MODEL_FILE,
    NETWORK_NAME,
    PORTABLE,
    PUBLISHED,
    TRAINING_RUN,
    FileKind,
    Wanted,
)
from s2tf_edge.file_kinds.members import list_members
from s2tf_edge.words import first_few

__all__ = ["check_kind"]

_EXPORT: Final = "s2tf-export NETWORK.onnx --meta FILE.json --target openvino"
_ORIGIN: Final = f"alone it does not say what clips it takes; export the network it was made from: {_EXPORT}"
_WITH_TF2ONNX: Final = f"write it as ONNX with tf2onnx, then: {_EXPORT}"
_FROM_TORCH: Final = f"write the network it was made from as ONNX with torch.onnx.export, then: {_EXPORT}"
_IMPORT: Final = "import it first: s2tf-import {path} --model NAME --out model.pt"
_PLAY: Final = "it goes behind what recognizes it: s2tf-stream ARTIFACT --source {path}"
_DOWNLOAD: Final = "copy or download the file again"

_ADVICE: Final[Mapping[FileKind, str]] = {
    FileKind.ARTIFACT: "run it: s2tf-stream {path} --source VIDEO",
    FileKind.ARTIFACT_FILE: "it belongs to {folder}, which is run as a whole: s2tf-stream {related} --source VIDEO",
    FileKind.ARTIFACTS: "give one of those in it: {all}",
    FileKind.RUN_FOLDER: "give that: {related}",
    FileKind.MODEL: "export it: s2tf-export {path} --target openvino; or run it: s2tf-stream {path} --source VIDEO",
    FileKind.RUN_CHECKPOINT: (
        "give the network that the run has written, {related}; or go on with it: s2tf-train DATA --resume {path} "
        "--out {folder}"
    ),
    FileKind.CLIP_FILE: "it goes beside its network: s2tf-export {beside} --meta {path} --target openvino",
    FileKind.CLASS_NAMES: "it goes with a checkpoint: s2tf-import CHECKPOINT --model NAME --labels {path}",
    FileKind.CHECKPOINT: _IMPORT,
    FileKind.SAFETENSORS: _IMPORT,
    FileKind.TORCHSCRIPT: _FROM_TORCH,
    FileKind.EXECUTORCH: _FROM_TORCH,
    FileKind.EXPORTED_PROGRAM: f"torch.onnx.export writes what torch.export.load gives as ONNX, then: {_EXPORT}",
    FileKind.ONNX: "export it first: s2tf-export {path} --meta {beside} --target openvino",
    FileKind.ONNX_FOLDER: "export that: s2tf-export {related} --meta FILE.json --target openvino",
    FileKind.ONNX_WEIGHTS: "export the graph they belong to: s2tf-export {related} --meta FILE.json --target openvino",
    FileKind.ORT: _ORIGIN,
    FileKind.IR: _ORIGIN,
    FileKind.IR_FOLDER: _ORIGIN,
    FileKind.IR_WEIGHTS: _ORIGIN,
    FileKind.ENGINE: "alone it does not say what clips it takes; give the artifact folder it came in, or build one: "
    "s2tf-export NETWORK.onnx --meta FILE.json --target trt",
    FileKind.TFLITE: _WITH_TF2ONNX,
    FileKind.GRAPHDEF: _WITH_TF2ONNX,
    FileKind.SAVED_MODEL: _WITH_TF2ONNX,
    FileKind.KERAS: _WITH_TF2ONNX,
    FileKind.VIDEO: _PLAY,
    FileKind.PICTURE: _PLAY,
    FileKind.LIST: _PLAY,
    FileKind.EMPTY: _DOWNLOAD,
    FileKind.WEB_PAGE: f"{_DOWNLOAD}, not the page about it",
    FileKind.POINTER: "fetch the file itself: git lfs pull",
    FileKind.ARCHIVE: "unpack it and give what is in it{members}",
}
"""By what was given; kinds that are missing here need no more than what was wanted."""
_FOR_WANTED: Final[Mapping[tuple[FileKind, Wanted], str]] = {
    (FileKind.CLASS_NAMES, CLIP_FILE): 'name it in one, beside frames, crop, mean and std: {{"labels": "{name}"}}',
    (FileKind.MODEL, NETWORK_NAME): "train from it: s2tf-train DATA --model NAME --pretrained {path} --out DIR; or "
    "export it: s2tf-export {path} --target openvino",
    (FileKind.MODEL, PORTABLE): "export it so first: s2tf-export {path} --target openvino --portable",
    (FileKind.ONNX, PORTABLE): "export it so first: s2tf-export {path} --meta {beside} --target openvino --portable",
    (FileKind.MODEL, TRAINING_RUN): "start a run from its weights with `pretrained={quoted}`",
    (FileKind.RUN_FOLDER, TRAINING_RUN): "give the checkpoint in it: {path}/last.ckpt",
    (FileKind.MODEL, PUBLISHED): "it needs no import; export it as it is: s2tf-export {path} --target openvino",
    (FileKind.ONNX, PUBLISHED): "it needs no import; export it: s2tf-export {path} --meta {beside} --target openvino",
    (FileKind.TORCHSCRIPT, PUBLISHED): (
        "save its weights and import those: torch.save(torch.jit.load({quoted}).state_dict(), 'weights.pth'); "
        f"or {_FROM_TORCH}"
    ),
    (FileKind.EXPORTED_PROGRAM, PUBLISHED): (
        "save its weights and import those: torch.save(torch.export.load({quoted}).state_dict, 'weights.pth'); "
        f"or write it as ONNX with torch.onnx.export, then: {_EXPORT}"
    ),
    (FileKind.RUN_CHECKPOINT, MODEL_FILE): (
        "give the network that the run has written, {related}, or go on with it with `resume={quoted}`"
    ),
}


def check_kind(path: str | Path, wanted: Wanted) -> FoundFile:
    """Looks at what is at ``path`` before it is opened.

    Returns:
        What was found; what is not there or of no known kind passes, for whoever opens it to say what is wrong.

    Raises:
        InputFileError: it is something else than was wanted; the message says which command or path is right.
    """
    found = find_kind(path)
    if wanted.takes(found.kind):
        return found
    advice = _FOR_WANTED.get((found.kind, wanted)) or _ADVICE.get(found.kind)
    says = f"{found.path} is {found.kind.value}"
    if advice is None:
        msg = f"{says}; give {wanted.words}"
        raise InputFileError(msg)
    msg = f"{says}, not {wanted.words}; {_fill(advice, found)}"
    raise InputFileError(msg)


_OTHERS: Final[Mapping[FileKind, str]] = {FileKind.ONNX: "FILE.json", FileKind.CLIP_FILE: "NETWORK.onnx"}
"""What goes with a file, where it does not lie beside it."""


def _fill(advice: str, found: FoundFile) -> str:
    related = [shlex.quote(str(path)) for path in found.related]
    members = list_members(found.path) if found.kind is FileKind.ARCHIVE else []
    return advice.format(
        path=shlex.quote(str(found.path)),
        quoted=repr(str(found.path)),
        name=found.path.name,
        folder=shlex.quote(str(found.path.parent)),
        related=related[0] if related else "its model.pt",
        beside=related[0] if related else _OTHERS.get(found.kind),
        all=first_few(related, 3),
        members=f": {first_few(members, 3)}" if members else "",
    )

"""Opening a session for what lies on disk: a ``model.pt``, or an artifact folder, whose target says what runs it."""

from __future__ import annotations

import dataclasses
import logging
import shlex
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import InputFileError
from s2tf_edge.extras import require
from s2tf_edge.file_kinds import META_FILE, RUNNABLE, FileKind, check_kind, find_kind
from s2tf_edge.runtime.artifact import BUILD_SCRIPT, ArtifactMeta, read_checked, read_meta
from s2tf_edge.runtime.hardware import hardware_facts, saturates_int8
from s2tf_edge.runtime.session import STEP_INPUT, ModelInfo, Session, SessionOptions

__all__ = ["artifact_info", "check_signed", "find_stale_choice", "is_artifact", "open_session"]

logger = logging.getLogger(__name__)

_MAX_BATCH: Final = 1024
_SUFFIXES: Final = (".pt", ".pth", ".onnx", ".xml", ".engine")
"""Endings, in lower case, of networks, by which one that is not there is told."""
_NO_NETWORKS: Final = frozenset(
    {
        *(FileKind.MISSING, FileKind.UNKNOWN, FileKind.EMPTY, FileKind.POINTER, FileKind.WEB_PAGE, FileKind.ARCHIVE),
        *(FileKind.FOLDER, FileKind.ARTIFACTS, FileKind.RUN_FOLDER, FileKind.ONNX_FOLDER, FileKind.IR_FOLDER),
        *(FileKind.VIDEO, FileKind.PICTURE, FileKind.ARRAYS, FileKind.LIST, FileKind.TEXT),
        *(FileKind.JSON, FileKind.CLIP_FILE, FileKind.CLASS_NAMES),
    }
)


def is_artifact(text: str) -> bool:
    """Whether ``text`` names what ``open_session`` is for: a folder with a meta.json, or a network in a file.

    Networks that must be exported or imported first count too, as there is nothing else to do with them. A file with
    the ending of one need not be there. A folder without meta.json is none.
    """
    if not text or "://" in text:
        return False
    path = Path(text)
    is_named_so = path.suffix.lower() in _SUFFIXES or path.name == META_FILE
    return is_named_so or find_kind(path).kind not in _NO_NETWORKS


def open_session(path: str | Path, options: SessionOptions | None = None) -> Session:
    """A session for a ``model.pt`` or an artifact folder; enter it, or call ``open()``, before use.

    A file of an artifact stands for the artifact.

    Raises:
        InputFileError: nothing readable is there, it is something else, files have changed since they were exported, or
            it is not signed by whom ``options`` ask for.
        MissingExtraError: the runtime it needs is not installed.
    """
    path, options = check_kind(path, RUNNABLE).stands_for, options or SessionOptions()
    if path.is_dir():
        return _artifact_session(path, read_checked(path, signers=options.require_signature), options)
    if not path.is_file():
        msg = f"{path} does not exist; give a model.pt or an artifact folder made by s2tf-export"
        raise InputFileError(msg)
    if options.require_signature is not None:
        check_signed(path, options.require_signature)
    require("torch", extra="train", purpose=f"running {path}")
    from s2tf_edge.runtime.backends.torch_session import TorchSession

    return TorchSession.from_file(path, options)


def check_signed(path: Path, signers: Path) -> None:
    """Sees that a network is an artifact that somebody who is trusted signed, and that its files are what was signed.

    Args:
        path: what ``open_session`` takes.
        signers: OpenSSH's list of allowed signers.

    Raises:
        InputFileError: it is not.
        MissingExtraError: there is no ssh-keygen to check it with.
    """
    if not path.is_dir():
        msg = f"{path} has no signature, as artifact folders may; export it, or leave out `require_signature`"
        raise InputFileError(msg)
    read_checked(path, signers=signers)


def _artifact_session(path: Path, meta: ArtifactMeta, options: SessionOptions) -> Session:
    if meta.target not in _BACKENDS:
        msg = f"{path} was built for target {meta.target!r}; this version runs {', '.join(_BACKENDS)} artifacts"
        raise InputFileError(msg)
    if meta.build.get("deferred"):
        quoted = shlex.quote(str(path))
        command = f"s2tf-tune {quoted}" if meta.candidates else f"s2tf-export {quoted} --target {meta.target}"
        finish = f"run its {BUILD_SCRIPT}, or {command}"
        msg = f"the engine of {path} is still to be built: on the device, {finish}"
        raise InputFileError(msg)
    _warn_of_overflow(path, meta, options)
    return _BACKENDS[meta.target](path / meta.model, artifact_info(path, meta), options, meta)


def _warn_of_overflow(path: Path, meta: ArtifactMeta, options: SessionOptions) -> None:
    """Says that integers may come out wrong, where this processor's kernels have no room for all bits of weights."""
    is_here = meta.target in _ON_CPU and options.device.upper() in {"AUTO", "CPU"}
    is_wide = meta.precision.get("asked") == "int8" and meta.build.get("weight_bits", 8) != 7
    if is_here and is_wide and saturates_int8():
        logger.warning(
            "this processor has no VNNI, and int8 weights of 8 bits overflow on it: labels of %s may be wrong; "
            "s2tf-report measures how many; `s2tf-export MODEL --target %s --precision int8 --calib VIDEOS "
            "--weight-bits 7` makes one for it",
            path,
            meta.target,
        )


def find_stale_choice(path: Path) -> str | None:
    """Why another form of a portable artifact may be the fastest by now; None where none is known to be.

    Args:
        path: anything that ``open_session`` takes.

    Raises:
        InputFileError: as ``open_session``.
    """
    folder = check_kind(path, RUNNABLE).stands_for
    meta = read_meta(folder) if folder.is_dir() else None
    if meta is None or not meta.candidates:
        return None
    choose = f"s2tf-tune {shlex.quote(str(folder))} chooses the fastest here"
    tuned, package = meta.build.get("tuned"), _PACKAGES.get(meta.target, "")
    if not isinstance(tuned, Mapping):
        return f"{folder} runs the form that was the fastest where it was exported; {choose}"
    before, now = _text_at(tuned, "machine", "cpu"), hardware_facts()["cpu"]
    if before != now:
        return f"{folder} runs the form that was the fastest on {before}, and this is {now}; {choose}"
    before, now = _text_at(tuned, "versions", package), _installed_version(package)
    if before != now:
        return f"{folder} runs the form that was fastest with {package} {before}, and this is {now}; {choose}"
    return None


def _text_at(tuned: Mapping[str, Any], key: str, name: str) -> str:
    values = tuned.get(key)
    return str(values.get(name, "none")) if isinstance(values, Mapping) else "none"


def _installed_version(package: str) -> str:
    try:
        return metadata.version(package) if package else "none"
    except metadata.PackageNotFoundError:
        return "none"


def _ort(path: Path, info: ModelInfo, options: SessionOptions, _meta: ArtifactMeta) -> Session:
    from s2tf_edge.runtime.backends.ort_session import OrtSession

    return OrtSession(path, info, options)


def _openvino(path: Path, info: ModelInfo, options: SessionOptions, meta: ArtifactMeta) -> Session:
    from s2tf_edge.runtime.backends.openvino_session import OpenVinoSession

    precision = str(meta.precision.get("inference", "default"))
    return OpenVinoSession(path, info, options, inference_precision=precision)


def _tensorrt(path: Path, info: ModelInfo, options: SessionOptions, meta: ArtifactMeta) -> Session:
    from s2tf_edge.runtime.backends.tensorrt_session import TensorRtSession

    built_with = meta.build.get("built_with")
    if not isinstance(built_with, Mapping):
        again = f"s2tf-export {shlex.quote(str(path.parent))} --target {meta.target}"
        msg = f"{path.parent} does not say what built its engine; build it again: {again}"
        raise InputFileError(msg)
    return TensorRtSession(path, info, options, target=meta.target, built_with=built_with)


_BACKENDS: Final[Mapping[str, Callable[[Path, ModelInfo, SessionOptions, ArtifactMeta], Session]]] = {
    "onnx": _ort,
    "openvino": _openvino,
    "trt": _tensorrt,
    "trt-rtx": _tensorrt,
}
"""What runs artifacts, by target."""
_PACKAGES: Final = {"onnx": "onnxruntime", "openvino": "openvino"}
"""What runs artifacts of a target, where an upgrade may make another form the fastest; an engine is bound to one."""
_ON_CPU: Final = frozenset({"onnx", "openvino"})
"""Targets whose artifacts may run on the processor."""


def artifact_info(path: Path, meta: ArtifactMeta) -> ModelInfo:
    """What ``meta`` says of the artifact at ``path``.

    Raises:
        InputFileError: the shape of the input, or the precision, is missing or no such thing.
    """
    name = "clip" if meta.step is None else STEP_INPUT
    try:
        batch = meta.inputs[name]["shape"][0]
        precision = str(meta.precision["asked"])
    except (KeyError, IndexError, TypeError) as error:
        msg = f"{path / META_FILE} lacks the shape of input {name!r} or the precision; export again"
        raise InputFileError(msg) from error
    spec = meta.clip
    if meta.step is not None:
        if type(batch) is not int or batch % meta.step.hop:
            msg = f"{path / META_FILE} has {batch!r} frames a step, no multiple of hop {meta.step.hop}; export again"
            raise InputFileError(msg)
        batch //= meta.step.hop
        spec = dataclasses.replace(spec, frames=meta.step.warm_up)
    if batch is not None and not (type(batch) is int and 1 <= batch <= _MAX_BATCH):
        msg = f"{path / META_FILE} has batch {batch!r}; it must be null or from 1 to {_MAX_BATCH}; export again"
        raise InputFileError(msg)
    return ModelInfo(
        name=path.resolve().name,
        network=meta.network,
        target=meta.target,
        precision=precision,
        spec=spec,
        labels=meta.labels,
        batch=batch,
        has_mask="mask" in meta.outputs,
        step=meta.step,
    )

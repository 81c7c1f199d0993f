"""The artifact folder: a model file that vendors' own tools load, and ``meta.json`` that says what it is.

    model_openvino_int8/
      model.xml model.bin | model.onnx | model.engine model.onnx layers.json
      model.onnx.data   beside a model.onnx of more than 2 GiB
      meta.json      what this module reads and writes
      meta.json.sig  its signature, where it has one; as it has the hashes of all other files, it signs them too
      verify.json    agreement with the PyTorch network
      expected.npz   engines only: what the network says, for whoever builds one anew
      calib.json     int8 only
      build.sh       only while the engine is still to be built on the device
      reproduce.sh
      candidates/    only with --portable: all forms that agree, each an artifact of its own, for s2tf-tune

Artifacts are untrusted input: sizes are bounded, file names may not leave the folder, and hashes are checked on
opening, after the signature, where one is asked for.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import InputFileError
from s2tf_edge.file_kinds import META_FILE, RUNNABLE, check_kind
from s2tf_edge.signing import SIGNATURE_SUFFIX, check_signature, sign_file
from s2tf_edge.spec import ClipSpec
from s2tf_edge.step_spec import StepSpec
from s2tf_edge.text_file import read_bytes, write_json
from s2tf_edge.words import first_few

__all__ = [
    "BUILD_SCRIPT",
    "CALIBRATION_FILE",
    "CANDIDATES_FOLDER",
    "ENGINE_FILE",
    "EXPECTED_FILE",
    "FORMAT_VERSION",
    "GRAPH_FILE",
    "GRAPH_WEIGHTS_FILE",
    "IR_FILE",
    "IR_WEIGHTS_FILE",
    "LAYERS_FILE",
    "META_FILE",
    "REPRODUCE_SCRIPT",
    "SIGNATURE_FILE",
    "VERIFICATION_FILE",
    "ArtifactMeta",
    "candidate_folders",
    "check_candidates",
    "check_files",
    "check_signable",
    "identify",
    "read_checked",
    "read_meta",
    "sha256",
    "sign_artifact",
    "write_meta",
]

FORMAT_VERSION: Final = 1
GRAPH_FILE: Final = "model.onnx"
GRAPH_WEIGHTS_FILE: Final = "model.onnx.data"
"""Weights of a graph that one ONNX file cannot hold, which ends at 2 GiB."""
ENGINE_FILE: Final = "model.engine"
IR_FILE: Final = "model.xml"
"""OpenVINO's graph, whose weights lie beside it."""
IR_WEIGHTS_FILE: Final = "model.bin"
LAYERS_FILE: Final = "layers.json"
"""Layers of an engine and of the network that it was built from, with their types."""
BUILD_SCRIPT: Final = "build.sh"
"""What finishes a deferred build on the device."""
EXPECTED_FILE: Final = "expected.npz"
"""What the network says of seeded clips, to verify engines that are built anew without it."""
CALIBRATION_FILE: Final = "calib.json"
VERIFICATION_FILE: Final = "verify.json"
REPRODUCE_SCRIPT: Final = "reproduce.sh"
"""What makes the artifact again."""
SIGNATURE_FILE: Final = META_FILE + SIGNATURE_SUFFIX
CANDIDATES_FOLDER: Final = "candidates"
"""Where a portable artifact keeps the forms that it may be; the one that it is lies above, in the same files."""
_MAX_META_BYTES = 16 * 2**20
_TEXT: Final = (str, "a string")
_KINDS: Final[Mapping[str, tuple[type, str]]] = {
    "format": (int, "a number"),
    "network": _TEXT,
    "labels": (list, "a list"),
    "target": _TEXT,
    "model": _TEXT,
}
"""What a value must be, where it is no object."""


@dataclass(frozen=True, kw_only=True)
class ArtifactMeta:
    """What ``meta.json`` holds.

    ``inputs`` and ``outputs`` map a tensor's name to ``{"shape": [...], "dtype": "float32"}``.
    """

    network: str
    """Name of the network, such as ``s2tf_r3d_10?width=0.25``."""
    labels: tuple[str, ...]
    clip: ClipSpec
    target: str
    """What it was built for: onnx, openvino, trt or trt-rtx."""
    precision: Mapping[str, Any]
    """``asked`` (fp32, fp16, int8), ``inference`` (told to the runtime: f32, default), ``obtained`` (layers)."""
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    model: str
    """Name of the file that a runtime opens."""
    files: Mapping[str, str]
    """Sha256 of every file of the folder but ``meta.json`` and its signature, by name."""
    source: Mapping[str, Any] = field(default_factory=dict)
    """``file`` name and ``sha256`` of the model it was exported from."""
    custom_ops: Mapping[str, Any] = field(default_factory=dict)
    build: Mapping[str, Any] = field(default_factory=dict)
    """Options and seconds of the build."""
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)
    candidates: Mapping[str, str] = field(default_factory=dict)
    """Of a portable artifact: sha256 of the ``meta.json`` of each form below ``candidates``, by its folder's name."""
    step: StepSpec | None = None
    """How it steps; None for a network that sees whole clips. In the file its values stand beside the others."""
    format: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, the format version first."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        values["labels"] = list(self.labels)
        values["clip"] = self.clip.to_dict()
        del values["step"]
        form = {"form": "clip"} if self.step is None else self.step.to_dict(self._batch)
        return {"format": values.pop("format"), **values, **form}

    @property
    def _batch(self) -> int | None:
        """Streams that a network takes side by side."""
        assert self.step is not None
        frames = self.inputs["frames"]["shape"][0]
        return None if frames is None else int(frames) // self.step.hop


def write_meta(meta: ArtifactMeta, folder: Path) -> None:
    """Writes ``meta.json`` into ``folder``."""
    write_json(folder / META_FILE, meta.to_dict())


def read_checked(folder: Path, *, signers: Path | None = None) -> ArtifactMeta:
    """What ``meta.json`` says, once every file is seen to be as it says, and it to be signed where that is asked for.

    Args:
        folder: the artifact.
        signers: OpenSSH's list of those who may have signed it; None to take one from anybody.

    Raises:
        InputFileError: as of ``read_meta`` and ``check_files``; or nobody of ``signers`` signed it, or there are files
            that are not signed along.
        MissingExtraError: a signature is asked for, and there is no ssh-keygen to check it with.
    """
    data = _read_meta_bytes(folder)
    if signers is not None:
        _refuse_form_alone(folder)
        # These bytes, and not the file, which may be another one the next time.
        check_signature(data, folder / SIGNATURE_FILE, signers=signers)
    meta = _parse_meta(data, folder)
    if signers is not None:
        _refuse_unsigned(meta, folder)
    check_files(meta, folder)
    return meta


def _refuse_form_alone(folder: Path) -> None:
    whole = folder.absolute().parents[1]
    if folder.absolute().parent.name == CANDIDATES_FOLDER and (whole / SIGNATURE_FILE).exists():
        msg = f"{folder} is one form of {whole}, which is signed as a whole; give that, after s2tf-tune has chosen"
        raise InputFileError(msg)


def check_signable(folder: Path, *, signers: Path | None = None) -> None:
    """Sees that an artifact is as its ``meta.json`` says and holds nothing else, so that a signature covers all of it.

    Args:
        folder: the artifact.
        signers: OpenSSH's list of those who may have signed it before; None to sign what comes from anybody.

    Raises:
        InputFileError: as of ``read_checked``; or a file of one of its forms has changed, or others lie among them.
        MissingExtraError: a signature is asked for, and there is no ssh-keygen to check it with.
    """
    meta = read_checked(folder, signers=signers)
    _refuse_unsigned(meta, folder)
    check_candidates(meta, folder)


def sign_artifact(folder: Path, key: Path, *, signers: Path | None = None) -> Path:
    """Signs an artifact whose files are as its ``meta.json`` says, and with it all of them; gives the signature's path.

    Args:
        folder: the artifact.
        key: see ``sign_file``.
        signers: see ``check_signable``.

    Raises:
        InputFileError: it is no artifact, a file of it or of one of its forms has changed, nobody of ``signers`` signed
            it, or the key cannot be used.
        MissingExtraError: there is no ssh-keygen.
    """
    check_signable(folder, signers=signers)
    return sign_file(folder / META_FILE, key)


def read_meta(folder: Path) -> ArtifactMeta:
    """Reads and checks ``meta.json``; the other files are left alone (see ``check_files``).

    Raises:
        InputFileError: there is no artifact at ``folder``, it was written by a newer version, or it is malformed.
    """
    return _parse_meta(_read_meta_bytes(folder), folder)


def _parse_meta(data: bytes, folder: Path) -> ArtifactMeta:
    values = _parse_json(data, folder / META_FILE)
    version = values.get("format")
    if version != FORMAT_VERSION:
        msg = (
            f"{folder} has artifact format {version!r}, this version reads {FORMAT_VERSION}; "
            "export the model again with this version, or upgrade s2tf-edge"
        )
        raise InputFileError(msg)
    names = {item.name for item in dataclasses.fields(ArtifactMeta)}
    try:
        known: dict[str, Any] = {key: value for key, value in values.items() if key in names - {"step"}}
        _check_types(known)
        known["labels"] = tuple(str(label) for label in known["labels"])
        known["clip"] = ClipSpec.from_dict(known["clip"])
        known["step"] = _read_step(values)
        meta = ArtifactMeta(**known)
        _check_file_names(meta)
    except (KeyError, TypeError, ValueError) as error:
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        msg = f"{folder / META_FILE} is not a valid artifact description ({why}); export again"
        raise InputFileError(msg) from error
    return meta


def check_files(meta: ArtifactMeta, folder: Path) -> None:
    """Compares every file of the artifact with its recorded hash.

    Raises:
        InputFileError: a file is missing or has changed.
    """
    for name, expected in meta.files.items():
        path = folder / name
        if not path.is_file():
            msg = f"{folder} lacks its file {name}; copy the whole folder, or export again"
            raise InputFileError(msg)
        if sha256(path) != expected:
            msg = f"{path} has changed since it was exported (sha256 differs); copy the folder again, or export again"
            raise InputFileError(msg)


def candidate_folders(meta: ArtifactMeta, folder: Path) -> dict[str, Path]:
    """The forms that a portable artifact may be, by name; empty for any other artifact.

    Their descriptions are checked, and hold the hashes of all else.

    Raises:
        InputFileError: one is missing or has changed.
    """
    found = {name: folder / CANDIDATES_FOLDER / name for name in meta.candidates}
    for name, path in found.items():
        if not (path / META_FILE).is_file():
            msg = f"{folder} lacks its form {CANDIDATES_FOLDER}/{name}; copy the whole folder, or export again"
            raise InputFileError(msg)
        if sha256(path / META_FILE) != meta.candidates[name]:
            msg = f"{path} has changed since {folder} was exported; copy the folder again, or export again"
            raise InputFileError(msg)
    return found


def identify(path: Path) -> str:
    """What two networks have in common if they are the same, wherever they lie.

    Of an artifact that is the hash of its ``meta.json``, which has those of all its files; of a ``model.pt`` its own.

    Raises:
        InputFileError: there is none, or it cannot be read.
    """
    place = check_kind(path, RUNNABLE).stands_for
    file = place / META_FILE if place.is_dir() else place
    if not file.is_file():
        msg = f"{path} does not exist; give a model.pt or an artifact folder made by s2tf-export"
        raise InputFileError(msg)
    return sha256(file)


def check_candidates(meta: ArtifactMeta, folder: Path) -> None:
    """Sees that every form of a portable artifact is whole, and that nothing lies among them that nobody signs along.

    Raises:
        InputFileError: a form is missing or has changed, or there are other files.
    """
    forms = candidate_folders(meta, folder)
    if forms:
        _refuse_others(folder / CANDIDATES_FOLDER, set(forms))
    for path in forms.values():
        form = read_meta(path)
        _refuse_unsigned(form, path)
        check_files(form, path)


def sha256(path: Path) -> str:
    """Hex digest of a file.

    Raises:
        InputFileError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(2**20):
                digest.update(block)
            return digest.hexdigest()
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise InputFileError(msg) from error


def _refuse_unsigned(meta: ArtifactMeta, folder: Path) -> None:
    """Refuses files that nobody signs along, of which a runtime might read one."""
    # Of candidates the hashes are signed along too; they are compared where one is chosen.
    signed = {META_FILE, SIGNATURE_FILE, *meta.files, *([CANDIDATES_FOLDER] if meta.candidates else [])}
    _refuse_others(folder, signed)


def _refuse_others(folder: Path, names: set[str]) -> None:
    others = sorted({path.name for path in folder.iterdir()} - names)
    if others:
        msg = f"{folder} holds files that its {META_FILE} does not name ({first_few(others, 3)}); remove them"
        raise InputFileError(msg)


def _read_meta_bytes(folder: Path) -> bytes:
    path = folder / META_FILE
    if not path.is_file():
        msg = f"{folder} is not an artifact folder: it has no {path.name}; make one with s2tf-export"
        raise InputFileError(msg)
    return read_bytes(path, max_bytes=_MAX_META_BYTES, advice="export again")


def _parse_json(data: bytes, path: Path) -> dict[str, Any]:
    try:
        values = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        msg = f"{path} is not valid JSON ({error}); export again"
        raise InputFileError(msg) from error
    if not isinstance(values, dict):
        msg = f"{path} must hold one JSON object, got {type(values).__name__}; export again"
        raise InputFileError(msg)
    return values


def _read_step(values: Mapping[str, Any]) -> StepSpec | None:
    form = values.get("form", "clip")
    if form not in {"clip", "step"}:
        msg = f"form must be clip or step, got {form!r}"
        raise ValueError(msg)
    return StepSpec.from_dict(values) if form == "step" else None


def _check_types(values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        kind, words = _KINDS.get(name, (Mapping, "an object"))
        if not isinstance(value, kind):
            msg = f"{name} must be {words}"
            raise TypeError(msg)


def _check_file_names(meta: ArtifactMeta) -> None:
    for name in (*meta.files, *meta.candidates):
        if Path(name).name != name or name in {"", ".", ".."}:
            msg = f"file name {name!r} leaves the folder"
            raise ValueError(msg)
    if meta.model not in meta.files:
        msg = f"its model {meta.model!r} is none of its files"
        raise ValueError(msg)

"""Building an artifact's engine from the graph in its folder: to finish a deferred build, or for another GPU.

Needs neither PyTorch nor ONNX, so that it runs on the device. The engine is checked against what the network itself
said of seeded clips, which the artifact carries in ``expected.npz``.
"""

from __future__ import annotations

import dataclasses
import logging
import shlex
import shutil
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError, UsageError, VerificationError
from s2tf_edge.export.artifact_folder import (
    SCRIPT_FILE,
    check_destination,
    new_artifact,
    package_versions,
    seal,
    write_script,
)
from s2tf_edge.export.options import ExportOptions
from s2tf_edge.export.targets.base import ENGINE_FILE, GRAPH_FILE, find_target
from s2tf_edge.export.targets.tensorrt_engine import build_engine, find_builder
from s2tf_edge.export.targets.tensorrt_options import EngineOptions
from s2tf_edge.export.targets.tensorrt_target import engine_build
from s2tf_edge.export.verify.runnable import runnable_session
from s2tf_edge.export.verify.verification import SEEDED_CLIPS, Verification, seeded_clips, verify
from s2tf_edge.export.write import write_json
from s2tf_edge.runtime.artifact import META_FILE, ArtifactMeta, check_files, read_meta
from s2tf_edge.runtime.hardware import hardware_facts
from s2tf_edge.runtime.open import artifact_info
from s2tf_edge.runtime.session import Outputs

__all__ = ["EXPECTED_FILE", "RebuildPlan", "is_rebuild", "plan_rebuild", "run_rebuild", "write_expected"]

logger = logging.getLogger(__name__)

EXPECTED_FILE: Final = "expected.npz"
_KEPT: Final = (GRAPH_FILE, EXPECTED_FILE, "calib.json")
"""Files that the new artifact takes over; the others are made anew."""
_ASKED: Final = ("workspace_gib", "version_compatible", "hardware_compatible")
_DAMAGE: Final = (OSError, ValueError, KeyError, TypeError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What numpy makes of a file that is not what it should be."""
_MAX_EXPECTED_BYTES: Final = 64 * 2**20
"""Of ``expected.npz`` as it unpacks: eight masks of 512×512, and logits, are 8 MiB."""


@dataclass(frozen=True, kw_only=True)
class RebuildPlan:
    """An engine to build from an artifact's graph; nothing is built yet."""

    artifact: Path
    meta: ArtifactMeta
    folder: Path
    """Where the finished artifact will be: in place of ``artifact``, but for another target or where told otherwise."""
    engine: EngineOptions
    verify: bool

    @property
    def precision(self) -> str:
        """Of the graph."""
        return str(self.meta.precision["asked"])

    def lines(self) -> list[str]:
        """What would be done, for a dry run."""
        proof = "and verify it against the network" if self.verify else "without verifying it"
        return [
            f"would build the {self.meta.target} {self.precision} engine of {self.artifact}, to {self.folder}",
            proof,
        ]


def is_rebuild(path: Path, target: str) -> bool:
    """Whether ``path`` is an artifact of ``target`` that keeps the graph of its engine."""
    if not path.is_dir() or not (path / GRAPH_FILE).is_file() or target not in {"trt", "trt-rtx"}:
        return False
    return read_meta(path).target in {"trt", "trt-rtx"}


def plan_rebuild(path: Path, options: ExportOptions) -> RebuildPlan:
    """Checks all that can be checked before building.

    Raises:
        BuildError: there is no GPU to build for.
        InputFileError: the artifact is damaged, or the output cannot be written.
        MissingExtraError: TensorRT is not installed.
        UsageError: something else is asked for than what the graph was made for.
    """
    meta = read_meta(path)
    check_files(meta, path)
    info = artifact_info(path, meta)
    find_target(options.target, precision=info.precision)
    _check_options(options, path, precision=info.precision)
    folder = options.out or _default_folder(path, meta, target=options.target)
    check_destination(folder)
    find_builder(options.target)
    engine = dataclasses.replace(options, dynamic_batch=info.batch is None).engine()
    return RebuildPlan(
        artifact=path,
        meta=dataclasses.replace(meta, target=options.target),
        folder=folder,
        engine=_with_asked(engine, meta, path),
        verify=options.verify,
    )


def _default_folder(path: Path, meta: ArtifactMeta, *, target: str) -> Path:
    """The artifact itself; for another target beside it, or one that works would be lost."""
    # Of a link, what it leads to; and "." would be the old folder once the new one has its name.
    folder = path.resolve() if path.is_symlink() or not path.name or path.name == ".." else path
    if target == meta.target:
        return folder
    return folder.with_name(f"{folder.name}_{target}_{meta.precision['asked']}")


def _check_options(options: ExportOptions, path: Path, *, precision: str) -> None:
    if options.precision not in {None, precision}:
        msg = f"the graph in {path} is {precision}, got `precision={options.precision!r}`; leave it out"
        raise UsageError(msg)
    if options.defer_build:
        msg = f"`defer_build=True` makes a folder such as {path}, which is to be finished now; leave it out"
        raise UsageError(msg)
    if settled := options.settled():
        msg = f"`{settled[0]}` was settled when the graph in {path} was made; leave it out, or export the model again"
        raise UsageError(msg)


def _with_asked(engine: EngineOptions, meta: ArtifactMeta, path: Path) -> EngineOptions:
    """What was asked for when the graph was made holds, unless asked otherwise now."""
    try:
        asked = meta.build["engine"]["asked"]
        kept = {name: getattr(engine, name) or asked[name] for name in _ASKED if name in asked}
        return dataclasses.replace(engine, **kept)
    except (KeyError, TypeError, UsageError) as error:
        msg = f"{path / META_FILE} does not say how its engine was asked for ({error}); export the model again"
        raise InputFileError(msg) from error


def run_rebuild(plan: RebuildPlan) -> tuple[ArtifactMeta, Verification | None, float]:
    """Builds, verifies and puts in place.

    Returns:
        The new description, the verification (None without one) and the seconds it all took.

    Raises:
        BuildError: there is no GPU to build for, or the compiler failed.
        InputFileError: the artifact cannot be read or written.
        MissingExtraError: TensorRT is not installed.
        VerificationError: the engine does not agree with the network; the artifact is as it was.
    """
    started = time.perf_counter()
    with new_artifact(plan.folder) as folder:
        for name in _KEPT:
            if (plan.artifact / name).is_file():
                shutil.copy(plan.artifact / name, folder / name)
        _keep_script(plan, folder)
        meta = seal(_built(plan, folder), folder)
        verification = _verify(plan, folder, meta) if plan.verify else None
        meta = seal(meta, folder)
    return meta, verification, time.perf_counter() - started


def _built(plan: RebuildPlan, folder: Path) -> ArtifactMeta:
    logger.info("building %s %s from its graph", plan.meta.target, plan.precision)
    facts = build_engine(folder / GRAPH_FILE, folder / ENGINE_FILE, target=plan.meta.target, options=plan.engine)
    build = engine_build(facts, folder, asked=plan.engine)
    before = {name: value for name, value in plan.meta.build.items() if name != "deferred"}
    return dataclasses.replace(
        plan.meta,
        model=build.files[0],
        files=dict.fromkeys(build.files, ""),
        precision={**plan.meta.precision, "obtained": build.obtained},
        build={**before, **build.options},
        versions={**plan.meta.versions, **package_versions()},
        machine=hardware_facts(),
    )


def _verify(plan: RebuildPlan, folder: Path, meta: ArtifactMeta) -> Verification | None:
    if not (folder / EXPECTED_FILE).is_file():
        logger.warning("%s was exported without verification, so there is nothing to compare with", plan.artifact)
        return None
    expected = _read_expected(folder / EXPECTED_FILE, meta)
    artifact, through = runnable_session(folder, meta)
    with artifact:
        try:
            found = verify(artifact, expected, seeded_clips(meta.clip), precision=plan.precision)
        except VerificationError as error:
            raise VerificationError(_complaint(plan, "logits are not finite")) from error
    found = dataclasses.replace(found, clips="seeded", through=through)
    if not found.passed:
        raise VerificationError(_complaint(plan, str(found)))
    write_json(found.to_dict(), folder / "verify.json")
    return found


def _complaint(plan: RebuildPlan, found: str) -> str:
    return f"the engine does not agree with the network: {found}; {plan.artifact} is as it was; try fp32"


def _keep_script(plan: RebuildPlan, folder: Path) -> None:
    """The command that made the graph makes the engine too, where nothing defers it and target and folder are these."""
    script = plan.artifact / SCRIPT_FILE
    if not script.is_file():
        return
    try:
        arguments = shlex.split(script.read_text(encoding="utf-8").rpartition("\nexec ")[2])
        arguments[arguments.index("--target") + 1] = plan.meta.target
        arguments[arguments.index("--out") + 1] = str(plan.folder.absolute())
    except (ValueError, IndexError):
        logger.warning("%s is not as s2tf-export writes it; the new artifact gets none", script)
        return
    write_script([argument for argument in arguments if argument != "--defer-build"], folder)


def write_expected(outputs: Outputs, folder: Path) -> None:
    """Keeps what the network says of ``seeded_clips``."""
    arrays: dict[str, Any] = {"logits": outputs.logits}
    if outputs.mask is not None:
        arrays["mask"] = outputs.mask
    np.savez_compressed(folder / EXPECTED_FILE, **arrays)


def _read_expected(path: Path, meta: ArtifactMeta) -> Outputs:
    """What the network said, of the outputs that the artifact has."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            unpacked = sum(each.file_size for each in arrays.zip.infolist())
            if unpacked > _MAX_EXPECTED_BYTES:
                msg = f"it unpacks to {unpacked} bytes, more than {_MAX_EXPECTED_BYTES}"
                raise ValueError(msg)
            return Outputs(
                logits=_array(arrays, "logits", (len(meta.labels),)),
                mask=_array(arrays, "mask", meta.outputs["mask"]["shape"][1:]) if "mask" in meta.outputs else None,
            )
    except (AttributeError, *_DAMAGE) as error:
        msg = f"{path} does not hold what a network said of seeded clips ({error}); export the model again"
        raise InputFileError(msg) from error


def _array(arrays: Mapping[str, NDArray[Any]], name: str, sides: Sequence[int]) -> NDArray[np.float32]:
    array, shape = arrays[name], (SEEDED_CLIPS, *sides)
    if array.shape != shape or array.dtype != np.float32:
        msg = f"{name} must be float32 {list(shape)}, got {array.dtype} {list(array.shape)}"
        raise ValueError(msg)
    return array

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
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.export.artifact_folder import check_destination, new_artifact, package_versions, seal, write_script
from s2tf_edge.export.options import ExportOptions
from s2tf_edge.export.targets.base import Target
from s2tf_edge.export.targets.registry import find_target, is_engine
from s2tf_edge.export.targets.tensorrt_engine import build_engine, find_builder
from s2tf_edge.export.targets.tensorrt_options import EngineOptions
from s2tf_edge.export.targets.tensorrt_target import describe_engine
from s2tf_edge.export.triton.interface import check_served
from s2tf_edge.export.triton.publication import check_repository, model_name
from s2tf_edge.export.verify.agreement import verify_artifact
from s2tf_edge.export.verify.expected import read_expected
from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.export.verify.verification import Verification
from s2tf_edge.runtime.artifact import (
    CALIBRATION_FILE,
    ENGINE_FILE,
    EXPECTED_FILE,
    GRAPH_FILE,
    GRAPH_WEIGHTS_FILE,
    META_FILE,
    REPRODUCE_SCRIPT,
    ArtifactMeta,
    read_checked,
    read_meta,
)
from s2tf_edge.runtime.hardware import hardware_facts
from s2tf_edge.runtime.open import artifact_info

__all__ = ["RebuildPlan", "is_rebuild", "plan_rebuild", "run_rebuild"]

logger = logging.getLogger(__name__)

_KEPT: Final = (GRAPH_FILE, GRAPH_WEIGHTS_FILE, EXPECTED_FILE, CALIBRATION_FILE)
"""Files that the new artifact takes over; the others are made anew."""
_ASKED: Final = ("workspace_gib", "version_compatible", "hardware_compatible")


@dataclass(frozen=True, kw_only=True)
class RebuildPlan:
    """An engine to build from an artifact's graph; nothing is built yet."""

    artifact: Path
    meta: ArtifactMeta
    """Of the artifact as it is, but for the target."""
    target: Target
    folder: Path
    """Where the finished artifact will be: in place of ``artifact``, but for another target or where told otherwise."""
    engine: EngineOptions
    verify: bool
    triton: Path | None = None
    """Model repository of Triton to publish the finished artifact in."""

    @property
    def precision(self) -> str:
        """The precision that the graph was made for."""
        return str(self.meta.precision["asked"])

    @property
    def title(self) -> str:
        """What is done, for its progress."""
        return f"building the {self.target.name} {self.precision} engine of {self.artifact}"

    def lines(self) -> list[str]:
        """What would be done, for a dry run."""
        lines = [
            f"would build the {self.target.name} {self.precision} engine of {self.artifact}, to {self.folder}",
            "and verify it against the network" if self.verify else "without verifying it",
        ]
        if self.triton is not None:
            lines.append(f"and publish it for Triton as {self.triton / model_name(self.folder)}")
        return lines


def is_rebuild(path: Path, target: str) -> bool:
    """Whether ``path`` is an engine's artifact, or is to be one, from whose graph one of ``target`` can be built."""
    return is_engine(target) and (path / GRAPH_FILE).is_file() and is_engine(read_meta(path).target)


def plan_rebuild(path: Path, options: ExportOptions, *, signers: Path | None = None) -> RebuildPlan:
    """Checks all that can be checked before building.

    Args:
        path: the artifact.
        options: what is asked for.
        signers: OpenSSH's list of those who may have signed it; None to take one from anybody.

    Raises:
        BuildError: there is no GPU to build for.
        InputFileError: the artifact is damaged or not signed as asked for, or the output cannot be written.
        MissingExtraError: TensorRT is not installed.
        UsageError: something else is asked for than what the graph was made for.
    """
    meta = read_checked(path, signers=signers)
    if meta.candidates:
        msg = f"{path} holds several forms; `s2tf-tune {shlex.quote(str(path))}` builds them all and keeps the fastest"
        raise UsageError(msg)
    info = artifact_info(path, meta)
    target, _ = find_target(options.target, precision=info.precision)
    _check_options(options, path, precision=info.precision)
    folder = options.out or _default_folder(path, meta, target=target.name)
    check_destination(folder)
    if options.triton is not None:
        check_served(target, is_step=meta.step is not None)
        check_repository(options.triton, folder)
    # A missing library should not be found after the graph has been copied.
    find_builder(target)
    engine = dataclasses.replace(options, dynamic_batch=info.batch is None).engine()
    return RebuildPlan(
        artifact=path,
        meta=dataclasses.replace(meta, target=target.name),
        target=target,
        folder=folder,
        engine=_keep_asked(engine, meta, path),
        verify=options.verify,
        triton=options.triton,
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


def _keep_asked(engine: EngineOptions, meta: ArtifactMeta, path: Path) -> EngineOptions:
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
        # Sealed twice: the session that verifies checks hashes, and verifying writes one more file.
        meta = seal(_build(plan, folder), folder)
        verification = _verify(plan, folder, meta) if plan.verify else None
        meta = seal(meta, folder)
    return meta, verification, time.perf_counter() - started


def _build(plan: RebuildPlan, folder: Path) -> ArtifactMeta:
    logger.info("building %s %s from its graph", plan.target.name, plan.precision)
    facts = build_engine(folder / GRAPH_FILE, folder / ENGINE_FILE, target=plan.target, options=plan.engine)
    build = describe_engine(facts, folder, asked=plan.engine)
    before = {name: value for name, value in plan.meta.build.items() if name not in {"deferred", "tried"}}
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
    return verify_artifact(
        folder,
        meta,
        expected=read_expected(folder, meta),
        clips=seeded_clips(artifact_info(folder, meta).spec),
        kind="seeded",
        explain=lambda found: (
            f"the engine does not agree with the network: {found}; {plan.artifact} is as it was; try fp32"
        ),
    )


def _keep_script(plan: RebuildPlan, folder: Path) -> None:
    """The command that made the graph makes the engine too, where nothing defers it and target and folder are these."""
    script = plan.artifact / REPRODUCE_SCRIPT
    if not script.is_file():
        return
    try:
        arguments = shlex.split(script.read_text(encoding="utf-8").rpartition("\nexec ")[2])
        arguments[arguments.index("--target") + 1] = plan.target.name
        arguments[arguments.index("--out") + 1] = str(plan.folder.absolute())
    except (ValueError, IndexError):
        logger.warning("%s is not as s2tf-export writes it; the new artifact gets none", script)
        return
    write_script([argument for argument in arguments if argument != "--defer-build"], folder)

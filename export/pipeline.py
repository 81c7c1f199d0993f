"""From a network to a proved artifact: plan, lower, build, verify, seal, rename."""

from __future__ import annotations

import dataclasses
import functools
import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2tf_edge.calibration.calibration_clips import CalibrationClips
from s2tf_edge.calibration.candidates import read_candidates, tabulate
from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.export.artifact_folder import check_destination, new_artifact, package_versions, seal, write_script
from s2tf_edge.export.fastest import make_fastest
from s2tf_edge.export.options import ExportOptions
from s2tf_edge.export.rebuild import RebuildPlan, is_rebuild, plan_rebuild, run_rebuild
from s2tf_edge.export.sensitivity_page import check_page, write_sensitivity
from s2tf_edge.export.sources.network import Source, open_source
from s2tf_edge.export.targets.base import AUTO, GRAPH_FILE, Build, BuildRequest, Integers, Target, find_target
from s2tf_edge.export.targets.tensorrt_engine import find_builder
from s2tf_edge.export.verify.judge import NetworkJudge
from s2tf_edge.export.verify.proof import Proof, proof_clips, prove
from s2tf_edge.export.verify.runnable import is_engine
from s2tf_edge.export.verify.verification import Verification
from s2tf_edge.export.write import write_json
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.artifact import ArtifactMeta, sha256
from s2tf_edge.runtime.evaluation.multi_view import network_classes
from s2tf_edge.runtime.hardware import hardware_facts
from s2tf_edge.spec import ClipSpec

if TYPE_CHECKING:
    from s2tf_edge.export.graph.lowering import Lowered

__all__ = ["ExportPlan", "ExportResult", "export", "plan_export", "run_plan"]

logger = logging.getLogger(__name__)

_WORDS = {"Convolution": "convolution", "MatMul": "matrix product"}


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """An export whose inputs have been checked; nothing is built or written yet."""

    source: Source
    target: Target
    precision: str
    folder: Path
    """Where the artifact will be."""
    options: ExportOptions
    calib: LabeledVideos | None = None
    """``options.calib``, opened."""
    evaluation: LabeledVideos | None = None
    """``options.eval``, opened."""

    @property
    def spec(self) -> ClipSpec:
        """The clips that the artifact takes."""
        spec = self.source.spec
        return dataclasses.replace(spec, layout="NTHWC", dtype="uint8") if self.options.input == "u8" else spec

    @property
    def batch(self) -> int | None:
        """Clips that the artifact takes at once; None for any number."""
        return None if self.options.dynamic_batch else self.options.batch

    def lines(self) -> list[str]:
        """What would be done, for a dry run."""
        spec, source = self.source.spec, self.source
        clips = f"{len(source.labels)} classes, clips of {spec.frames}×{spec.size}×{spec.size}"
        lines = [
            f"would export {source.name} ({clips}) from {source.given}",
            f"for {self.target.name} in {self.precision}, to {self.folder}",
        ]
        if self.calib is not None:
            count = min(self.options.calib_clips, len(self.calib))
            measures = self.precision in {"int8", AUTO}
            words = f"int8 calibrated on {count} clips" if measures else "verified on clips"
            lines.append(f"{words} of {self.calib.name}")
        if self.options.defer_build:
            lines.append("leaving the engine to be built on the device")
        return [*lines, "and verify it against the network" if self.options.verify else "without verifying it"]

    def command(self) -> list[str] | None:
        """The command line that makes the same artifact again; None where videos were given that have no name."""
        return self.options.command(self.source.given, precision=self.precision, folder=self.folder)


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """A finished artifact."""

    folder: Path
    meta: ArtifactMeta
    verification: Verification | None
    """None where verification was turned off."""
    seconds: float
    """From building to the finished folder."""

    @property
    def is_engine(self) -> bool:
        """Whether it is an engine, which needs its GPU to run."""
        return is_engine(self.meta.target)

    @property
    def is_deferred(self) -> bool:
        """Whether its engine is still to be built on the device."""
        return bool(self.meta.build.get("deferred"))

    def tried_lines(self) -> list[str]:
        """The forms that were tried, where there were several: a table of names and milliseconds, or what was wrong."""
        candidates = read_candidates(self.meta.build)
        return tabulate(candidates) if len(candidates) > 1 else []

    def gate_lines(self) -> list[str]:
        """What was lost against ``max_drop``, where that was asked for."""
        return [f"gate: {self.meta.build['gate']}"] if "gate" in self.meta.build else []

    def layers_line(self) -> str:
        """How many layers run in which type, such as ``integer: 112 of 116 convolutions, 1 of 1 matrix products``."""
        obtained = self.meta.precision["obtained"]
        if "audit" in self.meta.precision:
            return str(self.meta.precision["audit"]["line"])
        counts = [
            f"{count} {_WORDS[kind]}{'' if count == 1 else 's'} in {name}"
            for kind, types in obtained.items()
            for name, count in types.items()
        ]
        return f"layers: {', '.join(counts)}"


def export(model: str | Path, options: ExportOptions, *, progress: Progress = no_progress) -> ExportResult:
    """Exports a network for one target and precision, and verifies the artifact against it.

    Args:
        model: a ``model.pt``, a plain ``.onnx`` with ``options.meta``, an onnx fp32 artifact, or an artifact of
            TensorRT whose engine is to be built, for the first time or again.
        options: what to export for, and how.
        progress: told of each calibration clip.

    Returns:
        The artifact, in place.

    Raises:
        BuildError: the target's compiler refuses the network.
        InputFileError: the model or all of the calibration videos cannot be read, or the output cannot be written.
        MissingExtraError: a package that the target needs is not installed.
        UnsupportedError: the target cannot run an operator of the network.
        UsageError: the target is unknown, or options do not fit together.
        VerificationError: the artifact does not agree with the network; none is left behind.
    """
    return run_plan(plan_export(model, options), progress=progress)


def plan_export(model: str | Path, options: ExportOptions) -> ExportPlan | RebuildPlan:
    """Checks everything that can be checked before building; arguments and errors as for ``export``."""
    path = Path(model)
    if not path.name or path.name == "..":
        path = path.resolve()
    if is_rebuild(path, options.target):
        return plan_rebuild(path, options)
    target, precision = find_target(options.target, precision=options.precision)
    options.check(target, precision=precision)
    folder = options.out or path.with_name(f"{path.stem}_{target.name}_{precision}")
    if target.is_engine and not options.defer_build:
        # A missing library should not be found after minutes of work.
        find_builder(target.name)
    check_destination(folder)
    source = open_source(path, meta=options.meta)
    if options.sensitivity is not None:
        check_page(options.sensitivity)
    evaluation = _opened(options.eval)
    if evaluation is not None and options.max_drop is not None:
        # Labels that the network lacks should not be found after minutes of calibration.
        network_classes(source.labels, evaluation)
    return ExportPlan(
        source=source,
        target=target,
        precision=precision,
        folder=folder,
        options=options,
        calib=_opened(options.calib),
        evaluation=evaluation,
    )


def _opened(data: str | LabeledVideos | None) -> LabeledVideos | None:
    return open_data(data) if isinstance(data, str) else data


def run_plan(plan: ExportPlan | RebuildPlan, *, progress: Progress = no_progress) -> ExportResult:
    """Builds, verifies and puts in place what ``plan_export`` planned; errors as for ``export``."""
    if isinstance(plan, RebuildPlan):
        meta, verification, seconds = run_rebuild(plan)
        return ExportResult(folder=plan.folder, meta=meta, verification=verification, seconds=seconds)
    started = time.perf_counter()
    calibration = _calibration(plan, progress)
    with new_artifact(plan.folder) as folder:
        make = functools.partial(_make, calibration=calibration, progress=progress)
        meta, verification = make_fastest(plan, folder, make) if plan.precision == AUTO else make(plan, folder)
    return ExportResult(folder=plan.folder, meta=meta, verification=verification, seconds=time.perf_counter() - started)


def _make(
    plan: ExportPlan, folder: Path, *, calibration: CalibrationClips | None, progress: Progress
) -> tuple[ArtifactMeta, Verification | None]:
    """A whole artifact of one precision, in an empty folder."""
    started = time.perf_counter()
    proof = _proof(plan, calibration)
    with tempfile.TemporaryDirectory() as work:
        graph = Path(work) / GRAPH_FILE
        lowered = _lower(plan, graph)
        logger.info("building %s %s", plan.target.name, plan.precision)
        integers = _integers_asked(plan, proof, calibration, progress) if plan.precision == "int8" else None
        build = plan.target.build(_request(plan, graph, folder, integers))
    if build.calibration is not None:
        write_json(build.calibration, folder / "calib.json")
    if command := plan.command():
        write_script(command, folder)
    meta = seal(_describe(plan, lowered, build, seconds=time.perf_counter() - started), folder)
    verification = _verify(proof, folder, meta) if plan.options.verify else None
    return seal(meta, folder), verification


def _proof(plan: ExportPlan, calibration: CalibrationClips | None) -> Proof:
    clips, kind = proof_clips(plan.spec, calibration=calibration, evaluation=plan.evaluation)
    return Proof(source=plan.source, precision=plan.precision, clips=clips, kind=kind)


def _integers_asked(
    plan: ExportPlan, proof: Proof, calibration: CalibrationClips | None, progress: Progress
) -> Integers | None:
    if calibration is None:
        return None
    options = plan.options
    return Integers(
        clips=calibration,
        judge=NetworkJudge(proof, evaluation=plan.evaluation, checks_logits=options.verify),
        method=options.calib_method,
        exclude=options.exclude,
        max_drop=options.max_drop,
        sensitivity=functools.partial(write_sensitivity, options.sensitivity) if options.sensitivity else None,
        progress=progress,
    )


def _calibration(plan: ExportPlan, progress: Progress) -> CalibrationClips | None:
    if plan.calib is None:
        return None
    return CalibrationClips(plan.calib, plan.spec, count=plan.options.calib_clips, progress=progress)


def _lower(plan: ExportPlan, path: Path) -> Lowered:
    """Writes the finished graph to ``path``."""
    from s2tf_edge.export.graph.lowering import lower
    from s2tf_edge.export.graph.onnx_file import write_graph

    options = plan.options
    logger.info("making the graph of %s", plan.source.name)
    graph = plan.source.graph(batch=plan.batch, mask=options.mask)
    lowered = lower(
        graph,
        target=plan.target,
        precision=plan.precision,
        custom_ops=options.custom_ops,
        spec=plan.spec,
        opset=options.opset,
    )
    write_graph(lowered.model, path)
    return lowered


def _request(plan: ExportPlan, graph: Path, folder: Path, integers: Integers | None) -> BuildRequest:
    options = plan.options
    return BuildRequest(
        graph=graph,
        network=plan.source.name,
        labels=plan.source.labels,
        spec=plan.spec,
        target=plan.target.name,
        precision=plan.precision,
        folder=folder,
        batch=plan.batch,
        integers=integers,
        engine=options.engine(),
        defer=options.defer_build,
    )


def _describe(plan: ExportPlan, lowered: Lowered, build: Build, *, seconds: float) -> ArtifactMeta:
    source, spec = plan.source, plan.spec
    options = {"batch": plan.batch, "dynamic_batch": plan.options.dynamic_batch}
    return ArtifactMeta(
        network=source.name,
        labels=source.labels,
        clip=spec,
        target=plan.target.name,
        precision=_precision(plan, build),
        inputs={"clip": {"shape": [plan.batch, *spec.input_shape()[1:]], "dtype": spec.dtype}},
        outputs=_outputs(plan, lowered),
        model=build.files[0],
        files=dict.fromkeys(build.files, ""),
        source={"file": source.path.name, "sha256": sha256(source.path)},
        custom_ops=lowered.operators,
        build={"seconds": round(seconds, 3), **options, **lowered.facts, **build.options},
        versions=package_versions(),
        machine=hardware_facts(),
    )


def _precision(plan: ExportPlan, build: Build) -> dict[str, Any]:
    precision = {"asked": plan.precision, "inference": build.inference, "obtained": build.obtained}
    return precision if build.audit is None else {**precision, "audit": build.audit}


def _outputs(plan: ExportPlan, lowered: Lowered) -> dict[str, Any]:
    outputs = {"logits": {"shape": [plan.batch, len(plan.source.labels)], "dtype": "float32"}}
    if plan.options.mask:
        outputs["mask"] = {"shape": [plan.batch, *lowered.output_shape("mask")[1:]], "dtype": "float32"}
    return outputs


def _verify(proof: Proof, folder: Path, meta: ArtifactMeta) -> Verification:
    logger.info("verifying on %d %s clips", len(proof.clips), proof.kind)
    verification = prove(proof, folder, meta)
    write_json(verification.to_dict(), folder / "verify.json")
    return verification

"""From a network to a verified artifact: the function behind ``s2tf-export``, and a model's way through this layer.

    plan       plan.py               plan_export: options and files checked                → ExportPlan
       │
    source     sources/network.py    open_network: TorchNetwork, OnnxNetwork (an artifact too) → graph in float32
       │
    graph      graph/lowering.py     lower, as Target.rules say, pass after pass           → Lowered
       │       passes/               one edit of a graph a module
       │
    target     targets/registry.py   Target.build, a function of *_target.py: BuildRequest → Build, the model's files
       │       targets/int8.py       best_integer_form, each form put to NetworkJudge (verify/judge.py), once the float
       │                             graph that they are made from has agreed as an fp32 artifact would
       │
    verify     verify/reference.py   verify_export: the artifact against its Reference     → Verification
       │
    artifact   artifact_folder.py    new_artifact holds the folder until all is well,
                                     then gives it its name; seal writes meta.json         → ArtifactMeta
       │
    triton     triton/publication.py publish, where asked for: a copy as a model of Triton → Published

Each is called from here, and calls what stands on the floors below it, never back up. ``--precision auto`` goes the way
from graph to verify once for each precision (choice/fastest.py, and choice/portable.py where all are kept); an engine
that is built from its artifact's graph enters at target (rebuild.py).
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2tf_edge.calibration.calibration_clips import CalibrationClips
from s2tf_edge.calibration.candidates import read_candidates, tabulate
from s2tf_edge.errors import UnsupportedError, VerificationError
from s2tf_edge.export.artifact_folder import new_artifact, package_versions, seal, write_script
from s2tf_edge.export.choice.fastest import Made, Make, choose_precisions, make_fastest
from s2tf_edge.export.choice.portable import make_portable
from s2tf_edge.export.options import WEIGHT_BITS, ExportOptions
from s2tf_edge.export.plan import ExportPlan, plan_export
from s2tf_edge.export.rebuild import RebuildPlan, run_rebuild
from s2tf_edge.export.sensitivity_page import write_sensitivity
from s2tf_edge.export.targets.base import Build, BuildRequest, Integers
from s2tf_edge.export.targets.precisions import AUTO
from s2tf_edge.export.targets.registry import COMPILERS, is_engine, runnable_target
from s2tf_edge.export.triton.publication import Published, plan_publication, publish
from s2tf_edge.export.verify.expected import write_expected
from s2tf_edge.export.verify.judge import NetworkJudge
from s2tf_edge.export.verify.reference import (
    Reference,
    compare_stripped,
    verification_clips,
    verified_spec,
    verify_export,
)
from s2tf_edge.export.verify.verification import Verification
from s2tf_edge.progress import Progress, begin_step, no_progress
from s2tf_edge.runtime.artifact import CALIBRATION_FILE, GRAPH_FILE, ArtifactMeta, sha256
from s2tf_edge.runtime.hardware import hardware_facts
from s2tf_edge.runtime.open import artifact_info
from s2tf_edge.runtime.session import STEP_INPUT
from s2tf_edge.text_file import write_json
from s2tf_edge.words import counted

if TYPE_CHECKING:
    from s2tf_edge.export.graph.lowering import Lowered
    from s2tf_edge.export.sources.network import SourceNetwork

__all__ = ["ExportResult", "check_plan", "export", "run_plan"]

logger = logging.getLogger(__name__)

_WORDS = {"Convolution": "convolution", "MatMul": "matrix product"}


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """A finished artifact."""

    folder: Path
    meta: ArtifactMeta
    verification: Verification | None
    """None where verification was turned off."""
    seconds: float
    """From building to the finished folder."""
    published: Published | None = None
    """The artifact in a model repository of Triton, where that was asked for."""

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
            f"{counted(count, _WORDS[kind])} in {name}"
            for kind, types in obtained.items()
            for name, count in types.items()
        ]
        return f"layers: {', '.join(counts)}"


def export(
    model: str | Path,
    options: ExportOptions,
    *,
    require_signature: Path | None = None,
    progress: Progress = no_progress,
) -> ExportResult:
    """Exports a network for one target and precision, and verifies the artifact against it.

    Args:
        model: a ``model.pt``, a plain ``.onnx`` with ``options.meta``, an onnx fp32 artifact, or an artifact of
            TensorRT whose engine is to be built, for the first time or again.
        options: what to export for, and how.
        require_signature: OpenSSH's list of those who may have signed an artifact that is given; None for anybody.
        progress: told of each clip that is calibrated or compared on; a ``NamedProgress`` also which of these goes on.

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
    return run_plan(plan_export(model, options, require_signature=require_signature), progress=progress)


def check_plan(plan: ExportPlan | RebuildPlan) -> None:
    """Makes the graph and has the target read it, as the export would, and keeps nothing: what a dry run accepts, runs.

    It takes seconds, as nothing is compiled. Whether the compiler can build what it has read, and whether the artifact
    agrees, only the export tells. Of precision auto, one that would do is enough.

    Raises:
        InputFileError: the network cannot be read or run, to be compared with.
        MissingExtraError: a package that the target needs is not installed.
        UnsupportedError: the target does not take an operator of the network.
        UsageError: options do not fit the network.
    """
    if isinstance(plan, RebuildPlan):
        return
    if plan.options.verify:
        with plan.source.session():
            pass
    forms = (dataclasses.replace(plan, precision=precision) for precision in choose_precisions(plan))
    refusals = [_find_refusal(form) for form in forms]
    if refusals[0] is not None and all(refusals):
        raise refusals[0]


def _find_refusal(plan: ExportPlan) -> UnsupportedError | None:
    try:
        _read_graph(plan)
    except UnsupportedError as error:
        return error
    return None


def _read_graph(plan: ExportPlan) -> None:
    with tempfile.TemporaryDirectory() as work:
        graph = Path(work) / GRAPH_FILE
        _lower(plan, graph)
        if _makes_integers(plan):
            _check_integers(plan, graph)
        plan.target.read(_request(plan, graph, Path(work), None))


def _makes_integers(plan: ExportPlan) -> bool:
    return plan.precision == "int8" and not plan.is_quantized


def _check_integers(plan: ExportPlan, graph: Path) -> None:
    # Here, as for ``_lower``.
    from s2tf_edge.export.targets.int8 import check_integers

    check_integers(graph, plan.options.exclude)


def run_plan(plan: ExportPlan | RebuildPlan, *, progress: Progress = no_progress) -> ExportResult:
    """Builds, verifies and puts in place what ``plan_export`` planned; errors as for ``export``."""
    if isinstance(plan, RebuildPlan):
        meta, verification, seconds = run_rebuild(plan)
        result = ExportResult(folder=plan.folder, meta=meta, verification=verification, seconds=seconds)
        return _published(result, plan.triton)
    started = time.perf_counter()
    calibration = _calibration(plan, progress)
    with new_artifact(plan.folder) as folder:
        # One for all precisions, so that its clips are read and the network is asked once; and not before one needs it.
        refer = functools.cache(functools.partial(_reference, plan, calibration, progress))
        make = functools.partial(_make, calibration=calibration, refer=refer, progress=progress)
        made = _choose(plan)(plan, folder, make) if plan.precision == AUTO else make(plan, folder)
    seconds = time.perf_counter() - started
    result = ExportResult(folder=plan.folder, meta=made.meta, verification=made.verification, seconds=seconds)
    return _published(result, plan.options.triton)


def _published(result: ExportResult, repository: Path | None) -> ExportResult:
    if repository is None:
        return result
    logger.info("publishing %s for Triton in %s", result.folder, repository)
    return dataclasses.replace(result, published=publish(plan_publication(result.folder, repository)))


def _choose(plan: ExportPlan) -> Callable[[ExportPlan, Path, Make], Made]:
    return make_portable if plan.options.portable else make_fastest


def _make(
    plan: ExportPlan,
    folder: Path,
    *,
    calibration: CalibrationClips | None,
    refer: Callable[[], Reference],
    progress: Progress,
) -> Made:
    """A whole artifact of one precision, in an empty folder; where all forms are kept, those of it beside it."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as work:
        # Outside the artifact, which may hold another form of it: OpenVINO's, or one with integers.
        graph = Path(work) / GRAPH_FILE
        lowered = _lower(plan, graph)
        if _makes_integers(plan):
            # Before any clip is read or the network is asked, which takes minutes.
            _check_integers(plan, graph)
        reference = dataclasses.replace(refer(), precision=plan.precision)
        integers = _integers(plan, reference, calibration, progress) if _makes_integers(plan) else None
        if integers is not None and plan.options.verify:
            _verify_floats(plan, lowered, graph, reference)
        logger.info("building %s %s", plan.target.name, plan.precision)
        begin_step(progress, f"building {plan.target.name} {plan.precision}")
        build = plan.target.build(_request(plan, graph, folder, integers))
    seconds = time.perf_counter() - started
    others: dict[str, Made] = {}
    for name, other in build.others.items():
        place = folder.with_name(name)
        others[name] = _finish(plan, place, _describe(plan, lowered, other, seconds=seconds), other, reference)
    meta = _describe(plan, lowered, build, seconds=seconds)
    return dataclasses.replace(_finish(plan, folder, meta, build, reference), others=others)


def _finish(plan: ExportPlan, folder: Path, meta: ArtifactMeta, build: Build, reference: Reference) -> Made:
    """Verifies what was built in a folder, and seals it with all that is said of it."""
    if build.calibration is not None:
        write_json(folder / CALIBRATION_FILE, build.calibration)
    # One form of several is not made alone.
    if not plan.options.portable and (command := plan.command()):
        write_script(command, folder)
    # Sealed twice: the session that verifies checks hashes, and verifying writes files of its own.
    meta = seal(meta, folder)
    verification = _verify(reference, folder, meta) if plan.options.verify else None
    if plan.options.portable:
        write_expected(reference.seeded(artifact_info(folder, meta).spec), folder)
    return Made(meta=seal(meta, folder), verification=verification)


def _verify_floats(plan: ExportPlan, lowered: Lowered, graph: Path, reference: Reference) -> None:
    """Holds the float graph that integers are made from against the network, as strictly as an fp32 artifact.

    The tolerance of int8 would let an operator pass that the target computes in another way; and what differs in float
    already is not for calibration to mend.
    """
    floats = dataclasses.replace(plan, target=runnable_target(plan.target), precision="fp32")
    few = reference.of_floats()
    logger.info("comparing the float form of %s on %d clips", plan.source.name, len(few.clips))
    begin_step(reference.progress, "comparing the float form")
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        build = floats.target.build(_request(floats, graph, folder, None))
        meta = seal(_describe(floats, lowered, build, seconds=0.0), folder)
        try:
            verify_export(few, folder, meta)
        except VerificationError as error:
            msg = f"int8 was not tried, as the float form that it is made from differs already: {error}"
            raise VerificationError(msg) from error


def _reference(plan: ExportPlan, calibration: CalibrationClips | None, progress: Progress) -> Reference:
    spec = verified_spec(plan.spec, plan.source.step)
    clips, kind = verification_clips(
        spec, calibration=calibration, evaluation=plan.evaluation, are_runs=plan.source.step is not None
    )
    return Reference(source=plan.source, precision=plan.precision, clips=clips, kind=kind, progress=progress)


def _integers(
    plan: ExportPlan, reference: Reference, calibration: CalibrationClips | None, progress: Progress
) -> Integers | None:
    if calibration is None:
        return None
    options = plan.options
    return Integers(
        clips=calibration,
        judge=NetworkJudge(reference, evaluation=plan.labeled, checks_logits=options.verify),
        method=options.calib_method,
        weight_bits=options.weight_bits or WEIGHT_BITS[1],
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
    # Here, for a device that builds engines without ONNX imports this module too.
    from s2tf_edge.export.graph.lowering import lower
    from s2tf_edge.export.graph.onnx_file import write_graph

    options = plan.options
    logger.info("making the graph of %s", plan.source.name)
    graph = plan.source.graph(batch=plan.batch, mask=options.mask)
    lowered = lower(
        graph,
        rules=plan.target.rules,
        targets=COMPILERS,
        precision=plan.precision,
        custom_ops=options.custom_ops,
        spec=plan.spec,
        opset=options.opset,
        is_quantized=plan.is_quantized,
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
        target=plan.target,
        precision=plan.precision,
        folder=folder,
        batch=plan.batch,
        integers=integers,
        is_quantized=plan.is_quantized,
        engine=options.engine(),
        step=plan.source.step,
        defer=options.defer_build,
        keeps_all=options.portable,
    )


def _describe(plan: ExportPlan, lowered: Lowered, build: Build, *, seconds: float) -> ArtifactMeta:
    source, spec = plan.source, dataclasses.replace(plan.spec, frames=plan.source.clip_frames)
    options = {"batch": plan.batch, "dynamic_batch": plan.options.dynamic_batch}
    return ArtifactMeta(
        network=source.name,
        labels=source.labels,
        clip=spec,
        target=plan.target.name,
        precision=_precision(plan, build),
        inputs=_inputs(plan),
        outputs=_outputs(plan, lowered),
        model=build.files[0],
        files=dict.fromkeys(build.files, ""),
        source=_source(source),
        custom_ops=lowered.operators,
        build={"seconds": round(seconds, 3), **options, **lowered.facts, **build.options},
        versions=package_versions(),
        machine=hardware_facts(),
        step=source.step,
    )


def _inputs(plan: ExportPlan) -> dict[str, Any]:
    """The input beside the past."""
    spec, step = plan.spec, plan.source.step
    if step is None:
        return {"clip": {"shape": [plan.batch, *spec.input_shape()[1:]], "dtype": spec.dtype}}
    sides = [spec.size, spec.size]
    shape = [*sides, 3] if spec.dtype == "uint8" else [3, *sides]
    return {STEP_INPUT: {"shape": [step.hop * (plan.batch or 1), *shape], "dtype": spec.dtype}}


def _source(source: SourceNetwork) -> dict[str, Any]:
    changes = {"changes": list(source.changes)} if source.changes else {}
    return {"file": source.path.name, "sha256": sha256(source.path), **changes}


def _precision(plan: ExportPlan, build: Build) -> dict[str, Any]:
    precision = {"asked": plan.precision, "inference": build.inference, "obtained": build.obtained}
    return precision if build.audit is None else {**precision, "audit": build.audit}


def _outputs(plan: ExportPlan, lowered: Lowered) -> dict[str, Any]:
    outputs = {"logits": {"shape": [plan.batch, len(plan.source.labels)], "dtype": "float32"}}
    if plan.options.mask:
        outputs["mask"] = {"shape": [plan.batch, *lowered.output_shape("mask")[1:]], "dtype": "float32"}
    return outputs


def _verify(reference: Reference, folder: Path, meta: ArtifactMeta) -> Verification:
    what = "runs" if reference.source.step else "clips"
    logger.info("verifying on %d %s %s", len(reference.compared), reference.kind, what)
    begin_step(reference.progress, "verifying")
    compare_stripped(reference)
    return verify_export(reference, folder, meta)

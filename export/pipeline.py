"""From a ``model.pt`` to a proved artifact: plan, build, verify, seal, rename."""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from s2tf_edge.calibration.clips import CalibrationClips
from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labelled import LabelledVideos
from s2tf_edge.errors import InputFileError, UsageError, VerificationError
from s2tf_edge.export.artifact import (
    check_destination,
    new_artifact,
    package_versions,
    seal,
    write_json,
    write_script,
)
from s2tf_edge.export.build import Build, BuildRequest, Target, find_target
from s2tf_edge.export.parity import TOLERANCES, Verification, seeded_clips, verify
from s2tf_edge.extras import require
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.artifact import ArtifactMeta, read_meta, sha256
from s2tf_edge.runtime.hardware import hardware_facts
from s2tf_edge.runtime.session import Clips, SessionOptions, open_session

if TYPE_CHECKING:
    from s2tf_edge.models.s2tf import VideoNetwork

__all__ = ["ExportOptions", "ExportPlan", "ExportResult", "export", "plan_export", "run_plan"]

logger = logging.getLogger(__name__)

_UNSEEN_CLIPS: Final = 16
_WORDS: Final = {"Convolution": "convolutions", "MatMul": "matrix products"}


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What to export for, and how.

    Raises:
        UsageError: a value is out of its range, or values do not fit together.
    """

    target: str
    """onnx or openvino."""
    precision: str | None = None
    """fp32, fp16 or int8; None for the target's default (onnx fp32, openvino fp16)."""
    out: Path | None = None
    """The artifact's folder; None for ``<stem>_<target>_<precision>`` beside the model."""
    calib: str | LabelledVideos | None = None
    """Labelled videos, or what ``open_data`` takes: int8 measures ranges on them, every precision is verified on others
    of them. Only what has a name can be made again: with videos of the caller's own there is no ``reproduce.sh``."""
    calib_clips: int = 300
    """How many clips of them at most."""
    exclude: tuple[str, ...] = ()
    """Regular expressions for names of layers that stay in floating point (int8)."""
    dynamic_batch: bool = False
    """Whether the artifact takes any number of clips at once, rather than one."""
    verify: bool = True
    """Whether to compare the artifact with the network."""

    def __post_init__(self) -> None:
        if self.calib_clips < 1:
            msg = f"--calib-clips must be one or more, got {self.calib_clips}"
            raise UsageError(msg)
        for expression in self.exclude:
            _check_expression(expression)


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """An export whose inputs have been checked; nothing is built or written yet."""

    source: Path
    network: VideoNetwork
    target: Target
    precision: str
    folder: Path
    """Where the artifact will be."""
    options: ExportOptions
    calib: LabelledVideos | None = None
    """``options.calib``, opened."""

    def command(self) -> list[str] | None:
        """The command line that makes the same artifact again; None where calibration videos have no name."""
        options = self.options
        if isinstance(options.calib, LabelledVideos):
            return None
        arguments = ["s2tf-export", str(self.source.absolute()), "--target", self.target.name]
        arguments += ["--precision", self.precision, "--out", str(self.folder.absolute())]
        if options.calib is not None:
            data = Path(options.calib)
            name = str(data.absolute()) if data.exists() else options.calib
            arguments += ["--calib", name, "--calib-clips", str(options.calib_clips)]
        arguments += [part for expression in options.exclude for part in ("--exclude", expression)]
        arguments += ["--dynamic-batch"] if options.dynamic_batch else []
        return arguments + ([] if options.verify else ["--no-verify"])


@dataclass(frozen=True, kw_only=True)
class ExportResult:
    """A finished artifact."""

    folder: Path
    meta: ArtifactMeta
    verification: Verification | None
    """None where verification was turned off."""
    seconds: float
    """From building to the finished folder."""

    def layers_line(self) -> str:
        """How many layers run in which type, such as ``integer: 112 of 116 convolutions, 1 of 1 matrix products``."""
        obtained = self.meta.precision["obtained"]
        if self.meta.precision["asked"] == "int8":
            counts = [f"{_integers(types)} of {sum(types.values())} {_WORDS[kind]}" for kind, types in obtained.items()]
            return f"integer: {', '.join(counts)}"
        counts = [
            f"{count} {_WORDS[kind]} in {name}" for kind, types in obtained.items() for name, count in types.items()
        ]
        return f"layers: {', '.join(counts)}"


def _integers(types: Mapping[str, int]) -> int:
    return sum(count for name, count in types.items() if name in {"i8", "u8"})


def export(model: str | Path, options: ExportOptions, *, progress: Progress = no_progress) -> ExportResult:
    """Exports a network for one target and precision, and verifies the artifact against it.

    Args:
        model: a ``model.pt``.
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


def plan_export(model: str | Path, options: ExportOptions) -> ExportPlan:
    """Checks everything that can be checked before building; arguments and errors as for ``export``."""
    source = Path(model)
    target, precision = find_target(options.target, precision=options.precision)
    _check_int8(precision, options)
    folder = options.out or source.with_name(f"{source.stem}_{target.name}_{precision}")
    network = _load(source)
    calib = open_data(options.calib) if isinstance(options.calib, str) else options.calib
    check_destination(folder)
    return ExportPlan(
        source=source, network=network, target=target, precision=precision, folder=folder, options=options, calib=calib
    )


def _check_int8(precision: str, options: ExportOptions) -> None:
    if precision == "int8" and options.calib is None:
        msg = (
            "int8 needs clips to calibrate with; give --calib DATA: a folder of class folders, a list file or synthetic"
        )
        raise UsageError(msg)
    if options.exclude and precision != "int8":
        msg = f"--exclude keeps layers out of int8, but the precision is {precision}; drop one of them"
        raise UsageError(msg)


def _check_expression(expression: str) -> None:
    try:
        re.compile(expression)
    except re.error as error:
        msg = f"--exclude {expression!r} is not a regular expression: {error}"
        raise UsageError(msg) from error


def _load(source: Path) -> VideoNetwork:
    if source.is_dir():
        origin = read_meta(source).source.get("file", "its model.pt")
        msg = f"{source} is an artifact already; give the model it was made from ({origin})"
        raise InputFileError(msg)
    require("torch", extra="export", purpose="exporting")
    from s2tf_edge.models.model_file import load_model

    return load_model(source).eval()


def run_plan(plan: ExportPlan, *, progress: Progress = no_progress) -> ExportResult:
    """Builds, verifies and puts in place what ``plan_export`` planned; errors as for ``export``."""
    started = time.perf_counter()
    calibration = _calibration(plan, progress)
    with new_artifact(plan.folder) as folder:
        logger.info("building %s %s", plan.target.name, plan.precision)
        build = plan.target.build(_request(plan, folder, calibration))
        if build.calibration is not None:
            write_json(build.calibration, folder / "calib.json")
        if command := plan.command():
            write_script(command, folder)
        meta = seal(_describe(plan, build, seconds=time.perf_counter() - started), folder)
        verification = _verify(plan, folder, meta, calibration) if plan.options.verify else None
        if verification is not None:
            write_json(verification.to_dict(), folder / "verify.json")
            meta = seal(meta, folder)
    return ExportResult(folder=plan.folder, meta=meta, verification=verification, seconds=time.perf_counter() - started)


def _calibration(plan: ExportPlan, progress: Progress) -> CalibrationClips | None:
    if plan.calib is None:
        return None
    return CalibrationClips(plan.calib, plan.network.spec, count=plan.options.calib_clips, progress=progress)


def _request(plan: ExportPlan, folder: Path, calibration: CalibrationClips | None) -> BuildRequest:
    return BuildRequest(
        network=plan.network,
        precision=plan.precision,
        folder=folder,
        dynamic_batch=plan.options.dynamic_batch,
        calibration=calibration,
        exclude=plan.options.exclude,
    )


def _describe(plan: ExportPlan, build: Build, *, seconds: float) -> ArtifactMeta:
    network = plan.network
    batch = None if plan.options.dynamic_batch else 1
    return ArtifactMeta(
        network=network.name,
        labels=tuple(network.labels),
        clip=network.spec,
        target=plan.target.name,
        precision={"asked": plan.precision, "inference": build.inference, "obtained": build.obtained},
        inputs={"clip": {"shape": [batch, *network.spec.input_shape()[1:]], "dtype": network.spec.dtype}},
        outputs={"logits": {"shape": [batch, network.num_classes], "dtype": "float32"}},
        model=build.files[0],
        files=dict.fromkeys(build.files, ""),
        source={"file": plan.source.name, "sha256": sha256(plan.source)},
        build={"seconds": round(seconds, 3), "dynamic_batch": plan.options.dynamic_batch, **build.options},
        versions=package_versions(),
        machine=hardware_facts(),
    )


def _verify(plan: ExportPlan, folder: Path, meta: ArtifactMeta, calibration: CalibrationClips | None) -> Verification:
    from s2tf_edge.runtime.backends.torch_session import TorchSession

    if calibration is None:
        clips, kind = seeded_clips(meta.clip), "seeded"
    else:
        clips, kind = calibration.unseen(_UNSEEN_CLIPS), "unseen"
    logger.info("verifying on %d %s clips", len(clips), kind)
    # A GPU would compute in TF32, whose error is larger than what fp32 is allowed.
    on_cpu = SessionOptions(device="CPU")
    reference = TorchSession.from_network(plan.network, path=plan.source, options=on_cpu)
    with open_session(folder, on_cpu) as artifact, reference:
        try:
            found = dataclasses.replace(verify(artifact, reference, clips, precision=plan.precision), clips=kind)
        except VerificationError as error:
            raise VerificationError(_complaint(plan, folder, meta, clips[0], "logits are not finite")) from error
    if not found.passed:
        raise VerificationError(_complaint(plan, folder, meta, clips[0], str(found)))
    return found


def _complaint(plan: ExportPlan, folder: Path, meta: ArtifactMeta, clip: Clips, found: str) -> str:
    from s2tf_edge.export.layers import first_diverging_layer

    tolerance = TOLERANCES[plan.precision].max_error
    layer = first_diverging_layer(plan.network, folder, meta=meta, clip=clip, tolerance=tolerance)
    advice = "try more calibration clips or another precision" if plan.precision == "int8" else "try another precision"
    where = f"the first layer that differs is {layer}" if layer else "every convolution agrees by itself"
    return (
        f"the {plan.target.name} {plan.precision} artifact does not agree with {plan.source.name}: {found}; {where}; "
        f"nothing was written; {advice}"
    )

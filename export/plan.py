"""What an export is going to be: everything checked that can be checked before minutes of work, and nothing written."""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path

from s2tf_edge.data.datasets import open_videos
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.data.sides import Use
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import UsageError
from s2tf_edge.export.artifact_folder import check_destination
from s2tf_edge.export.options import WEIGHT_BITS, ExportOptions
from s2tf_edge.export.rebuild import RebuildPlan, is_rebuild, plan_rebuild
from s2tf_edge.export.sensitivity_page import check_page
from s2tf_edge.export.sources.network import SourceNetwork, open_network
from s2tf_edge.export.targets.base import Target
from s2tf_edge.export.targets.precisions import AUTO
from s2tf_edge.export.targets.registry import FLOAT_TARGETS, find_target
from s2tf_edge.export.targets.tensorrt_engine import find_builder
from s2tf_edge.export.triton.interface import check_served
from s2tf_edge.export.triton.publication import check_repository, model_name
from s2tf_edge.file_kinds import find_kind
from s2tf_edge.runtime.evaluation.multi_view import network_classes
from s2tf_edge.runtime.hardware import saturates_int8
from s2tf_edge.spec import ClipSpec
from s2tf_edge.words import counted

__all__ = ["ExportPlan", "plan_export"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """An export whose inputs have been checked; nothing is built or written yet."""

    source: SourceNetwork
    target: Target
    precision: str
    folder: Path
    """Where the artifact will be."""
    options: ExportOptions
    calib: Videos | None = None
    """``options.calib``, opened."""
    evaluation: Videos | None = None
    """``options.eval``, opened; with labels where ``options.max_drop`` is given."""

    @property
    def spec(self) -> ClipSpec:
        """The clips that the artifact takes."""
        spec = self.source.spec
        return dataclasses.replace(spec, layout="NTHWC", dtype="uint8") if self.options.input == "u8" else spec

    @property
    def batch(self) -> int | None:
        """Clips that the artifact takes at once; None for any number."""
        return None if self.options.dynamic_batch else self.options.batch

    @property
    def is_quantized(self) -> bool:
        """Whether the network came quantized, and is kept so."""
        return self.source.quantization is not None

    @property
    def labeled(self) -> LabeledVideos | None:
        """Videos to measure top-1 on; None where none were given, or they have no labels."""
        return self.evaluation if isinstance(self.evaluation, LabeledVideos) else None

    @property
    def title(self) -> str:
        """What is done, for its progress."""
        return f"exporting for {self.target.name}, {self.precision}{self._describe_step()}"

    def lines(self) -> list[str]:
        """What would be done, for a dry run."""
        spec, source = self.source.spec, self.source
        clips = f"{len(source.labels)} classes, clips of {spec.frames}×{spec.size}×{spec.size}"
        lines = [
            f"would export {source.name} ({clips}) from {source.given}{self._describe_step()}",
            f"for {self.target.name} in {self.precision}, to {self.folder}",
        ]
        if self.is_quantized:
            lines.append(f"keeping its own integers: {source.quantization}")
        if source.stripped_from is not None:
            lines.append(f"without its own integers: {source.stripped_from.quantization}")
        if self.calib is not None:
            videos = f"{counted(len(self.calib), 'video')} of {self.calib.name}"
            measures = self.precision in {"int8", AUTO} and not self.is_quantized
            most = "up to " if len(self.calib) < self.options.calib_clips else ""
            clips = f"{most}{counted(self.options.calib_clips, 'clip')}"
            words = f"int8 calibrated on {clips}" if measures else "verified on clips"
            lines.append(f"{words} of the {videos}")
        if self.options.defer_build:
            lines.append("leaving the engine to be built on the device")
        if self.options.portable:
            lines.append("keeping every form that agrees, for s2tf-tune on the device")
        lines.append("and verify it against the network" if self.options.verify else "without verifying it")
        if self.options.triton is not None:
            lines.append(f"and publish it for Triton as {self.options.triton / model_name(self.folder)}")
        return lines

    def _describe_step(self) -> str:
        step = self.source.step
        return "" if step is None else f", one step of {counted(step.hop, 'frame')}"

    def command(self) -> list[str] | None:
        """The command line that makes the same artifact again; None where videos were given that have no name."""
        return self.options.command(self.source.given, precision=self.precision, folder=self.folder)


def plan_export(
    model: str | Path, options: ExportOptions, *, require_signature: Path | None = None
) -> ExportPlan | RebuildPlan:
    """Checks everything that can be checked before building; arguments and errors as for ``export``.

    An artifact whose engine is to be built gives a RebuildPlan; everything else is a network to export.
    """
    path = Path(model)
    if not path.name or path.name == "..":
        path = path.resolve()
    if options.meta is None:
        # A graph that is described anew is no longer that of the artifact it lies in.
        path = find_kind(path).stands_for
    if is_rebuild(path, options.target):
        return plan_rebuild(path, options, signers=require_signature)
    target, precision = find_target(options.target, precision=AUTO if options.portable else options.precision)
    # Of a file from elsewhere, only reading it tells whether int8 is to be made: it may be quantized already.
    options.check(target, precision=precision, is_quantized=path.suffix.lower() == ".onnx")
    if options.triton is not None:
        check_served(target, is_step=False)
    if target.is_engine and not options.defer_build:
        # A missing library should not be found after minutes of work.
        find_builder(target)
    if options.out is not None:
        check_destination(options.out)
    source = open_network(
        path,
        meta=options.meta,
        float_targets=FLOAT_TARGETS,
        eval_mode=options.eval_mode,
        form=options.form,
        hop=options.hop,
        signers=require_signature,
    )
    if source.step is not None and options.dynamic_batch:
        msg = "a step takes a fixed number of streams, whose states it has; give `batch` in place of `dynamic_batch`"
        raise UsageError(msg)
    source, precision = _settle_quantized(source, target, options, precision)
    options.check(target, precision=precision, is_quantized=source.quantization is not None)
    if source.quantization is None and options.may_be_int8(precision):
        options = _settle_weight_bits(options, target)
    folder = options.out or path.with_name(f"{path.stem}_{target.name}_{_name_form(source, options, precision)}")
    check_destination(folder)
    if options.triton is not None:
        check_served(target, is_step=source.step is not None)
        check_repository(options.triton, folder)
    if options.sensitivity is not None:
        check_page(options.sensitivity)
    evaluation = _open_videos(options.eval, use="test")
    if options.max_drop is not None:
        # Labels that are missing, or that the network lacks, should not be found after minutes of calibration.
        network_classes(source.labels, _require_labels(evaluation), needed=True)
    return ExportPlan(
        source=source,
        target=target,
        precision=precision,
        folder=folder,
        options=options,
        calib=_open_videos(options.calib, use="train"),
        evaluation=evaluation,
    )


def _name_form(source: SourceNetwork, options: ExportOptions, precision: str) -> str:
    """What the folder of a form ends in, where it was not named."""
    name = "portable" if options.portable else precision
    if source.step is not None and source.step.hop > 1:
        return f"{name}_hop{source.step.hop}"
    return f"{name}_clip" if options.form == "clip" else name


def _settle_quantized(
    source: SourceNetwork, target: Target, options: ExportOptions, precision: str
) -> tuple[SourceNetwork, str]:
    """A network that came quantized is kept, which is int8, or stripped; any other stays as it is."""
    options.check_quantized(source.given, source.quantization)
    if source.quantization is None:
        return source, precision
    if options.portable and not options.requantize and not source.quantization.is_storage:
        msg = f"{source.given} is quantized already and kept as it is, so there is one form; leave `portable` out"
        raise UsageError(msg)
    # Here, for a device that builds engines has no ONNX.
    from s2tf_edge.export.graph.quantized import keep_quantized
    from s2tf_edge.export.sources.graphs.stripped import StrippedNetwork

    batch = None if options.dynamic_batch else options.batch
    if source.quantization.is_storage:
        logger.info("%s stores weights as integers (%s), which are written out", source.given, source.quantization)
    if options.requantize or source.quantization.is_storage:
        stripped = StrippedNetwork(source)
        # What cannot be stripped, or kept, is told before anything is built.
        stripped.graph(batch=batch, mask=options.mask)
        return stripped, precision
    keep_quantized(source.graph(batch=batch, mask=options.mask), target.rules.compiler)
    if options.precision not in {None, "int8", AUTO}:
        logger.warning(
            "%s is quantized already (%s) and kept as it is, in int8; `requantize` strips it for %s",
            source.given,
            source.quantization,
            options.precision,
        )
    if options.calib is not None:
        logger.warning(
            "%s is quantized already, and its ranges are kept: `calib` is verified on; `requantize` measures anew",
            source.given,
        )
    return source, "int8"


def _settle_weight_bits(options: ExportOptions, target: Target) -> ExportOptions:
    """Weights of 7 bits where nobody asked for others, and kernels of int8 need them here, or may on a device.

    An engine's are none of them; it computes elsewhere, and is verified with exact sums.
    """
    if options.weight_bits is not None or target.is_engine:
        return options
    if options.portable:
        return dataclasses.replace(options, weight_bits=WEIGHT_BITS[0])
    if not saturates_int8():
        return options
    logger.info(
        "weights of 7 bits, as int8 of 8 overflows on this processor, which has no VNNI; `weight_bits=8` is for others"
    )
    return dataclasses.replace(options, weight_bits=WEIGHT_BITS[0])


def _open_videos(data: str | Videos | None, *, use: Use) -> Videos | None:
    return open_videos(data, use=use) if isinstance(data, str) else data


def _require_labels(evaluation: Videos | None) -> LabeledVideos:
    if isinstance(evaluation, LabeledVideos):
        return evaluation
    name = "" if evaluation is None else f", and those of {evaluation.name} have none"
    msg = (
        f"`max_drop` measures top-1, which needs videos with labels{name}; give `eval=DATA` as a folder of class "
        "folders or a list of 'path label' lines, or leave `max_drop` out"
    )
    raise UsageError(msg)

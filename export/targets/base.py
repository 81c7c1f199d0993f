"""What goes into a target's builder and what comes out of it, and the table of targets.

A target is one module with one function from ``BuildRequest`` to ``Build``; it is imported only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from s2tf_edge.errors import UsageError
from s2tf_edge.export.targets.tensorrt_options import EngineOptions
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.session import ModelInfo
from s2tf_edge.spec import ClipSpec

if TYPE_CHECKING:
    from s2tf_edge.calibration.base import Judge
    from s2tf_edge.calibration.calibration_clips import CalibrationClips
    from s2tf_edge.calibration.sensitivity import LayerNoise

__all__ = [
    "AUTO",
    "ENGINE_FILE",
    "GRAPH_FILE",
    "TARGETS",
    "Build",
    "BuildRequest",
    "Integers",
    "Target",
    "find_target",
]

AUTO: Final = "auto"
"""The precision that stands for the fastest one."""
GRAPH_FILE: Final = "model.onnx"
ENGINE_FILE: Final = "model.engine"


@dataclass(frozen=True, kw_only=True)
class Integers:
    """How to quantize."""

    clips: CalibrationClips
    """What activations' ranges are measured on."""
    judge: Judge
    """What an integer form is held against."""
    method: str = "minmax"
    """How ranges are chosen."""
    exclude: tuple[str, ...] = ()
    """Regular expressions for names of layers that stay in floating point."""
    max_drop: float | None = None
    """Points of top-1 that may be lost; None where nobody asks."""
    sensitivity: Callable[[Sequence[LayerNoise]], None] | None = None
    """Is told what quantizing each layer alone does, if somebody wants to know."""
    progress: Progress = no_progress
    """Is told of layers as their sensitivity is measured."""


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """One graph for one target."""

    graph: Path
    """The finished ONNX file, lowered for the target and precision, outside ``folder``."""
    network: str
    labels: tuple[str, ...]
    spec: ClipSpec
    """What the graph takes."""
    target: str
    precision: str
    folder: Path
    """An empty folder to write the model's files into."""
    batch: int | None = 1
    """Clips that the graph takes at once; None for any number."""
    integers: Integers | None = None
    """For int8."""
    engine: EngineOptions = field(default_factory=EngineOptions)
    """For TensorRT."""
    defer: bool = False
    """Whether to stop before the engine, which is then built on the device."""

    @property
    def info(self) -> ModelInfo:
        """What sessions that try a form of the graph need to know."""
        return ModelInfo(
            name=self.graph.name,
            network=self.network,
            target=self.target,
            precision=self.precision,
            spec=self.spec,
            labels=self.labels,
            batch=self.batch,
        )


@dataclass(frozen=True, kw_only=True)
class Build:
    """What a target's builder wrote, for ``meta.json``."""

    files: tuple[str, ...]
    """Names within the folder; the first is the one a runtime opens."""
    inference: str
    """Inference precision that sessions ask the runtime for: a type, or ``default``."""
    obtained: Mapping[str, Mapping[str, int]]
    """Layers by kind and type, such as ``{"Convolution": {"i8": 112, "bf16": 4}}``."""
    options: Mapping[str, Any] = field(default_factory=dict)
    audit: Mapping[str, Any] | None = None
    """int8: which layers really compute in integers, and why the others do not."""
    calibration: Mapping[str, Any] | None = None
    """What ``calib.json`` says."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Something to export for."""

    name: str
    precisions: tuple[str, ...]
    """The first is the default."""
    custom_ops: str
    """What ``auto`` means: ``keep`` nodes of our own with their bodies, or ``inline`` them."""
    may_keep: bool
    """Whether the target takes nodes with bodies at all."""
    build: Callable[[BuildRequest], Build]
    is_engine: bool = False
    """Whether an engine is compiled from a graph that stays beside it."""


def _onnx(request: BuildRequest) -> Build:
    from s2tf_edge.export.graph.onnx_file import build_onnx

    return build_onnx(request)


def _openvino(request: BuildRequest) -> Build:
    from s2tf_edge.export.targets.openvino_target import build_openvino

    return build_openvino(request)


def _tensorrt(request: BuildRequest) -> Build:
    from s2tf_edge.export.targets.tensorrt_target import build_tensorrt

    return build_tensorrt(request)


def _engine(name: str) -> Target:
    precisions = ("fp16", "fp32", "int8")
    return Target(name=name, precisions=precisions, custom_ops="inline", may_keep=True, build=_tensorrt, is_engine=True)


TARGETS: Final = {
    target.name: target
    for target in (
        Target(name="onnx", precisions=("fp32", "fp16", "int8"), custom_ops="keep", may_keep=True, build=_onnx),
        Target(
            name="openvino",
            precisions=("fp16", "fp32", "int8"),
            custom_ops="inline",
            may_keep=False,
            build=_openvino,
        ),
        _engine("trt"),
        _engine("trt-rtx"),
    )
}


def find_target(name: str, *, precision: str | None) -> tuple[Target, str]:
    """The target of that name and the precision to use, the target's default for None.

    Raises:
        UsageError: there is no such target, or it has no such precision.
    """
    target = TARGETS.get(name)
    if target is None or (precision or target.precisions[0]) not in {*target.precisions, AUTO}:
        allowed = "; ".join(f"{each.name} with {', '.join(each.precisions)} or {AUTO}" for each in TARGETS.values())
        asked = f"target {name!r}" + (f" with precision {precision!r}" if precision else "")
        msg = f"there is no {asked}; there are: {allowed}"
        raise UsageError(msg)
    return target, precision or target.precisions[0]

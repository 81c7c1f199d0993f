"""A target's contract: what it says of itself, what goes into its builder and what comes out.

A target is one module with one function from ``BuildRequest`` to ``Build``, and one entry in ``registry``.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2tf_edge.export.graph.rules import GraphRules
from s2tf_edge.export.targets.tensorrt_options import EngineOptions
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.session import ModelInfo
from s2tf_edge.spec import ClipSpec
from s2tf_edge.step_spec import StepSpec

if TYPE_CHECKING:
    from s2tf_edge.calibration.base import Judge
    from s2tf_edge.calibration.calibration_clips import CalibrationClips
    from s2tf_edge.calibration.sensitivity import LayerNoise

__all__ = ["Build", "BuildRequest", "Integers", "Target", "TritonBackend", "preset_folder"]


def preset_folder(folder: Path, preset: str) -> Path:
    """Where one of several integer forms lies: ``int8-mixed-dense-layers`` in place of ``int8``."""
    return folder.with_name(re.sub(r"\W+", "-", f"{folder.name} {preset}"))


@dataclass(frozen=True, kw_only=True)
class Integers:
    """What an int8 build needs beside its graph: clips, a judge, and what the user asks of it."""

    clips: CalibrationClips
    """What activations' ranges are measured on."""
    judge: Judge
    """What an integer form is held against."""
    method: str = "minmax"
    """How ranges are chosen."""
    weight_bits: int = 8
    """8, or 7 for processors whose integer kernels overflow."""
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
    """What the graph takes; of a step, a clip of whole steps."""
    target: Target
    precision: str
    folder: Path
    """An empty folder to write the model's files into."""
    batch: int | None = 1
    """Clips that the graph takes at once; None for any number."""
    integers: Integers | None = None
    """For int8 that is to be made."""
    is_quantized: bool = False
    """Whether the graph holds integers already, and is kept as it is."""
    engine: EngineOptions = field(default_factory=EngineOptions)
    """For TensorRT."""
    step: StepSpec | None = None
    """How the graph steps; None where it takes clips."""
    defer: bool = False
    """Whether to stop before the engine, which is then built on the device."""
    keeps_all: bool = False
    """Whether all integer forms that agree are wanted, and not the fastest here alone."""

    def beside(self, preset: str) -> BuildRequest:
        """The same for another form, in a folder of its own beside this one's."""
        folder = preset_folder(self.folder, preset)
        folder.mkdir()
        return dataclasses.replace(self, folder=folder)

    @property
    def info(self) -> ModelInfo:
        """What sessions that try a form of the graph need to know."""
        return ModelInfo(
            name=self.graph.name,
            network=self.network,
            target=self.target.name,
            precision=self.precision,
            spec=self.spec,
            labels=self.labels,
            batch=self.batch,
            step=self.step,
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
    others: Mapping[str, Build] = field(default_factory=dict)
    """Slower forms that agree too, where all are kept, by the name of their folders beside the request's."""


@dataclass(frozen=True, kw_only=True)
class TritonBackend:
    """What runs a target's artifacts in Triton Inference Server, by its documentation and source."""

    name: str
    """As ``config.pbtxt`` calls it."""
    keeps_states: bool = True
    """Whether it hands the states that a step gives back to the next step of the same sequence."""
    batches: bool = True
    """Whether it takes every number of clips up to ``max_batch_size``, so that the server may put requests together."""
    on_cpu_alone: bool = False
    """Whether it must be told to stay on the processor, where the server has a GPU."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Something to export for; whatever depends on the target asks these fields, and none its name."""

    name: str
    precisions: tuple[str, ...]
    """The first is the default."""
    may_keep: bool
    """Whether it takes nodes with bodies at all."""
    rules: GraphRules
    """How its graphs are lowered."""
    build: Callable[[BuildRequest], Build]
    read: Callable[[BuildRequest], None]
    """Has the compiler read the graph, in seconds and without building: what it refuses is refused as by ``build``."""
    is_engine: bool = False
    """Whether an engine is compiled from a graph that stays beside it, and may be compiled from it again."""
    builds_without_gpu: bool = False
    """Whether engines need no GPU to be built, and so may be for others than this machine's."""
    ships_graph: bool = True
    """Whether its artifacts hold the ONNX graph, as their model or beside it."""
    keeps_float_graph: bool = False
    """Whether an fp32 artifact is a network that can be exported again: no rewrite has touched its graph."""
    triton: TritonBackend | None = None
    """What runs its artifacts in Triton Inference Server; None where nothing does."""

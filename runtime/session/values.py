"""What goes into a session and comes out of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import UsageError
from s2tf_edge.spec import ClipSpec
from s2tf_edge.step_spec import StepSpec

__all__ = [
    "STEP_INPUT",
    "Clips",
    "LayerTime",
    "ModelInfo",
    "Outputs",
    "SessionOptions",
    "concatenate",
    "frames_first",
    "input_shape",
    "time_axis",
]

Clips = NDArray[np.float32] | NDArray[np.uint8]
"""Clips in the layout and dtype of the network's ``ClipSpec``: float32 [N, 3, T, H, W] or uint8 [N, T, H, W, 3]."""

STEP_INPUT: Final = "frames"
"""What a graph that steps calls its input beside the past."""
HINTS = ("latency", "throughput")


@dataclass(frozen=True, kw_only=True)
class SessionOptions:
    """Where and how to run."""

    device: str = "auto"
    """Device as the runtime names it, such as CPU or GPU; auto, in letters of any case, lets the runtime choose."""
    threads: int = 0
    """CPU threads for one inference; 0 lets the runtime choose."""
    hint: str = "latency"
    """Optimize for latency or throughput."""
    requests: int = 1
    """Runs that are to go side by side, each in a fork of the session; 0 lets the runtime choose."""
    cache: Path | None = None
    """A folder in which OpenVINO keeps compiled networks for the next start."""
    profile: bool = False
    """Have the runtime note how long each layer takes, which makes all of them slower; for ``Session.profile``."""
    require_signature: Path | None = None
    """OpenSSH's list of allowed signers: an artifact that none of them signed is not opened, nor a ``model.pt``."""
    custom_ops: tuple[Path, ...] = ()
    """Shared libraries with kernels for ONNX Runtime to register: they run nodes in place of the bodies in the file."""

    def __post_init__(self) -> None:
        for name, value in (("threads", self.threads), ("requests", self.requests)):
            if value < 0:
                msg = f"`{name}` must be zero or more, got {value}"
                raise UsageError(msg)
        if self.device.lower() == "auto":
            object.__setattr__(self, "device", "auto")
        if self.hint not in HINTS:
            msg = f"hint must be one of {', '.join(HINTS)}, got {self.hint!r}"
            raise UsageError(msg)


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a session knows of its network before it is opened."""

    name: str
    """Name to show: the artifact folder's or file's stem."""
    network: str
    target: str
    """torch, onnx, openvino, trt or trt-rtx."""
    precision: str
    spec: ClipSpec
    labels: tuple[str, ...]
    batch: int | None = 1
    """Clips that one run takes; None for any number."""
    has_mask: bool = False
    """Whether outputs have the saliency mask."""
    step: StepSpec | None = None
    """How it steps; None for a network that sees whole clips."""

    @property
    def form(self) -> str:
        """What a prediction is made of: ``clip`` or ``step``."""
        return "clip" if self.step is None else "step"

    @property
    def hop(self) -> int:
        """Samples from one prediction of a stream to the next by default: those of a step, or a quarter of a clip."""
        return max(1, self.spec.frames // 4) if self.step is None else self.step.hop

    def label(self, index: int) -> str:
        """The name of class ``index``."""
        return self.labels[index] if index < len(self.labels) else f"class {index}"


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a network says about N clips."""

    logits: NDArray[np.float32]
    """Float32 [N, K], before softmax."""
    mask: NDArray[np.float32] | None = None
    """Float32 [N, 1, 1, H', W'], where the network was exported with its saliency mask."""

    def of(self, index: int) -> Outputs:
        """Those of one clip or stream alone, N = 1."""
        mask = None if self.mask is None else self.mask[index : index + 1]
        return Outputs(logits=self.logits[index : index + 1], mask=mask)


@dataclass(frozen=True, kw_only=True)
class LayerTime:
    """How long one layer took, as its runtime says."""

    name: str
    """As in the graph; what was fused has the name of one of its parts."""
    kind: str
    """Type of the layer."""
    kernel: str
    """What computed it, with the precision where the runtime says so; may be empty."""
    ms: float
    """Milliseconds of one prediction, in the mean."""


def time_axis(spec: ClipSpec) -> int:
    """Which axis of ``Clips`` the frames lie on."""
    return 1 if spec.layout == "NTHWC" else 2


def frames_first(frames: Clips, spec: ClipSpec) -> Clips:
    """The frames [N, 3, hop, S, S] or [N, hop, S, S, 3] of a step as its graph takes them: [hop · N, …].

    The first frames of all streams come first, then the second.
    """
    moved = np.moveaxis(frames, time_axis(spec), 0)
    joined: Clips = np.ascontiguousarray(moved.reshape(-1, *moved.shape[2:]))  # type: ignore[assignment]
    return joined


def split_steps(clips: Clips, info: ModelInfo) -> list[Clips]:
    """Clips of any number of whole steps as what a network that steps takes one after the other, C-contiguous."""
    hop, axis = 1 if info.step is None else info.step.hop, time_axis(info.spec)
    return [np.ascontiguousarray(part) for part in np.split(clips, clips.shape[axis] // hop, axis=axis)]


def input_shape(info: ModelInfo) -> tuple[int, ...]:
    """The shape of a graph's input of pixels: [N, 3, T, S, S] or [N, T, S, S, 3]; of a step, [hop · N, …] without T."""
    shape = info.spec.input_shape(info.batch or 1)
    if info.step is None:
        return shape
    sides = [side for axis, side in enumerate(shape) if axis not in {0, time_axis(info.spec)}]
    return (info.step.hop * shape[0], *sides)


def concatenate(parts: Sequence[Outputs]) -> Outputs:
    """The outputs of several runs as those of one."""
    masks = [part.mask for part in parts if part.mask is not None]
    return dataclasses.replace(
        parts[0],
        logits=np.concatenate([part.logits for part in parts]),
        mask=np.concatenate(masks) if masks else None,
    )

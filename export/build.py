"""What goes into a target's builder and what comes out of it, and the table of targets.

A target is one module with one function from ``BuildRequest`` to ``Build``; it is imported only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from s2tf_edge.errors import UsageError

if TYPE_CHECKING:
    from s2tf_edge.calibration.clips import CalibrationClips
    from s2tf_edge.models.s2tf import VideoNetwork

__all__ = ["TARGETS", "Build", "BuildRequest", "Target", "find_target"]


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """One network for one target."""

    network: VideoNetwork
    """In eval mode, as ``s2tf_edge.models.load_model`` returns it."""
    precision: str
    folder: Path
    """An empty folder to write the model's files into."""
    dynamic_batch: bool = False
    calibration: CalibrationClips | None = None
    """For int8."""
    exclude: tuple[str, ...] = ()
    """Regular expressions for names of nodes that stay in floating point."""


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
    calibration: Mapping[str, Any] | None = None
    """What ``calib.json`` says."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Something to export for."""

    name: str
    precisions: tuple[str, ...]
    """The first is the default."""
    build: Callable[[BuildRequest], Build]


def _onnx(request: BuildRequest) -> Build:
    from s2tf_edge.export.to_onnx import build_onnx

    return build_onnx(request)


def _openvino(request: BuildRequest) -> Build:
    from s2tf_edge.export.to_openvino import build_openvino

    return build_openvino(request)


TARGETS: Final = {
    target.name: target
    for target in (
        Target(name="onnx", precisions=("fp32",), build=_onnx),
        Target(name="openvino", precisions=("fp16", "fp32", "int8"), build=_openvino),
    )
}


def find_target(name: str, *, precision: str | None) -> tuple[Target, str]:
    """The target of that name and the precision to use, the target's default for None.

    Raises:
        UsageError: there is no such target, or it has no such precision.
    """
    target = TARGETS.get(name)
    if target is None or (precision or target.precisions[0]) not in target.precisions:
        allowed = "; ".join(f"{each.name} with {', '.join(each.precisions)}" for each in TARGETS.values())
        asked = f"target {name!r}" + (f" with precision {precision!r}" if precision else "")
        msg = f"there is no {asked}; there are: {allowed}"
        raise UsageError(msg)
    return target, precision or target.precisions[0]

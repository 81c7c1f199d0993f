"""What a user asks of an export."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.export.targets.base import Target
from s2tf_edge.export.targets.registry import AUTO
from s2tf_edge.export.targets.tensorrt_options import EngineOptions
from s2tf_edge.runtime.backends.tensorrt_library import has_gpu

__all__ = ["CALIB_CLIPS", "CUSTOM_OPS", "INPUTS", "METHODS", "OPSETS", "PROFILE", "ExportOptions"]

CUSTOM_OPS: Final = ("auto", "keep", "inline")
INPUTS: Final = ("f32", "u8")
OPSETS: Final = (18, 24)
"""Lowest and highest opset that a graph can be written in."""
METHODS: Final = ("minmax", "entropy", "percentile", "mse")
_INTEGER_FLAGS: Final = {"--exclude": (), "--calib-method": METHODS[0], "--max-drop": None, "--sensitivity": None}
"""Flags that say something about int8 alone, and their defaults."""
CALIB_CLIPS: Final = 300
_ALL_POINTS: Final = 100
_MAX_BATCH: Final = 256
PROFILE: Final = (1, 4, 16)
"""Fewest, usual and most clips that a TensorRT engine for any number of clips takes at once."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What to export for, and how.

    Raises:
        UsageError: a value is out of its range, or values do not fit together.
    """

    target: str
    """onnx, openvino, trt or trt-rtx."""
    precision: str | None = None
    """fp32, fp16, int8 or auto, the fastest of them here; None for the target's default (onnx fp32, others fp16)."""
    out: Path | None = None
    """The artifact's folder; None for ``<stem>_<target>_<precision>`` beside the model."""
    meta: Path | None = None
    """The description of the clips that a plain ``.onnx`` takes."""
    calib: str | LabeledVideos | None = None
    """Labeled videos, or what ``open_data`` takes: int8 measures ranges on them, every precision is verified on others
    of them. Only what has a name can be made again: with videos of the caller's own there is no ``reproduce.sh``."""
    calib_clips: int = CALIB_CLIPS
    """How many clips of them at most."""
    calib_method: str = "minmax"
    """How ranges of activations are chosen: minmax, entropy, percentile or mse."""
    max_drop: float | None = None
    """Points of top-1 on ``eval`` that int8 may lose; layers go back to float until it loses no more."""
    sensitivity: Path | None = None
    """An HTML page to write: what quantizing each layer alone does to the logits."""
    eval: str | LabeledVideos | None = None
    """Labeled videos to verify on."""
    exclude: tuple[str, ...] = ()
    """Regular expressions for names of layers that stay in floating point (int8)."""
    custom_ops: str = "auto"
    """keep nodes of our own with their bodies, inline the bodies, or auto: what the target does best with."""
    batch: int = 1
    """How many clips the artifact takes at once."""
    dynamic_batch: bool = False
    """Whether the artifact takes any number of clips at once."""
    input: str = "f32"
    """f32, normalized [N, 3, T, H, W]; or u8, frames [N, T, H, W, 3] that the graph normalizes."""
    mask: bool = False
    """Whether the saliency mask is an output too."""
    opset: int | None = None
    """Of the ONNX graph; None for the exporter's own."""
    defer_build: bool = False
    """Whether to stop at the graph, and build the engine on the device."""
    workspace: float | None = None
    """Most GiB that TensorRT may use for one layer."""
    timing_cache: Path | None = None
    """A file that keeps TensorRT's timings from build to build."""
    version_compatible: bool = False
    """Whether later versions of TensorRT may run the engine too."""
    hardware_compatible: bool = False
    """Whether other GPUs from Ampere on may run the engine too."""
    verify: bool = True
    """Whether to compare the artifact with the network."""

    def __post_init__(self) -> None:
        _check_choice("--custom-ops", self.custom_ops, CUSTOM_OPS)
        _check_choice("--input", self.input, INPUTS)
        _check_choice("--calib-method", self.calib_method, METHODS)
        _check_number("--calib-clips", self.calib_clips, low=1, high=None)
        _check_number("--batch", self.batch, low=1, high=_MAX_BATCH)
        if self.opset is not None:
            _check_number("--opset", self.opset, low=OPSETS[0], high=OPSETS[1])
        if self.batch != 1 and self.dynamic_batch:
            msg = f"--batch {self.batch} fixes the number of clips and --dynamic-batch leaves it open; give one of them"
            raise UsageError(msg)
        if self.max_drop is not None and not 0 <= self.max_drop <= _ALL_POINTS:
            msg = f"--max-drop must lie between 0 and 100 points, got {self.max_drop:g}"
            raise UsageError(msg)
        if self.max_drop is not None and self.eval is None:
            msg = "--max-drop needs labeled videos to measure the loss on; give --eval DATA"
            raise UsageError(msg)
        if self.workspace is not None and not 0 < self.workspace <= 1024:
            msg = f"--workspace must lie in (0, 1024] GiB, got {self.workspace:g}"
            raise UsageError(msg)
        for expression in self.exclude:
            _check_expression(expression)

    def check(self, target: Target, *, precision: str) -> None:
        """Whether these options make sense for a target and precision.

        Raises:
            UsageError: they do not.
        """
        if precision == "int8" and self.calib is None:
            msg = (
                "int8 needs clips to calibrate with; give --calib DATA: a folder of class folders, a list file or "
                "synthetic"
            )
            raise UsageError(msg)
        self._check_data()
        self._check_integers(precision)
        self._check_auto(target, precision)
        if self.custom_ops == "keep" and not target.may_keep:
            msg = f"{target.name} runs standard operators only, so --custom-ops keep is not for it; leave it out"
            raise UsageError(msg)
        self._check_engine(target)

    def _check_data(self) -> None:
        if self.calib is None and self.calib_clips != CALIB_CLIPS:
            msg = f"--calib-clips {self.calib_clips} counts clips of --calib, which is missing; give --calib DATA"
            raise UsageError(msg)
        if self.eval is not None and not self.verify and self.max_drop is None:
            msg = "--eval is to verify on, which --no-verify leaves out; drop one of them"
            raise UsageError(msg)

    def _check_integers(self, precision: str) -> None:
        if precision == "int8" or (precision == AUTO and self.calib is not None):
            if self.custom_ops == "keep":
                msg = "--custom-ops keep leaves nodes that cannot be quantized; leave it out with int8"
                raise UsageError(msg)
            return
        for flag, default in _INTEGER_FLAGS.items():
            if getattr(self, _field(flag)) != default:
                but = "auto tries that only with --calib DATA" if precision == AUTO else f"the precision is {precision}"
                msg = f"{flag} is for int8, but {but}; drop one of them"
                raise UsageError(msg)

    def _check_auto(self, target: Target, precision: str) -> None:
        if precision != AUTO or not target.is_engine:
            return
        if self.defer_build:
            msg = "--precision auto times what it builds, which --defer-build leaves to the device; name a precision"
            raise UsageError(msg)
        if not has_gpu():
            msg = (
                f"--precision auto times what it builds, and engines of {target.name} need an NVIDIA GPU, which is not "
                "here; name a precision, or run this on the device"
            )
            raise UsageError(msg)

    def _check_engine(self, target: Target) -> None:
        given = {
            "--defer-build": self.defer_build,
            "--workspace": self.workspace is not None,
            "--timing-cache": self.timing_cache is not None,
            "--version-compatible": self.version_compatible,
            "--hardware-compatible": self.hardware_compatible,
        }
        for flag, is_given in given.items():
            if is_given and not target.is_engine:
                msg = f"{flag} is for TensorRT, but the target is {target.name}; leave it out"
                raise UsageError(msg)

    def engine(self) -> EngineOptions:
        """What TensorRT is told besides the graph."""
        return EngineOptions(
            workspace_gib=self.workspace,
            timing_cache=self.timing_cache,
            version_compatible=self.version_compatible,
            hardware_compatible=self.hardware_compatible,
            profile=PROFILE if self.dynamic_batch else None,
        )

    def command(self, source: Path, *, precision: str, folder: Path) -> list[str] | None:
        """The command line that makes the same artifact again; None where videos were given that have no name."""
        if isinstance(self.calib, LabeledVideos) or isinstance(self.eval, LabeledVideos):
            return None
        options = self if precision in {"int8", AUTO} else self._without_integers()
        arguments = ["s2tf-export", str(source.absolute()), "--target", self.target, "--precision", precision]
        for flag, value in options._values(folder).items():
            arguments += [] if value is None else [flag, str(value)]
        arguments += [part for expression in options.exclude for part in ("--exclude", expression)]
        switches = {
            "--dynamic-batch": self.dynamic_batch,
            "--mask": self.mask,
            "--defer-build": self.defer_build,
            "--version-compatible": self.version_compatible,
            "--hardware-compatible": self.hardware_compatible,
            "--no-verify": not self.verify,
        }
        return arguments + [flag for flag, is_on in switches.items() if is_on]

    def _without_integers(self) -> ExportOptions:
        """For another precision that auto chose."""
        changes: dict[str, Any] = {_field(flag): default for flag, default in _INTEGER_FLAGS.items()}
        return dataclasses.replace(self, **changes)

    def _values(self, folder: Path) -> dict[str, object]:
        """Flags with values; None where the value is the default."""
        return {
            "--out": folder.absolute(),
            "--meta": self.meta and self.meta.absolute(),
            "--calib": _absolute(self.calib),
            "--calib-clips": self.calib_clips if self.calib else None,
            "--calib-method": None if self.calib_method == METHODS[0] else self.calib_method,
            "--max-drop": self.max_drop,
            "--eval": _absolute(self.eval) if self.verify or self.max_drop is not None else None,
            "--custom-ops": None if self.custom_ops == "auto" else self.custom_ops,
            "--batch": None if self.batch == 1 else self.batch,
            "--input": None if self.input == "f32" else self.input,
            "--opset": self.opset,
            "--workspace": self.workspace,
            "--timing-cache": self.timing_cache and self.timing_cache.absolute(),
            "--sensitivity": self.sensitivity and self.sensitivity.absolute(),
        }


def _field(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def _absolute(data: str | LabeledVideos | None) -> str | None:
    """A data set's name, as it is understood from any folder."""
    if not isinstance(data, str):
        return None
    return str(Path(data).absolute()) if Path(data).exists() else data


def _check_choice(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        msg = f"{flag} must be one of {', '.join(allowed)}, got {value!r}"
        raise UsageError(msg)


def _check_number(flag: str, value: int, *, low: int, high: int | None) -> None:
    if value < low or (high is not None and value > high):
        allowed = f"from {low} to {high}" if high is not None else "one or more" if low == 1 else f"{low} or more"
        msg = f"{flag} must be {allowed}, got {value}"
        raise UsageError(msg)


def _check_expression(expression: str) -> None:
    try:
        re.compile(expression)
    except re.error as error:
        msg = f"--exclude {expression!r} is not a regular expression: {error}"
        raise UsageError(msg) from error

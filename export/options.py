"""What a user asks of an export."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from s2tf_edge.data.labelled import LabelledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.export.build import Target
from s2tf_edge.export.tensorrt_options import EngineOptions

__all__ = ["CUSTOM_OPS", "INPUTS", "OPSETS", "PROFILE", "ExportOptions"]

CUSTOM_OPS: Final = ("auto", "keep", "inline")
INPUTS: Final = ("f32", "u8")
OPSETS: Final = (18, 24)
"""Lowest and highest opset that a graph can be written in."""
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
    """fp32, fp16 or int8; None for the target's default (onnx fp32, the others fp16)."""
    out: Path | None = None
    """The artifact's folder; None for ``<stem>_<target>_<precision>`` beside the model."""
    meta: Path | None = None
    """The description of the clips that a plain ``.onnx`` takes."""
    calib: str | LabelledVideos | None = None
    """Labelled videos, or what ``open_data`` takes: int8 measures ranges on them, every precision is verified on others
    of them. Only what has a name can be made again: with videos of the caller's own there is no ``reproduce.sh``."""
    calib_clips: int = 300
    """How many clips of them at most."""
    eval: str | LabelledVideos | None = None
    """Labelled videos to verify on."""
    exclude: tuple[str, ...] = ()
    """Regular expressions for names of layers that stay in floating point (int8)."""
    custom_ops: str = "auto"
    """keep nodes of our own with their bodies, inline the bodies, or auto: what the target does best with."""
    batch: int = 1
    """How many clips the artifact takes at once."""
    dynamic_batch: bool = False
    """Whether the artifact takes any number of clips at once."""
    input: str = "f32"
    """f32, normalised [N, 3, T, H, W]; or u8, frames [N, T, H, W, 3] that the graph normalises."""
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
        _check_number("--calib-clips", self.calib_clips, low=1, high=None)
        _check_number("--batch", self.batch, low=1, high=_MAX_BATCH)
        if self.opset is not None:
            _check_number("--opset", self.opset, low=OPSETS[0], high=OPSETS[1])
        if self.batch != 1 and self.dynamic_batch:
            msg = f"--batch {self.batch} fixes the number of clips and --dynamic-batch leaves it open; give one of them"
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
        if self.exclude and precision != "int8":
            msg = f"--exclude keeps layers out of int8, but the precision is {precision}; drop one of them"
            raise UsageError(msg)
        if self.custom_ops == "keep" and not target.may_keep:
            msg = f"{target.name} runs standard operators only, so --custom-ops keep is not for it; leave it out"
            raise UsageError(msg)
        self._check_engine(target)

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
        if isinstance(self.calib, LabelledVideos) or isinstance(self.eval, LabelledVideos):
            return None
        arguments = ["s2tf-export", str(source.absolute()), "--target", self.target, "--precision", precision]
        for flag, value in self._values(folder).items():
            arguments += [] if value is None else [flag, str(value)]
        arguments += [part for expression in self.exclude for part in ("--exclude", expression)]
        switches = {
            "--dynamic-batch": self.dynamic_batch,
            "--mask": self.mask,
            "--defer-build": self.defer_build,
            "--version-compatible": self.version_compatible,
            "--hardware-compatible": self.hardware_compatible,
            "--no-verify": not self.verify,
        }
        return arguments + [flag for flag, is_on in switches.items() if is_on]

    def _values(self, folder: Path) -> dict[str, object]:
        """Flags with values; None where the value is the default."""
        return {
            "--out": folder.absolute(),
            "--meta": self.meta and self.meta.absolute(),
            "--calib": _absolute(self.calib),
            "--calib-clips": self.calib_clips if self.calib else None,
            "--eval": _absolute(self.eval),
            "--custom-ops": None if self.custom_ops == "auto" else self.custom_ops,
            "--batch": None if self.batch == 1 else self.batch,
            "--input": None if self.input == "f32" else self.input,
            "--opset": self.opset,
            "--workspace": self.workspace,
            "--timing-cache": self.timing_cache and self.timing_cache.absolute(),
        }


def _absolute(data: str | LabelledVideos | None) -> str | None:
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

"""What a user asks of an export.

An option is declared once, as a field of ``ExportOptions``: the flags of ``s2tf-export`` and their help, the checks,
and the command in an artifact's ``reproduce.sh`` are made from there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import Field, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import UsageError
from s2tf_edge.export.targets.familiar_names import PRECISION_NAMES, TARGET_NAMES
from s2tf_edge.export.targets.precisions import AUTO
from s2tf_edge.option_fields import (
    Option,
    check_expressions,
    check_fields,
    command_words,
    counts,
    declare,
    given_fields,
    in_command_order,
    in_range,
    one_of,
    option_of,
)

# What costs time to import is imported where it is used: ``s2tf-export --help`` needs the declaration alone.
if TYPE_CHECKING:
    from s2tf_edge.export.graph.quantized import Quantization
    from s2tf_edge.export.targets.base import Target
    from s2tf_edge.export.targets.tensorrt_options import EngineOptions

__all__ = ["CALIB_CLIPS", "METHODS", "OPSETS", "PROFILE", "WEIGHT_BITS", "ExportOption", "ExportOptions"]

OPSETS: Final = (18, 24)
"""Lowest and highest opset that a graph can be written in."""
METHODS: Final = ("minmax", "entropy", "percentile", "mse")
CALIB_CLIPS: Final = 300
WEIGHT_BITS: Final = (7, 8)
"""Of int8: for processors whose kernels overflow (``hardware.saturates_int8``), and for all others."""
PROFILE: Final = (1, 4, 16)
"""Fewest, usual and most clips that a TensorRT engine for any number of clips takes at once."""
_VIDEOS: Final = "a folder, glob or list of videos, with labels or without, one video, or synthetic"


@dataclass(frozen=True, kw_only=True)
class ExportOption(Option):
    """What a field of ``ExportOptions`` is to its users."""

    needs: _Need | None = None
    """What the option has no effect without."""
    is_of_graph: bool = True
    """Whether the graph is made with it, where it needs no engine."""
    is_pinned: bool = False
    """Whether a command line names it even where it is the default."""

    @property
    def is_settled(self) -> bool:
        """Whether who builds an engine from an older graph can no longer choose."""
        return self.is_of_graph and self.needs is not _needs_engine


def _option(help: str, *, default: Any, **rest: Any) -> Any:
    """A field with a default; ``rest`` are fields of ``ExportOption``."""
    return field(default=default, metadata=declare(ExportOption(help=help, **rest)))


def _from_any_folder(data: str) -> str:
    # Here, as --help would wait for what opens videos.
    from s2tf_edge.data.datasets import from_any_folder

    return from_any_folder(data)


def _needs_calib(options: ExportOptions, name: str, _precision: str, _target: Target | None) -> str | None:
    if options.calib is not None:
        return None
    return f"`{name}={getattr(options, name)}` counts clips of `calib`, which is missing; give `calib=DATA`"


def _needs_comparison(options: ExportOptions, name: str, _precision: str, _target: Target | None) -> str | None:
    if options.verify or options.max_drop is not None:
        return None
    return f"`{name}` is to verify on, which `verify=False` leaves out; drop one of them"


def _needs_int8(options: ExportOptions, name: str, precision: str, _target: Target | None) -> str | None:
    if options.may_be_int8(precision):
        return None
    but = "auto tries that only with `calib=DATA`" if precision == AUTO else f"the precision is {precision}"
    return f"`{name}` is for int8, but {but}; drop one of them"


def _needs_engine(_options: ExportOptions, name: str, _precision: str, target: Target | None) -> str | None:
    if target is None or target.is_engine:
        return None
    return f"`{name}` is for TensorRT, but the target is {target.name}; leave it out"


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What to export for, and how, in the order of ``s2tf-export --help``.

    Raises:
        UsageError: a value is out of its range, or values do not fit together.
    """

    target: str = field(
        metadata=declare(
            ExportOption(
                help="What to export for: onnx, openvino, trt or trt-rtx; needed.",
                choices=TARGET_NAMES,
                is_of_graph=False,
            )
        )
    )
    precision: str | None = _option(
        "fp32, fp16, int8, or auto, the fastest here; default: fp32 for onnx, else fp16; int8 if MODEL is quantized.",
        default=None,
        choices=PRECISION_NAMES,
        is_of_graph=False,
    )
    out: Path | None = _option(
        "Folder of the artifact; by default <stem>_<target>_<precision> beside MODEL, and of a causal network's other "
        "forms <stem>_<target>_<precision>_clip or …_hop4.",
        default=None,
        letter="o",
        is_of_graph=False,
    )
    meta: Path | None = _option(
        "JSON file that says what clips an .onnx takes: frames, stride, fps, resize_short_side, crop, mean, std, "
        "labels.",
        default=None,
    )
    eval_mode: bool = _option(
        "Switch an .onnx whose batch norms or dropouts are in training mode to inference.", default=False
    )
    form: str | None = _option(
        "step: one step of a causal network, which costs its frames alone; clip: whole clips; step where it can be.",
        default=None,
        metavar="step|clip",
        check=one_of(("step", "clip")),
    )
    hop: int | None = _option(
        "Frames that one step takes, for one prediction; 1 by default.", default=None, check=counts(1, 1024)
    )
    requantize: bool = _option(
        "Strip the Q/DQ of an .onnx that is quantized already; without, it is kept as it is.", default=False
    )
    calib: str | Videos | None = _option(
        f"Videos to calibrate int8 with: {_VIDEOS}.", default=None, text=_from_any_folder
    )
    """What ``open_videos`` takes, or videos: int8 measures ranges on them, every precision is verified on others
    of them. Only what has a name can be made again: with videos of the caller's own there is no ``reproduce.sh``."""
    calib_clips: int = _option(
        "At most so many calibration clips; several of a long video where there are fewer videos.",
        default=CALIB_CLIPS,
        check=counts(1),
        needs=_needs_calib,
        is_pinned=True,
    )
    calib_method: str = _option(
        "How ranges of activations are chosen: minmax, entropy, percentile or mse.",
        default=METHODS[0],
        check=one_of(METHODS),
        needs=_needs_int8,
    )
    weight_bits: int | None = _option(
        "Bits of int8 weights: 7 for processors without VNNI, whose kernels overflow; default: 8, there 7.",
        default=None,
        check=counts(*WEIGHT_BITS),
        needs=_needs_int8,
    )
    eval: str | Videos | None = _option(
        f"Videos to verify on, and with labels to measure on, else seeded clips are made: {_VIDEOS}.",
        default=None,
        text=_from_any_folder,
        needs=_needs_comparison,
    )
    max_drop: float | None = _option(
        "Points of top-1 on --eval that int8 may lose; layers go back to float until it loses no more.",
        default=None,
        metavar="POINTS",
        check=in_range("between 0 and 100 points", lambda points: 0 <= points <= 100),
        needs=_needs_int8,
    )
    exclude: tuple[str, ...] = _option(
        "Layers whose names match stay in floating point (int8); may be repeated.",
        default=(),
        metavar="REGEX",
        check=check_expressions,
        needs=_needs_int8,
    )
    custom_ops: str = _option(
        "keep: nodes of domain ai.s2tf with their bodies; inline: standard operators only; auto: as the target does "
        "best.",
        default="auto",
        check=one_of(("auto", "keep", "inline")),
    )
    batch: int = _option("Clips that the artifact takes at once.", default=1, check=counts(1, 256))
    dynamic_batch: bool = _option("Take any number of clips at once.", default=False)
    input: str = _option(
        "f32: normalized clips; u8: frames uint8 [N, T, H, W, 3], which the graph normalizes.",
        default="f32",
        check=one_of(("f32", "u8")),
    )
    mask: bool = _option("Put out the saliency mask too (ssf_ and s2tf_).", default=False)
    opset: int | None = _option("Opset of the ONNX graph, 18 (the default) to 24.", default=None, check=counts(*OPSETS))
    defer_build: bool = _option(
        "Write the graph and build.sh; the engine is built on the device.", default=False, needs=_needs_engine
    )
    portable: bool = _option(
        "Keep every form that agrees, for s2tf-tune to choose the fastest on the device.",
        default=False,
    )
    workspace: float | None = _option(
        "Most memory in GiB that TensorRT may use for one layer.",
        default=None,
        metavar="GIB",
        check=in_range("in (0, 1024] GiB", lambda gib: 0 < gib <= 1024),
        needs=_needs_engine,
    )
    timing_cache: Path | None = _option(
        "File in which TensorRT keeps its timings from build to build.", default=None, needs=_needs_engine
    )
    version_compatible: bool = _option(
        "An engine that later versions of TensorRT run too.", default=False, needs=_needs_engine
    )
    hardware_compatible: bool = _option(
        "An engine that every GPU from Ampere on runs.", default=False, needs=_needs_engine
    )
    sensitivity: Path | None = _option(
        "HTML page to write: what quantizing each layer alone does to the logits (int8).",
        default=None,
        needs=_needs_int8,
    )
    triton: Path | None = _option(
        "Model repository of Triton to publish the artifact in too; given alone, MODEL as it is, an artifact.",
        default=None,
        metavar="DIR",
        is_of_graph=False,
    )
    verify: bool = _option("Skip the comparison with MODEL.", default=True, is_of_graph=False)
    """The help is that of ``--no-verify``."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.batch != 1 and self.dynamic_batch:
            fixes = f"`batch={self.batch}` fixes the number of clips"
            msg = f"{fixes} and `dynamic_batch=True` leaves it open; give one of them"
            raise UsageError(msg)
        if self.portable:
            self._check_portable()
        if self.max_drop is not None and self.eval is None:
            msg = "`max_drop` needs labeled videos to measure the loss on; give `eval=DATA`"
            raise UsageError(msg)

    def _check_portable(self) -> None:
        if self.precision not in {None, AUTO}:
            msg = f"`portable=True` keeps all precisions, got `precision={self.precision!r}`; leave one of them out"
            raise UsageError(msg)
        if self.triton is not None:
            msg = (
                "`portable=True` keeps all forms, of which Triton serves one; publish what s2tf-tune has chosen, later"
            )
            raise UsageError(msg)
        if not self.verify:
            msg = "`portable=True` keeps what a device checks forms with, which `verify=False` leaves out; drop one"
            raise UsageError(msg)

    def check(self, target: Target, *, precision: str, is_quantized: bool = False) -> None:
        """Whether these options make sense for a target and precision.

        Args:
            target: that was named.
            precision: that was named, or the target's own.
            is_quantized: whether the network is, or may be, quantized already: then int8 needs no calibration.

        Raises:
            UsageError: they do not.
        """
        if precision == "int8" and self.calib is None and not is_quantized:
            msg = f"int8 needs clips to calibrate with; give `calib=DATA`: {_VIDEOS}"
            raise UsageError(msg)
        for option in given_fields(self):
            if complaint := self._complaint(option, precision, target):
                raise UsageError(complaint)
        self._check_custom_ops(target, precision)
        self._check_auto(target, precision)

    def _complaint(self, option: Field[Any], precision: str, target: Target | None = None) -> str | None:
        """What the option lacks to have an effect, as far as is known without a target; None where it has one."""
        needs = option_of(option, ExportOption).needs
        return None if needs is None else needs(self, option.name, precision, target)

    def _check_custom_ops(self, target: Target, precision: str) -> None:
        if self.custom_ops != "keep":
            return
        if self.may_be_int8(precision):
            msg = "`custom_ops='keep'` leaves nodes that cannot be quantized; leave it out with int8"
            raise UsageError(msg)
        if not target.may_keep:
            msg = f"{target.name} runs standard operators only, so `custom_ops='keep'` is not for it; leave it out"
            raise UsageError(msg)

    def _check_auto(self, target: Target, precision: str) -> None:
        if precision != AUTO or not target.is_engine or (self.portable and self.defer_build):
            return
        from s2tf_edge.runtime.backends.tensorrt_library import has_gpu

        times = "`precision='auto'` times what it builds"
        if self.defer_build:
            msg = f"{times}, which `defer_build=True` leaves to the device; name a precision"
            raise UsageError(msg)
        if not has_gpu():
            need = f"engines of {target.name} need an NVIDIA GPU, which is not here"
            msg = f"{times}, and {need}; name a precision, or run this on the device"
            raise UsageError(msg)

    def check_quantized(self, given: Path, quantization: Quantization | None) -> None:
        """Whether these options make sense for a network that is quantized already, or for one that is not.

        Raises:
            UsageError: they do not.
        """
        if self.requantize or quantization is None or quantization.is_storage:
            if quantization is None and self.requantize:
                msg = f"`requantize` strips Q/DQ, and {given} has none; leave it out"
                raise UsageError(msg)
            return
        is_kept = f"{given} is quantized already ({quantization}) and kept as it is"
        for option in given_fields(self):
            if option_of(option, ExportOption).needs is _needs_int8:
                msg = f"`{option.name}` is for quantizing, but {is_kept}; leave it out, or give `requantize=True`"
                raise UsageError(msg)

    def may_be_int8(self, precision: str) -> bool:
        """Whether that precision comes to int8, or tries it among others."""
        return precision == "int8" or (precision == AUTO and self.calib is not None)

    def settled(self) -> list[str]:
        """Options given that an older graph has settled, and that cannot be asked for anew."""
        return [option.name for option in given_fields(self) if option_of(option, ExportOption).is_settled]

    def engine(self) -> EngineOptions:
        """What TensorRT is told besides the graph."""
        from s2tf_edge.export.targets.tensorrt_options import EngineOptions

        return EngineOptions(
            workspace_gib=self.workspace,
            timing_cache=self.timing_cache,
            version_compatible=self.version_compatible,
            hardware_compatible=self.hardware_compatible,
            profile=PROFILE if self.dynamic_batch else None,
        )

    def command(self, source: Path, *, precision: str, folder: Path) -> list[str] | None:
        """The command line that makes the same artifact again; None where videos were given that have no name."""
        if isinstance(self.calib, Videos) or isinstance(self.eval, Videos):
            return None
        # Where auto chose another precision, what is for int8 would be refused beside it.
        idle = {} if self.may_be_int8(precision) else _INT8_DEFAULTS
        # It makes the folder again, and publishes nothing again.
        options = dataclasses.replace(self, precision=precision, out=folder, triton=None, **idle)
        words = ["s2tf-export", str(source.absolute())]
        given = given_fields(options)
        for option in in_command_order(options):
            is_said = option in given or option_of(option, ExportOption).is_pinned
            if is_said and options._complaint(option, precision) is None:
                words += command_words(option, getattr(options, option.name))
        return words


_Need = Callable[[ExportOptions, str, str, "Target | None"], "str | None"]
"""Takes options, an option's name, the precision and the target; says what the option lacks, None where nothing."""

_INT8_DEFAULTS: Final[dict[str, Any]] = {
    option.name: option.default
    for option in dataclasses.fields(ExportOptions)
    if option_of(option, ExportOption).needs is _needs_int8
}

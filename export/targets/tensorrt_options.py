"""What a TensorRT build is asked for, what of it each library takes, and the same as a ``trtexec`` command."""

from __future__ import annotations

import dataclasses
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.runtime.backends.tensorrt_library import TensorRt

__all__ = ["AppliedOptions", "EngineOptions", "configure", "trtexec_command"]

logger = logging.getLogger(__name__)

_GIB: Final = 2**30
_MAX_CLIPS: Final = 1024
_RTX_REASONS: Final = {
    "timing_cache": "TensorRT-RTX chooses kernels on the GPU that runs them; a timing cache changes nothing",
    "version_compatible": "an engine of TensorRT-RTX runs with the release that built it and no other",
    "hardware_compatible": "an engine of TensorRT-RTX runs on every GPU of its compute capabilities as it is",
}
"""Why TensorRT-RTX does not take an option."""


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What TensorRT is told besides the graph: memory, timings, and which machines the engine is to run on."""

    workspace_gib: float | None = None
    """GPU memory that layers may use for themselves; None leaves it to the library, which takes what there is."""
    timing_cache: Path | None = None
    """File of kernel timings, read if it is there and written back: the next build is faster and the same."""
    version_compatible: bool = False
    """Whether later versions of TensorRT may run the engine too."""
    hardware_compatible: bool = False
    """Whether other GPUs from Ampere on may run the engine too."""
    profile: tuple[int, int, int] | None = None
    """Fewest, usual and most clips in one run, for a graph that takes any number."""

    def __post_init__(self) -> None:
        if self.workspace_gib is not None and not self.workspace_gib > 0:
            msg = f"workspace must be more than zero GiB, got {self.workspace_gib}"
            raise UsageError(msg)
        if self.profile is not None:
            fewest, usual, most = self.profile
            if not 1 <= fewest <= usual <= most <= _MAX_CLIPS:
                msg = f"profile must be fewest ≤ usual ≤ most clips, from 1 to {_MAX_CLIPS}, got {self.profile}"
                raise UsageError(msg)

    def to_dict(self) -> dict[str, Any]:
        """What was asked for beyond the defaults, as plain JSON values."""
        asked = {
            item.name: getattr(self, item.name)
            for item in dataclasses.fields(self)
            if getattr(self, item.name) != item.default
        }
        if self.timing_cache is not None:
            asked["timing_cache"] = self.timing_cache.name
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asked.items()}


@dataclass(frozen=True, kw_only=True)
class AppliedOptions:
    """A builder's configuration and what became of each option."""

    config: Any
    """An ``IBuilderConfig``."""
    applied: dict[str, Any] = field(default_factory=dict)
    """Options by name, as plain JSON values."""
    ignored: dict[str, str] = field(default_factory=dict)
    """Why an option that was asked for is not taken, by name."""


def configure(library: TensorRt, builder: Any, *, network: Any, options: EngineOptions) -> AppliedOptions:
    """Makes a builder's configuration.

    Args:
        library: TensorRT or TensorRT-RTX.
        builder: an ``IBuilder`` of it.
        network: the parsed ``INetworkDefinition``, whose first input is the clip.
        options: what is asked for.

    Raises:
        InputFileError: the timing cache cannot be read.
        UsageError: there is a profile and no dynamic batch, or the converse.
    """
    config = builder.create_builder_config()
    ignored = {name: why for name, why in _RTX_REASONS.items() if library.is_rtx and getattr(options, name)}
    for name, why in ignored.items():
        logger.warning("%s is left out: %s", name, why)
    asked = options.to_dict()
    defaults = EngineOptions()
    options = dataclasses.replace(options, **{name: getattr(defaults, name) for name in ignored})
    _set_flags(library, config, options)
    _set_profile(builder, config, network=network, profile=options.profile)
    if options.timing_cache is not None:
        _set_timing_cache(config, options.timing_cache)
    applied = {name: value for name, value in asked.items() if name not in ignored}
    return AppliedOptions(config=config, applied=applied | {"tf32": False}, ignored=ignored)


def trtexec_command(graph_name: str, *, engine_name: str, options: EngineOptions, clip_shape: Sequence[int]) -> str:
    """The command of NVIDIA's own tool that builds the same engine, for TensorRT 10 and 11.

    Args:
        graph_name: the ONNX file.
        engine_name: where the engine goes.
        options: as for ``build_engine``.
        clip_shape: the input's shape without its first axis, such as (3, 16, 112, 112).
    """
    words = ["trtexec", f"--onnx={graph_name}", f"--saveEngine={engine_name}", "--stronglyTyped", "--noTF32"]
    words += ["--profilingVerbosity=detailed", "--skipInference"]
    if options.workspace_gib is not None:
        # Without a suffix trtexec counts in MiB, in every version.
        words.append(f"--memPoolSize=workspace:{max(1, round(options.workspace_gib * 1024))}")
    if options.timing_cache is not None:
        words.append(f"--timingCacheFile={options.timing_cache}")
    if options.version_compatible:
        words.append("--versionCompatible")
    if options.hardware_compatible:
        words.append("--hardwareCompatibilityLevel=ampere+")
    for name, clips in zip(("min", "opt", "max"), options.profile or (), strict=False):
        words.append(f"--{name}Shapes=clip:{'x'.join(map(str, (clips, *clip_shape)))}")
    return shlex.join(words)


def _set_flags(library: TensorRt, config: Any, options: EngineOptions) -> None:
    module = library.module
    # What is float32 in the graph would else be computed with a mantissa of 10 bits.
    config.clear_flag(module.BuilderFlag.TF32)
    config.profiling_verbosity = module.ProfilingVerbosity.DETAILED
    if options.workspace_gib is not None:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, int(options.workspace_gib * _GIB))
    if options.version_compatible:
        config.set_flag(module.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = module.HardwareCompatibilityLevel.AMPERE_PLUS


def _set_profile(builder: Any, config: Any, *, network: Any, profile: tuple[int, int, int] | None) -> None:
    clip = network.get_input(0)
    batch, *sides = clip.shape
    if -1 in sides:
        msg = (
            f"input {clip.name} has shape {list(clip.shape)}; only the number of clips, its first axis, may be dynamic"
        )
        raise UsageError(msg)
    if batch != -1 and profile is not None:
        msg = (
            f"input {clip.name} takes exactly {batch} clips, got a profile {profile}; export with `dynamic_batch=True`"
        )
        raise UsageError(msg)
    if batch == -1 and profile is None:
        msg = f"input {clip.name} takes any number of clips; give a profile: the fewest, usual and most in one run"
        raise UsageError(msg)
    if profile is not None:
        shapes = builder.create_optimization_profile()
        shapes.set_shape(clip.name, *((clips, *sides) for clips in profile))
        config.add_optimization_profile(shapes)


def _set_timing_cache(config: Any, path: Path) -> None:
    try:
        # Not after minutes of work, when the timings are to be written.
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.read_bytes() if path.exists() else b""
    except OSError as error:
        msg = f"cannot keep a timing cache at {path}: {error.strerror}; give another `timing_cache`"
        raise InputFileError(msg) from error
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        logger.warning("%s was made by another version or GPU, starting a new timing cache", path)
        config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)

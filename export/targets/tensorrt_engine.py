"""``model.onnx`` as an engine of TensorRT or TensorRT-RTX: one builder over both.

Networks are always strongly typed: every tensor has the type that the graph gives it, float16 where the graph says
float16 and integers where it has QuantizeLinear and DequantizeLinear. TensorRT 10 does so when asked, TensorRT 11 and
TensorRT-RTX know nothing else, so that one graph gives the same engine with all three.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import BuildError, InputFileError, UnsupportedError
from s2tf_edge.export.graph.compiler_words import compiler_words
from s2tf_edge.export.targets.base import Target
from s2tf_edge.export.targets.tensorrt_graph import parse_graph
from s2tf_edge.export.targets.tensorrt_layers import LayerFact, count_types, engine_layers, network_layers
from s2tf_edge.export.targets.tensorrt_options import AppliedOptions, EngineOptions, configure, trtexec_command
from s2tf_edge.runtime.backends.cuda_memory import Gpu, load_cuda
from s2tf_edge.runtime.backends.tensorrt_library import EXTRAS, EngineLog, TensorRt, load_tensorrt

__all__ = ["EngineFacts", "EngineOptions", "build_engine", "find_builder", "read_graph", "trtexec_command"]

logger = logging.getLogger(__name__)

_ON_GPU: Final = (
    "building a TensorRT engine here (`defer_build=True` leaves that to the device, `target='trt-rtx'` needs no GPU)"
)
_WITHOUT_GPU: Final = "building a TensorRT-RTX engine"


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """What was built, for ``meta.json``."""

    library: str
    """TensorRT or TensorRT-RTX."""
    version: str
    seconds: float
    """Time that the compiler took."""
    size_bytes: int
    gpu: str
    """What the engine runs on: a GPU's name, or words for several."""
    compute_capabilities: tuple[str, ...]
    """What it was built for, such as 8.7; empty for every GPU from 8.0 on."""
    applied: Mapping[str, Any]
    """Options by name."""
    ignored: Mapping[str, str]
    """Options that were asked for and that this library does not take, with the reason."""
    obtained: Mapping[str, Mapping[str, int]]
    """Convolutions and matrix products by type, counted on the strongly typed network."""
    layers: tuple[LayerFact, ...]
    """The network's layers, before the compiler fuses them."""
    engine_layers: tuple[LayerFact, ...] | None
    """The engine's layers; None where no GPU was there to look."""
    inspector: str
    """How ``engine_layers`` came about, or why there are none."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dataclasses.asdict(self) | {"compute_capabilities": list(self.compute_capabilities)}

    def built_with(self) -> dict[str, Any]:
        """What a session compares with the machine it runs on, as plain JSON values."""
        return {
            "library": self.library,
            "version": self.version,
            "gpu": self.gpu,
            "compute_capabilities": list(self.compute_capabilities),
            "version_compatible": bool(self.applied.get("version_compatible")),
            "hardware_compatible": bool(self.applied.get("hardware_compatible")),
        }


def build_engine(graph: Path, engine: Path, *, target: Target, options: EngineOptions | None = None) -> EngineFacts:
    """Builds an engine; its file is complete or not there, and holds nothing but the engine.

    Args:
        graph: the ONNX file: types as they are to be computed, input ``clip`` first.
        engine: where to write.
        target: one of engines.
        options: defaults for None.

    Raises:
        BuildError: there is no GPU to build for, or the compiler failed.
        InputFileError: a file cannot be read or written.
        MissingExtraError: the library is not installed.
        UnsupportedError: the library does not take an operator of the graph.
        UsageError: options do not fit the graph or the library.
    """
    options = options or EngineOptions()
    library, gpu = find_builder(target)
    log = EngineLog(library)
    builder = _make_builder(library, log)
    network = _make_network(library, builder)
    # The parser owns weights of the network until the engine is built.
    parser = parse_graph(library, network, graph, log=log)
    configured = configure(library, builder, network=network, options=options)
    logger.info("building an engine with %s", library)
    started = time.perf_counter()
    plan = builder.build_serialized_network(network, configured.config)
    seconds = time.perf_counter() - started
    del parser
    if plan is None:
        words = compiler_words(log.last_error)
        msg = f"{library} cannot build {graph.name}: {words}; try another `precision` or a larger `workspace`"
        raise BuildError(msg)
    _write(memoryview(plan), engine)
    if options.timing_cache is not None and "timing_cache" in configured.applied:
        _write(memoryview(configured.config.get_timing_cache().serialize()), options.timing_cache)
    return _facts(library, network, plan, configured=configured, gpu=gpu, seconds=seconds)


def read_graph(library: TensorRt, graph: Path) -> tuple[LayerFact, ...]:
    """The layers that a library makes of an ONNX file; no engine is built.

    Raises:
        BuildError: the library does not start.
        InputFileError: the file cannot be read.
        UnsupportedError: the library does not take an operator of the graph.
    """
    log = EngineLog(library)
    builder = _make_builder(library, log)
    network = _make_network(library, builder)
    parser = parse_graph(library, network, graph, log=log)
    layers = network_layers(network)
    del parser
    return layers


def find_builder(target: Target) -> tuple[TensorRt, Gpu | None]:
    """What builds engines of a target here: its library, and the GPU to build on where it needs one.

    Raises:
        BuildError: there is no GPU to build for.
        MissingExtraError: the library is not installed.
        UsageError: ``target`` has no engines.
    """
    purpose = _WITHOUT_GPU if target.builds_without_gpu else _ON_GPU
    library = load_tensorrt(target.name, purpose=purpose)
    return library, None if target.builds_without_gpu else _find_gpu(library)


def _find_gpu(library: TensorRt) -> Gpu:
    cuda = load_cuda(extra=EXTRAS[library.target], purpose=_ON_GPU)
    try:
        return cuda.find_gpu()
    except UnsupportedError as error:
        msg = (
            f"{library} builds on the GPU that is to run the engine, but {error}; "
            "write everything here and build on the device with `defer_build=True`, or use `target='trt-rtx'`"
        )
        raise BuildError(msg) from error


def _make_builder(library: TensorRt, log: EngineLog) -> Any:
    try:
        return library.module.Builder(log.listener)
    except (TypeError, RuntimeError) as error:
        # What its bindings make of a null pointer, as where driver and library do not fit.
        msg = (
            f"{library} does not start: {log.last_error}; see that the NVIDIA driver is as new as the library asks for"
        )
        raise BuildError(msg) from error


def _make_network(library: TensorRt, builder: Any) -> Any:
    return builder.create_network(1 << int(library.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED))


def _write(content: memoryview, path: Path) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    except OSError as error:
        msg = f"cannot write {path.name}: {error.strerror}; free some space or give another place"
        raise InputFileError(msg) from error
    finally:
        aside.unlink(missing_ok=True)


def _facts(
    library: TensorRt, network: Any, plan: Any, *, configured: AppliedOptions, gpu: Gpu | None, seconds: float
) -> EngineFacts:
    layers = network_layers(network)
    fused, inspector = _inspect(library, plan, trusted=bool(configured.applied.get("version_compatible")))
    return EngineFacts(
        library=library.name,
        version=library.version,
        seconds=round(seconds, 3),
        size_bytes=plan.nbytes,
        gpu=gpu.name if gpu else "any from compute capability 8.0",
        compute_capabilities=(gpu.compute_capability,) if gpu else (),
        applied=configured.applied,
        ignored=configured.ignored,
        obtained=count_types(layers),
        layers=layers,
        engine_layers=fused,
        inspector=inspector,
    )


def _inspect(library: TensorRt, plan: Any, *, trusted: bool) -> tuple[tuple[LayerFact, ...] | None, str]:
    log = EngineLog(library)
    runtime = library.module.Runtime(log.listener)
    runtime.engine_host_code_allowed = trusted
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        return None, f"{library} cannot look into an engine here: {log.last_error}"
    information = engine.create_engine_inspector().get_engine_information(library.module.LayerInformationFormat.JSON)
    return engine_layers(information), f"inspector of {library}"

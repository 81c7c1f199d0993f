"""A network as OpenVINO IR: ``model.xml`` and ``model.bin``, read from its ONNX graph.

The graph is read by the runtime itself (``Core.read_model``): ``openvino.convert_model`` would report its use over the
network.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

from s2tf_edge.calibration.openvino_ptq import Quantized, quantize
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.export.build import Build, BuildRequest
from s2tf_edge.export.describe import describe
from s2tf_edge.export.unsupported import unsupported_operators
from s2tf_edge.runtime.backends.openvino_session import compile_config, last_line
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.session import SessionOptions

__all__ = ["MODEL_FILE", "build_openvino", "layer_types"]

MODEL_FILE: Final = "model.xml"
_INFERENCE: Final = {"fp32": "f32", "fp16": "default", "int8": "default"}
_COUNTED: Final = {"Convolution": "Convolution", "FullyConnected": "MatMul", "MatMul": "MatMul"}


def build_openvino(request: BuildRequest) -> Build:
    """Writes ``model.xml`` and ``model.bin``.

    fp32 computes in float32. fp16 stores weights as float16 and computes in what the device prefers. int8 is quantised
    with NNCF; what is not quantised computes in what the device prefers.

    Raises:
        BuildError: int8 was asked for and does not compile on this machine.
        InputFileError: no calibration clip can be read.
        MissingExtraError: OpenVINO or NNCF is not installed.
        UnsupportedError: OpenVINO does not run an operator of the network.
        UsageError: an ``exclude`` expression matches no layer.
    """
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="exporting to OpenVINO")
    inference = _INFERENCE[request.precision]
    core = openvino.Core()
    config = compile_config(inference_precision=inference, options=SessionOptions())
    quantized = _quantize(core, request, config) if request.precision == "int8" else None
    network = _read(core, request.graph) if quantized is None else quantized.network
    _describe(network, request)
    _save(openvino, network, request)
    return Build(
        files=(MODEL_FILE, "model.bin"),
        inference=inference,
        obtained=layer_types(_compile(core, request, config)),
        options={"exclude": list(request.exclude)} | _build_options(quantized),
        calibration=_calibration(request, quantized),
    )


def _save(openvino: Any, network: Any, request: BuildRequest) -> None:
    path = request.folder / MODEL_FILE
    try:
        openvino.save_model(network, path, compress_to_fp16=request.precision == "fp16")
    except RuntimeError as error:
        msg = f"cannot write {path.name}: {last_line(error)}; free some space or give another --out"
        raise InputFileError(msg) from error


def _read(core: Any, graph: Path) -> Any:
    try:
        return core.read_model(graph)
    except RuntimeError as error:
        raise unsupported_operators(graph, "OpenVINO", said=str(error)) from error


def _quantize(core: Any, request: BuildRequest, config: dict[str, str]) -> Quantized:
    if request.calibration is None:
        msg = "int8 needs calibration clips; give a data set to calibrate with"
        raise UsageError(msg)
    return quantize(
        lambda: _read(core, request.graph),
        clips=request.calibration,
        compile_network=lambda network: core.compile_model(network, "CPU", config),
        exclude=request.exclude,
    )


def _compile(core: Any, request: BuildRequest, config: dict[str, str]) -> Any:
    try:
        return core.compile_model(request.folder / MODEL_FILE, "CPU", config)
    except RuntimeError as error:
        raise unsupported_operators(request.graph, "OpenVINO", said=str(error)) from error


def _describe(network: Any, request: BuildRequest) -> None:
    for key, value in describe(request.network, request.labels, request.spec).items():
        network.set_rt_info(value, ["s2tf_edge", key])


def layer_types(compiled: Any) -> dict[str, dict[str, int]]:
    """How many convolutions and matrix products a compiled network runs in each type, as the runtime reports it."""
    counts: dict[str, Counter[str]] = {}
    for op in compiled.get_runtime_model().get_ordered_ops():
        info = op.get_rt_info()
        kind = _COUNTED.get(info["layerType"].astype(str)) if "layerType" in info else None
        if kind:
            counts.setdefault(kind, Counter())[info["runtimePrecision"].astype(str)] += 1
    return {kind: dict(types) for kind, types in counts.items()}


def _build_options(quantized: Quantized | None) -> dict[str, Any]:
    return {} if quantized is None else {"preset": str(quantized.rung), "attempts": list(quantized.attempts)}


def _calibration(request: BuildRequest, quantized: Quantized | None) -> dict[str, Any] | None:
    if quantized is None or request.calibration is None:
        return None
    method = {
        "method": f"nncf.quantize, preset {quantized.rung}, ranges from the extremes over all clips",
        "attempts": list(quantized.attempts),
    }
    layers = {"excluded_layers": list(quantized.excluded), "activation_ranges": quantized.ranges}
    return method | layers | request.calibration.to_dict()

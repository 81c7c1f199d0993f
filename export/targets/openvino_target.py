"""A network as OpenVINO IR: ``model.xml`` and ``model.bin``, read from its ONNX graph.

The graph is read by the runtime itself (``Core.read_model``): ``openvino.convert_model`` would report its use over the
network.
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any, Final

from s2tf_edge.calibration.audit import audit_openvino
from s2tf_edge.calibration.nncf_openvino.cut import name_layers
from s2tf_edge.errors import InputFileError
from s2tf_edge.export.graph.describe import describe
from s2tf_edge.export.graph.unsupported import unsupported_operators
from s2tf_edge.export.targets.base import Build, BuildRequest
from s2tf_edge.export.targets.int8 import (
    IntegerForm,
    best_integer_form,
    describe_kept,
    obtained_types,
    openvino_quantizer,
)
from s2tf_edge.runtime.artifact import IR_FILE, IR_WEIGHTS_FILE
from s2tf_edge.runtime.backends.openvino_session import compile_config, last_line
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.session import SessionOptions

__all__ = ["build_openvino", "read_openvino"]

_INFERENCE: Final = {"fp32": "f32", "fp16": "default", "int8": "default"}


def build_openvino(request: BuildRequest) -> Build:
    """Writes ``model.xml`` and ``model.bin``.

    fp32 computes in float32. fp16 stores weights as float16 and computes in what the device prefers. int8 is quantized
    with NNCF; what is not quantized computes in what the device prefers.

    Raises:
        BuildError: int8 was asked for and does not compile on this machine.
        InputFileError: no calibration clip can be read.
        MissingExtraError: OpenVINO or NNCF is not installed.
        UnsupportedError: OpenVINO does not run an operator of the network.
        UsageError: an ``exclude`` expression matches no layer.
    """
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="exporting to OpenVINO")
    if request.precision == "int8" and not request.is_quantized:
        return _build_int8(openvino, request)
    # Audits name layers; those of other precisions count them.
    read = _read_named if request.is_quantized else _read
    network = read(openvino.Core(), request.graph)
    _save(openvino, network, request)
    inference = _INFERENCE[request.precision]
    audit = audit_openvino(_compile(openvino.Core(), request, inference))
    build = Build(files=(IR_FILE, IR_WEIGHTS_FILE), inference=inference, obtained=obtained_types(audit))
    return describe_kept(build, audit, request) if request.is_quantized else build


def read_openvino(request: BuildRequest) -> None:
    """Reads the graph, and compiles nothing.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        UnsupportedError: OpenVINO does not take an operator of the network.
    """
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="exporting to OpenVINO")
    _read(openvino.Core(), request.graph)


def _build_int8(openvino: Any, request: BuildRequest) -> Build:
    core, inference = openvino.Core(), _INFERENCE["int8"]
    quantizer = openvino_quantizer(lambda: _read_named(core, request.graph), request, inference_precision=inference)
    with best_integer_form(quantizer, request) as form:
        build = _save_int8(openvino, request, form)
        others = {}
        for other in form.others:
            place = request.beside(other.preset)
            others[place.folder.name] = _save_int8(openvino, place, other)
    return dataclasses.replace(build, others=others)


def _save_int8(openvino: Any, request: BuildRequest, form: IntegerForm) -> Build:
    core, inference = openvino.Core(), _INFERENCE["int8"]
    _save(openvino, core.read_model(form.folder / IR_FILE), request)
    audit = audit_openvino(_compile(core, request, inference))
    return Build(
        files=(IR_FILE, IR_WEIGHTS_FILE),
        inference=inference,
        obtained=obtained_types(audit),
        options=form.options,
        audit=audit.to_dict(),
        calibration=form.calibration,
    )


def _save(openvino: Any, network: Any, request: BuildRequest) -> None:
    _describe(network, request)
    path = request.folder / IR_FILE
    try:
        openvino.save_model(network, path, compress_to_fp16=request.precision == "fp16")
    except RuntimeError as error:
        msg = f"cannot write {path.name}: {last_line(error)}; free some space or give another `out`"
        raise InputFileError(msg) from error


def _read(core: Any, graph: Path) -> Any:
    try:
        return core.read_model(graph)
    except RuntimeError as error:
        opens = functools.partial(_open_alone, core)
        raise unsupported_operators(graph, "OpenVINO", message=str(error), opens=opens) from error


def _open_alone(core: Any, model: bytes) -> object:
    return core.compile_model(core.read_model(model), "CPU")


def _read_named(core: Any, graph: Path) -> Any:
    network = _read(core, graph)
    name_layers(network, graph)
    return network


def _compile(core: Any, request: BuildRequest, inference: str) -> Any:
    config = compile_config(inference_precision=inference, options=SessionOptions())
    try:
        return core.compile_model(request.folder / IR_FILE, "CPU", config)
    except RuntimeError as error:
        opens = functools.partial(_open_alone, core)
        raise unsupported_operators(request.graph, "OpenVINO", message=str(error), opens=opens) from error


def _describe(network: Any, request: BuildRequest) -> None:
    for key, value in describe(request.network, request.labels, request.spec).items():
        network.set_rt_info(value, ["s2tf_edge", key])

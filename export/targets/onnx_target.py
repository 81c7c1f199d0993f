"""A network as the ONNX graph that it was lowered to, ``model.onnx``, shipped as it is."""

from __future__ import annotations

from typing import Final

from s2tf_edge.calibration.onnx_files import copy_model
from s2tf_edge.errors import InputFileError, UnsupportedError
from s2tf_edge.export.graph.onnx_file import layer_types
from s2tf_edge.export.graph.unsupported import unsupported_operators
from s2tf_edge.export.targets.base import Build, BuildRequest
from s2tf_edge.runtime.artifact import GRAPH_FILE
from s2tf_edge.runtime.backends.ort_session import OrtSession
from s2tf_edge.runtime.session import SessionOptions

__all__ = ["build_onnx", "read_onnx"]

_INFERENCE: Final = {"fp32": "f32", "fp16": "f16"}


def build_onnx(request: BuildRequest) -> Build:
    """Ships ``model.onnx``, once ONNX Runtime has taken it.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        UnsupportedError: ONNX Runtime does not run an operator of the network.
    """
    if request.precision == "int8" and not request.is_quantized:
        return _build_int8(request)
    read_onnx(request)
    files = copy_model(request.graph, request.folder / GRAPH_FILE)
    if request.is_quantized:
        return _count_kept(request, files)
    inference = _INFERENCE.get(request.precision, "default")
    return Build(files=files, inference=inference, obtained=layer_types(request.graph))


def _build_int8(request: BuildRequest) -> Build:
    from s2tf_edge.calibration.audit import audit_onnxruntime
    from s2tf_edge.export.targets.int8 import best_integer_form, obtained_types, qdq_quantizer

    graph = request.folder / GRAPH_FILE
    with best_integer_form(qdq_quantizer(request, style="onnxruntime"), request) as form:
        files = copy_model(form.folder / GRAPH_FILE, graph)
    audit = audit_onnxruntime(graph)
    return Build(
        files=files,
        inference="default",
        obtained=obtained_types(audit),
        options=form.options,
        audit=audit.to_dict(),
        calibration=form.calibration,
    )


def _count_kept(request: BuildRequest, files: tuple[str, ...]) -> Build:
    from s2tf_edge.calibration.audit import audit_onnxruntime
    from s2tf_edge.export.targets.int8 import describe_kept

    build = Build(files=files, inference="default", obtained={})
    return describe_kept(build, audit_onnxruntime(request.folder / GRAPH_FILE), request)


def read_onnx(request: BuildRequest) -> None:
    """Opens the graph as its users will.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        UnsupportedError: ONNX Runtime does not take an operator of the network.
    """
    try:
        with OrtSession(request.graph, request.info, SessionOptions(device="CPU")):
            pass
    except (InputFileError, UnsupportedError) as error:
        # The file is valid ONNX, as it was checked when it was written: what is wrong with it is an operator.
        words = str(error.__cause__ or error)
        raise unsupported_operators(request.graph, "ONNX Runtime", message=words, opens=_open_alone) from error


def _open_alone(model: bytes) -> object:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

"""A network as an engine of TensorRT or TensorRT-RTX, ``model.engine``, beside the graph that it was built from.

The graph stays in the artifact: from it the engine is built anew for another GPU or another version of TensorRT, and it
runs where the engine cannot.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from s2tf_edge.export.artifact_folder import write_executable
from s2tf_edge.export.targets.base import Build, BuildRequest
from s2tf_edge.export.targets.tensorrt_engine import EngineFacts, build_engine, trtexec_command
from s2tf_edge.export.targets.tensorrt_options import EngineOptions
from s2tf_edge.export.targets.tensorrt_trial import try_build
from s2tf_edge.runtime.artifact import BUILD_SCRIPT, ENGINE_FILE, GRAPH_FILE, LAYERS_FILE
from s2tf_edge.text_file import write_json

__all__ = ["build_tensorrt", "describe_engine"]


def build_tensorrt(request: BuildRequest) -> Build:
    """Writes the engine, its graph and ``layers.json``; or, to be finished on the device, the graph and ``build.sh``.

    Raises:
        BuildError: there is no GPU to build for, or the compiler failed.
        MissingExtraError: the library is not installed.
        UnsupportedError: the library does not take an operator of the graph.
    """
    if request.precision == "int8" and not request.is_quantized:
        return _build_int8(request)
    _copy_graph(request.graph, request.folder)
    return _count_kept(request) if request.is_quantized else _build(request)


def _copy_graph(graph: Path, folder: Path) -> None:
    # Here, for a device that builds engines without ONNX imports this module too.
    from s2tf_edge.calibration.onnx_files import copy_model

    copy_model(graph, folder / GRAPH_FILE)


def _build(request: BuildRequest) -> Build:
    if request.defer:
        return _defer_build(request)
    graph, engine = request.folder / GRAPH_FILE, request.folder / ENGINE_FILE
    facts = build_engine(graph, engine, target=request.target, options=request.engine)
    return describe_engine(facts, request.folder, asked=request.engine)


def _count_kept(request: BuildRequest) -> Build:
    from s2tf_edge.calibration.audit import audit_graph
    from s2tf_edge.export.targets.int8 import describe_kept

    return describe_kept(_build(request), audit_graph(request.folder / GRAPH_FILE), request)


def _build_int8(request: BuildRequest) -> Build:
    from s2tf_edge.calibration.audit import audit_graph
    from s2tf_edge.export.targets.int8 import best_integer_form, obtained_types, qdq_quantizer

    graph = request.folder / GRAPH_FILE
    with best_integer_form(qdq_quantizer(request, style="tensorrt"), request) as form:
        _copy_graph(form.folder / GRAPH_FILE, request.folder)
    build, audit = _build(request), audit_graph(graph)
    return dataclasses.replace(
        build,
        obtained=obtained_types(audit),
        options={**build.options, **form.options},
        audit=audit.to_dict(),
        calibration=form.calibration,
    )


def describe_engine(facts: EngineFacts, folder: Path, *, asked: EngineOptions) -> Build:
    """What ``meta.json`` says of an engine in ``folder``, built as ``asked``; writes its layers there."""
    described = {"asked": asked.to_dict()} | facts.to_dict()
    layers = {name: described.pop(name) for name in ("layers", "engine_layers", "inspector")}
    write_json(folder / LAYERS_FILE, layers)
    return Build(
        files=(ENGINE_FILE, GRAPH_FILE, LAYERS_FILE),
        inference="default",
        obtained=described.pop("obtained"),
        options={"engine": described, "built_with": facts.built_with()},
    )


def _defer_build(request: BuildRequest) -> Build:
    from s2tf_edge.export.graph.onnx_file import layer_types

    tried = try_build(request.folder / GRAPH_FILE, target=request.target, options=request.engine)
    write_executable(_script(request), request.folder / BUILD_SCRIPT)
    options: dict[str, Any] = {"deferred": True, "tried": tried, "engine": {"asked": request.engine.to_dict()}}
    types = layer_types(request.folder / GRAPH_FILE)
    return Build(files=(GRAPH_FILE, BUILD_SCRIPT), inference="default", obtained=types, options=options)


def _script(request: BuildRequest) -> str:
    shape = request.spec.input_shape()[1:]
    trtexec = trtexec_command(GRAPH_FILE, engine_name=ENGINE_FILE, options=request.engine, clip_shape=shape)
    return f"""#!/bin/sh
# Builds the engine on the device that runs it, checks it against the network, and finishes this artifact.
set -eu
command -v s2tf-export > /dev/null || {{ echo "install s2tf-edge here, or activate its environment" >&2; exit 127; }}
exec s2tf-export "$(cd "$(dirname "$0")" && pwd)" --target {request.target.name}

# The engine alone, with NVIDIA's own tool:
# {trtexec}
"""

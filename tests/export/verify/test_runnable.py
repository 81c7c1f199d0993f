"""What runs an artifact on a machine that may have no GPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge.export import ExportOptions, ExportResult, export
from s2tf_edge.export.verify.runnable import runnable_session
from s2tf_edge.runtime.artifact import LAYERS_FILE, read_meta
from s2tf_edge.runtime.backends.ort_session import OrtSession
from s2tf_edge.runtime.backends.tensorrt_library import has_gpu


@pytest.mark.parametrize(
    ("target", "options"),
    [("onnx", {}), ("openvino", {}), ("trt", {"defer_build": True}), ("trt-rtx", {"defer_build": True})],
)
def test_an_artifact_is_run_by_what_can_run_it_here(
    export_plain: Callable[..., ExportResult], target: str, options: dict[str, bool]
) -> None:
    result = export_plain(target, verify=False, **options)
    session, through = runnable_session(result.folder, result.meta)
    if options:
        assert isinstance(session, OrtSession)
        assert session.path.name == "model.onnx"
        assert through == "ONNX Runtime on the CPU, running the engine's graph"
    else:
        assert through == target
    assert session.info.target == target


@pytest.mark.needs_rtx
@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_without_a_gpu_an_engines_graph_runs_in_its_stead(export_plain: Callable[..., ExportResult]) -> None:
    result = export_plain("trt-rtx")
    session, through = runnable_session(result.folder, result.meta)
    assert isinstance(session, OrtSession)
    assert through == "ONNX Runtime on the CPU, running the engine's graph"


TARGETS_ON_GPU = [
    pytest.param(target, marks=[pytest.mark.needs_gpu, mark])
    for target, mark in (("trt", pytest.mark.needs_tensorrt), ("trt-rtx", pytest.mark.needs_rtx))
]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("target", TARGETS_ON_GPU)
def test_on_a_gpu_it_is_the_engine_that_agrees_with_the_network(
    model_file: Path, tmp_path: Path, target: str, precision: str
) -> None:
    calib = "synthetic?clips=20" if precision == "int8" else None
    options = ExportOptions(target=target, precision=precision, out=tmp_path / "a", dynamic_batch=True, calib=calib)
    result = export(model_file, options)
    assert result.verification is not None
    assert result.verification.passed
    assert result.verification.ran_engine
    # The compiler's own account of the engine, which only a GPU can give.
    layers = json.loads((result.folder / LAYERS_FILE).read_text(encoding="utf-8"))
    assert layers["inspector"].startswith("inspector of ")
    assert layers["engine_layers"]
    counted = {kind for types in result.meta.precision["obtained"].values() for kind in types}
    assert {"fp32": "f32", "fp16": "f16", "int8": "i8"}[precision] in counted


@pytest.mark.parametrize("target", TARGETS_ON_GPU)
def test_what_was_deferred_is_built_and_run_on_its_gpu(export_plain: Callable[..., ExportResult], target: str) -> None:
    deferred = export_plain(target, defer_build=True).folder
    result = export(deferred, ExportOptions(target=target))
    assert result.verification is not None
    assert result.verification.passed
    assert result.verification.ran_engine
    assert read_meta(deferred).model == "model.engine"

"""What runs an artifact on a machine that may have no GPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from s2tf_edge.export import ExportResult
from s2tf_edge.export.verify.runnable import runnable_session
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

"""Every network at its published size on every target, built for real; docs/export-matrix.md has it as a table."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from s2tf_edge.export import ExportOptions, export
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import save_model

FORMS = [
    pytest.param("onnx", "fp32", "keep", id="onnx-keep"),
    pytest.param("onnx", "fp32", "inline", id="onnx-inline"),
    pytest.param("openvino", "fp32", "auto", id="openvino-fp32"),
    pytest.param("openvino", "fp16", "auto", id="openvino-fp16"),
    pytest.param("trt-rtx", "fp32", "auto", id="rtx-fp32", marks=pytest.mark.needs_rtx),
    pytest.param("trt-rtx", "fp16", "auto", id="rtx-fp16", marks=pytest.mark.needs_rtx),
]

NETWORKS = [
    "nl_i3d_r50",
    "r3d_18",
    "p3d_63",
    "x3d_s",
    "tv_r3d_18",
    "mc3_18",
    "r2plus1d_18",
    # Its published clip of 128 frames takes minutes; an export of 32 has the same operators.
    "s3d?frames=32",
    "ir_csn_50",
]


@pytest.fixture(scope="module", params=NETWORKS)
def backbone(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=["", "s2tf_"], ids=["plain", "s2tf"])
def model_file(request: pytest.FixtureRequest, backbone: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_model(path, create_model(f"{request.param}{backbone}", num_classes=400))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("target", "precision", "custom_ops"), FORMS)
def test_every_network_on_every_target(
    model_file: Path, tmp_path: Path, target: str, precision: str, custom_ops: str
) -> None:
    options = ExportOptions(target=target, precision=precision, custom_ops=custom_ops, out=tmp_path / "artifact")
    result = export(model_file, options)
    assert result.verification is not None
    assert result.verification.passed
    assert result.verification.relative_error < {"fp32": 1e-5, "fp16": 0.02}[precision]
    convolutions = result.meta.precision["obtained"]["Convolution"]
    # OpenVINO computes fp16 artifacts in what the processor has.
    allowed = {"fp32": {"f32"}, "fp16": {"f16", "bf16", "f32"}}[precision]
    assert set(convolutions) <= allowed
    assert (target, precision) != ("trt-rtx", "fp16") or convolutions["f16"] > 5 * convolutions.get("f32", 0)

"""A causal network, published, stepped as Triton's configuration says beside the session of its artifact."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export import ExportOptions, export, plan_export
from s2tf_edge.export.verify.runnable import runnable_session
from s2tf_edge.models import create_model, save_model
from s2tf_edge.preprocess import normalize
from s2tf_edge.runtime.session.values import frames_first

FRAMES, SIZE = 5, 32
INTEGER: dict[str, Any] = {"precision": "int8", "calib": "synthetic?clips=8"}


@pytest.fixture(scope="module")
def causal_file(tiny_x3d: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    del tiny_x3d
    torch.manual_seed(0)
    network = create_model("s2tf_x3d_tiny?width=0.5&causal=true", num_classes=10, frames=FRAMES, size=SIZE)
    path = tmp_path_factory.mktemp("causal") / "causal net.pt"
    save_model(path, network)
    return path


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"target": "onnx"}, id="onnx"),
        pytest.param({"target": "onnx", "precision": "fp16"}, id="onnx fp16", marks=pytest.mark.slow),
        pytest.param({"target": "onnx", **INTEGER}, id="onnx int8", marks=pytest.mark.slow),
        pytest.param(
            {"target": "onnx", "hop": 2, "batch": 2, "input": "u8", "mask": True}, id="wide", marks=pytest.mark.slow
        ),
        pytest.param({"target": "trt", "defer_build": True}, id="trt fp16", marks=pytest.mark.slow),
        pytest.param({"target": "trt", "defer_build": True, **INTEGER}, id="trt int8", marks=pytest.mark.slow),
    ],
)
def test_every_step_is_that_of_the_artifact(
    causal_file: Path, serve: Callable[[Path], Any], tmp_path: Path, options: dict[str, Any]
) -> None:
    result = export(causal_file, ExportOptions(**options, out=tmp_path / "a step", triton=tmp_path / "models"))
    assert result.published is not None
    served = serve(result.published.folder)
    assert len(served.config.sequence_batching.state) == len(result.meta.step.states if result.meta.step else ())
    session, _ = runnable_session(result.folder, result.meta)
    error, largest = 0.0, 0.0
    with session:
        assert session.info.step is not None
        state, hop, streams = session.start(), session.info.hop, session.info.batch or 1
        steps = session.info.step.receptive_field // hop + 3
        pixels = np.random.default_rng(0).integers(0, 256, (streams, steps, hop, SIZE, SIZE, 3), dtype=np.uint8)
        for index in range(steps):
            frames: Any = pixels[:, index]
            if session.info.spec.dtype == "float32":
                spec = dataclasses.replace(session.info.spec, frames=hop)
                frames = np.stack([normalize(each, spec) for each in frames])
            expected = session.step(frames, state)
            given = {"frames": frames_first(frames, session.info.spec)}
            got = served.infer(given, sequence=5, start=index == 0)
            error = max(error, float(np.abs(got["logits"] - expected.logits).max()))
            largest = max(largest, float(np.abs(expected.logits).max()))
            assert ("mask" in got) == bool(options.get("mask"))
            if expected.mask is not None:
                np.testing.assert_allclose(got["mask"], expected.mask[:, :, 0], atol=1e-5)
    assert error <= {"fp32": 1e-5, "fp16": 1e-2, "int8": 5e-2}[str(result.meta.precision["asked"])] * largest


def test_steps_are_not_for_the_openvino_backend_and_its_clips_are(causal_file: Path, tmp_path: Path) -> None:
    options = ExportOptions(target="openvino", out=tmp_path / "a", triton=tmp_path / "models")
    with pytest.raises(UnsupportedError, match=r"does not keep the states of a network that steps; .*`form='clip'`"):
        plan_export(causal_file, options)
    plan = plan_export(causal_file, dataclasses.replace(options, form="clip"))
    assert plan.lines()[-1] == f"and publish it for Triton as {tmp_path / 'models' / 'a'}"

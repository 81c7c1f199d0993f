"""What a TensorRT session checks before it runs, on every machine; that it runs, where there is a GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2tf_edge.errors import InputFileError, MissingExtraError, UnsupportedError, UsageError
from s2tf_edge.runtime.backends.tensorrt_library import has_gpu, load_tensorrt
from s2tf_edge.runtime.backends.tensorrt_session import TensorRtSession, _fits
from s2tf_edge.runtime.session import ModelInfo, SessionOptions
from s2tf_edge.spec import ClipSpec

needs_rtx = pytest.mark.needs_rtx
needs_no_gpu = pytest.mark.skipif(has_gpu(), reason="there is a GPU")
needs_gpu = pytest.mark.needs_gpu
SPEC = ClipSpec(frames=4, size=16)
LABELS = ("a", "b", "c")


def _session(
    folder: Path,
    *,
    device: str = "auto",
    batch: int | None = 1,
    built_with: dict[str, Any] | None = None,
    profile: bool = False,
) -> TensorRtSession:
    info = ModelInfo(
        name="model é", network="n", target="trt-rtx", precision="fp32", spec=SPEC, labels=LABELS, batch=batch
    )
    options = SessionOptions(device=device, profile=profile)
    return TensorRtSession(folder / "model.engine", info, options, target="trt-rtx", built_with=built_with or {})


def _version_here() -> str:
    return load_tensorrt("trt-rtx", purpose="a test").version


@pytest.mark.parametrize("device", ["auto", "GPU", "gpu.1", "cuda:0"])
def test_gpus_are_devices(tmp_path: Path, device: str) -> None:
    assert _session(tmp_path, device=device).describe() == {"backend": "tensorrt-rtx"}


@pytest.mark.parametrize("device", ["CPU", "GPU1", "auto.1", ""])
def test_a_device_that_is_no_gpu_is_refused(tmp_path: Path, device: str) -> None:
    with pytest.raises(UsageError, match=rf"TensorRT has no device '{device}'; it has auto, GPU, or GPU.1 and so on"):
        _session(tmp_path, device=device)


@needs_rtx
@pytest.mark.parametrize(
    ("built_with", "found"),
    [
        ({"version": "0.9.8.7"}, "TensorRT-RTX 0.9.8"),
        ({"version": "99.0.0", "version_compatible": True}, "TensorRT-RTX 99.0.0"),
        ({}, "TensorRT-RTX of an unknown version"),
    ],
)
def test_an_engine_of_another_version_is_refused_with_the_way_out(
    tmp_path: Path, built_with: dict[str, Any], found: str
) -> None:
    rebuild = rf"here is \d+\.\d+\.\d+; build it again here: s2tf-export {tmp_path} --target trt-rtx$"
    with pytest.raises(InputFileError, match=rf"model.engine was built with {found}, {rebuild}"):
        _session(tmp_path, built_with=built_with).open()


@needs_rtx
@needs_no_gpu
@pytest.mark.parametrize("version_compatible", [False, True])
def test_no_gpu_is_said_in_one_line(tmp_path: Path, version_compatible: bool) -> None:
    version = "0.1.0" if version_compatible else _version_here()
    built_with = {"version": version, "version_compatible": version_compatible}
    with pytest.raises(UnsupportedError, match=r"^there is no NVIDIA GPU here \(.*\), GPU 2 was asked for; run it"):
        _session(tmp_path, device="GPU.2", built_with=built_with).open()


@needs_rtx
def test_missing_cuda_bindings_end_in_the_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("cuda.bindings.runtime", "cuda.cudart"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"running model é needs the package 'cuda-python'; .*\[trt-rtx\]'$"):
        _session(tmp_path, built_with={"version": _version_here()}).open()


@pytest.mark.parametrize(
    ("built_with", "here", "is_rtx", "fits"),
    [
        # TensorRT: the GPU it was built on, or from Ampere on where it was asked for.
        ({"compute_capabilities": ["8.7"]}, "8.7", False, True),
        ({"compute_capabilities": ["8.7"]}, "8.6", False, False),
        ({"compute_capabilities": ["8.7"], "hardware_compatible": True}, "12.0", False, True),
        ({"compute_capabilities": ["8.7"], "hardware_compatible": True}, "7.5", False, False),
        ({}, "8.7", False, False),
        # TensorRT-RTX: those asked for, or from Ampere on.
        ({"compute_capabilities": []}, "8.6", True, True),
        ({"compute_capabilities": []}, "7.5", True, False),
        ({"compute_capabilities": ["7.5", "8.6"]}, "7.5", True, True),
        ({"compute_capabilities": ["8.6"]}, "8.9", True, False),
        ({"compute_capabilities": None}, "12.0", True, True),
    ],
)
def test_an_engine_runs_on_the_gpus_that_it_was_built_for(
    built_with: dict[str, Any], here: str, is_rtx: bool, fits: bool
) -> None:
    assert _fits(built_with, here, is_rtx=is_rtx) is fits


@needs_rtx
@needs_gpu
def test_an_engine_gives_the_graphs_logits_in_requests_of_any_size(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    engine = pytest.importorskip("s2tf_edge.export.targets.tensorrt_engine")
    target = pytest.importorskip("s2tf_edge.export.targets.registry").TARGETS["trt-rtx"]
    graph = _write_graph(tmp_path)
    options = engine.EngineOptions(profile=(2, 2, 4))
    facts = engine.build_engine(graph, tmp_path / "model.engine", target=target, options=options)
    clips = np.random.default_rng(0).random(SPEC.input_shape(7), dtype=np.float32)
    reference = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (expected,) = reference.run(["logits"], {"clip": clips})
    with _session(tmp_path, batch=None, built_with=facts.built_with()) as session:
        for count in (1, 3, 7):
            logits = session.infer(clips[:count]).logits
            np.testing.assert_allclose(logits, expected[:count], atol=1e-3 * np.ptp(expected))
        assert session.describe()["inference_precision"] == "f32"
    with _session(tmp_path, batch=None, built_with=facts.built_with(), profile=True) as session:
        layers = session.profile(lambda: session.infer(clips[:1]), runs=3)
        assert all(layer.ms > 0 for layer in layers)
        assert layers


def _write_graph(folder: Path) -> Path:
    onnx = pytest.importorskip("onnx")
    helper, number = onnx.helper, np.random.default_rng(1).standard_normal
    nodes = [
        helper.make_node("Conv", ["clip", "w"], ["maps"], pads=[1] * 6),
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    clip = helper.make_tensor_value_info("clip", onnx.TensorProto.FLOAT, ["batch", *SPEC.input_shape()[1:]])
    logits = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", len(LABELS)])
    weights = onnx.numpy_helper.from_array(number((len(LABELS), 3, 3, 3, 3)).astype(np.float32), "w")
    graph = helper.make_graph(nodes, "graph", [clip], [logits], [weights])
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path

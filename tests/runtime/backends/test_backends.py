"""One suite over all backends: the same network, the same clips, the same checks."""

from __future__ import annotations

import copy
import dataclasses
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError, UnsupportedError, UsageError
from s2tf_edge.export import ExportOptions, export
from s2tf_edge.export.artifact_folder import seal
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import load_model, save_model
from s2tf_edge.preprocess import normalize
from s2tf_edge.runtime.artifact import read_meta
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import Clips, Outputs, Session, SessionOptions

BACKENDS: dict[str, dict[str, Any]] = {
    "torch": {},
    "torch-mask": {"mask": True},
    "onnx": {"target": "onnx"},
    "onnx-dynamic": {"target": "onnx", "dynamic_batch": True},
    "onnx-fp16": {"target": "onnx", "precision": "fp16", "batch": 2},
    "onnx-u8": {"target": "onnx", "input": "u8", "dynamic_batch": True},
    "onnx-keep": {"target": "onnx", "custom_ops": "keep", "mask": True, "dynamic_batch": True},
    "onnx-inline": {"target": "onnx", "custom_ops": "inline", "mask": True, "input": "u8"},
    "openvino": {"target": "openvino", "precision": "fp32"},
    "openvino-dynamic": {"target": "openvino", "precision": "fp32", "dynamic_batch": True},
    "openvino-u8": {"target": "openvino", "precision": "fp32", "input": "u8", "batch": 2},
    "openvino-mask": {"target": "openvino", "precision": "fp32", "mask": True, "dynamic_batch": True},
}
"""What is exported, and how; with ``mask`` from a network that finds one."""
ENGINES: dict[str, dict[str, Any]] = {
    "": {"precision": "fp32"},
    "-fp16": {"precision": "fp16", "batch": 2},
    "-u8": {"precision": "fp16", "input": "u8", "dynamic_batch": True},
    "-mask": {"precision": "fp32", "mask": True, "dynamic_batch": True},
}
ON_GPU: dict[str, dict[str, Any]] = {
    **{f"gpu-{name}": options for name, options in BACKENDS.items() if name.startswith(("torch", "onnx"))},
    **{f"gpu-{target}{form}": {"target": target, **ENGINES[form]} for target in ("trt", "trt-rtx") for form in ENGINES},
}
"""The same on an NVIDIA GPU, and engines, which run nowhere else."""
NEEDS: dict[str | None, pytest.MarkDecorator] = {
    None: pytest.mark.needs_torch_cuda,
    "onnx": pytest.mark.needs_ort_cuda,
    "trt": pytest.mark.needs_tensorrt,
    "trt-rtx": pytest.mark.needs_rtx,
}
"""What each target needs to run on a GPU."""
ALL = BACKENDS | ON_GPU


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """A network without and one with a saliency mask."""
    folder = tmp_path_factory.mktemp("model")
    paths = {}
    for has_mask, name in enumerate(("r3d_10?width=0.125", "s2tf_r3d_10?width=0.0625")):
        torch.manual_seed(1)
        paths[bool(has_mask)] = folder / f"{has_mask}.pt"
        save_model(folder / f"{has_mask}.pt", create_model(name, num_classes=4, frames=4, size=40))
    return paths


@pytest.fixture(scope="module")
def model_file(model_files: dict[bool, Path]) -> Path:
    return model_files[False]


def _on_gpu(*, profiled: bool = False) -> list[Any]:
    """Names with the marks of what they need; ``profiled`` are those whose runtime tells of layers."""
    return [
        pytest.param(name, marks=[pytest.mark.needs_gpu, NEEDS[options.get("target")]])
        for name, options in ON_GPU.items()
        if "target" in options or not profiled
    ]


@pytest.fixture(scope="module", params=[*BACKENDS, *_on_gpu()])
def backend(request: pytest.FixtureRequest) -> str:
    """One after another."""
    return str(request.param)


@pytest.fixture(scope="module")
def path(backend: str, model_files: dict[bool, Path]) -> Path:
    """What ``open_session`` takes."""
    options = ALL[backend]
    model_file = model_files[options.get("mask", False)]
    if "target" not in options:
        return model_file
    return export(model_file, ExportOptions(out=model_file.with_name(backend), verify=False, **options)).folder


@pytest.fixture
def session(backend: str, path: Path) -> Session:
    return open_session(path, SessionOptions(device="GPU" if backend in ON_GPU else "CPU", threads=1))


@pytest.fixture
def tolerance(backend: str) -> float:
    """Of the logits' range."""
    return 1e-2 if ALL[backend].get("precision") == "fp16" else 1e-4


@pytest.fixture
def frames(session: Session) -> NDArray[np.uint8]:
    """Three clips of decoded frames."""
    spec = session.info.spec
    shape = (3, spec.frames, spec.size, spec.size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.fixture
def clips(session: Session, frames: NDArray[np.uint8]) -> Clips:
    """The same, as the session takes them."""
    spec = session.info.spec
    return np.stack([normalize(each, spec) for each in frames]).astype(spec.dtype)


@pytest.fixture
def expected(backend: str, model_files: dict[bool, Path], frames: NDArray[np.uint8]) -> Outputs:
    """What PyTorch says of them."""
    network = load_model(model_files[ALL[backend].get("mask", False)])
    clips = torch.from_numpy(np.stack([normalize(each, network.spec) for each in frames]))
    with torch.inference_mode():
        logits, saliency = network.eval()(clips, return_saliency=True)
    return Outputs(logits=logits.numpy(), mask=None if saliency is None else saliency.mask.numpy())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_clips_gives_the_networks_outputs(
    session: Session, clips: Clips, expected: Outputs, tolerance: float, count: int
) -> None:
    with session:
        outputs = session.infer(clips[:count])
    assert (outputs.logits.shape, outputs.logits.dtype.name) == ((count, 4), "float32")
    _assert_near(outputs.logits, expected.logits[:count], tolerance)
    assert (outputs.mask is None) == (expected.mask is None)
    if outputs.mask is not None and expected.mask is not None:
        assert (outputs.mask.shape, outputs.mask.dtype.name) == ((count, 1, 1, 2, 2), "float32")
        _assert_near(outputs.mask, expected.mask[:count], tolerance)


def _assert_near(got: NDArray[np.float32], expected: NDArray[np.float32], tolerance: float) -> None:
    assert got.shape == expected.shape
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * float(np.ptp(expected)))


def _assert_same(backend: str, got: Outputs, expected: Outputs, tolerance: float) -> None:
    """The same bits; on a GPU only the same numbers, whose libraries choose among kernels while they run."""
    if backend in ON_GPU:
        _assert_near(got.logits, expected.logits, tolerance)
        return
    np.testing.assert_array_equal(got.logits, expected.logits)
    np.testing.assert_array_equal(got.mask, expected.mask)


def test_outputs_stay_as_they_are_when_the_next_clip_runs(session: Session, clips: Clips) -> None:
    with session:
        first = session.infer(clips[:1])
        kept = copy.deepcopy(first)
        session.infer(clips[1:2])
    np.testing.assert_array_equal(first.logits, kept.logits)
    np.testing.assert_array_equal(first.mask, kept.mask)


def test_a_view_of_other_memory_gives_the_same(backend: str, session: Session, clips: Clips, tolerance: float) -> None:
    mirrored: Clips = clips[..., ::-1]
    with session:
        _assert_same(backend, session.infer(mirrored), session.infer(mirrored.copy()), tolerance)


def test_wrong_clips_are_refused(session: Session, clips: Clips) -> None:
    other = np.float32 if clips.dtype == np.uint8 else np.uint8
    wrong = [clips[0], clips[:0], clips[:, :2], clips[..., :2], clips.astype(np.float64), clips.astype(other)]
    form = "uint8 [N, 4, 40, 40, 3] (NTHWC)" if clips.dtype == np.uint8 else "float32 [N, 3, 4, 40, 40] (NCTHW)"
    with session:
        for clip in wrong:
            with pytest.raises(UsageError, match=rf"takes {re.escape(form)}, got"):
                session.infer(clip)


def test_a_closed_session_runs_nothing_and_opens_again(
    backend: str, session: Session, clips: Clips, tolerance: float
) -> None:
    with pytest.raises(UsageError, match="is not open; use it in a with statement"):
        session.infer(clips)
    with session:
        before = session.infer(clips).logits
    session.close()
    with pytest.raises(UsageError, match="is not open; use it in a with statement"):
        session.infer(clips)
    with session:
        _assert_near(session.infer(clips).logits, before, tolerance if backend in ON_GPU else 1e-6)


def _repeated(session: Session, clip: Clips) -> list[Outputs]:
    return [session.infer(clip[np.newaxis]) for _ in range(8)]


def test_forks_give_the_same_in_other_threads(backend: str, session: Session, clips: Clips, tolerance: float) -> None:
    with session:
        alone = [session.infer(clip[np.newaxis]) for clip in clips]
        forks = [session, session.fork(), session.fork()]
        with ThreadPoolExecutor(len(forks)) as executor:
            # Each thread runs a clip of its own, so that mixed-up outputs cannot stay unseen.
            results = list(executor.map(_repeated, forks, clips))
        for fork in forks[1:]:
            fork.close()
        again = session.infer(clips[:1])
    for index, outputs in enumerate(results):
        for each in outputs:
            assert np.argmin([np.abs(each.logits - other.logits).max() for other in alone]) == index
            _assert_same(backend, each, alone[index], tolerance)
    _assert_same(backend, again, alone[0], tolerance)


def test_a_session_that_is_not_open_cannot_be_forked(session: Session) -> None:
    with pytest.raises(UsageError, match="is not open"):
        session.fork()


def test_describe_says_how_it_runs(backend: str, session: Session) -> None:
    target = ALL[backend].get("target", "")
    with session:
        facts = session.describe()
    assert facts["backend"] == ("tensorrt-rtx" if target == "trt-rtx" else session.backend)
    assert facts["inference_precision"] == ("f16" if session.info.precision == "fp16" else "f32")
    # Of an engine the processor only waits.
    assert facts["threads"] == (None if target.startswith("trt") else 1)
    assert facts["version"]
    # OpenVINO names the processor.
    assert facts["device"]
    assert facts["device"] != "CPU" or backend not in ON_GPU


def test_what_pytorch_has_once_for_a_process_is_left_as_it_was(session: Session, clips: Clips) -> None:
    before = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    with session, session.fork() as fork:
        fork.infer(clips[:1])
        assert session.describe()["threads"] in {1, None}
    assert (torch.get_num_threads(), torch.backends.cudnn.allow_tf32) == before


def test_unknown_devices_are_refused(path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"no device 'TPU'.* has auto, (?!.*Azure).*[CG]PU"),
        open_session(path, SessionOptions(device="TPU")),
    ):
        pass


def test_every_backend_knows_auto_in_capitals(path: Path) -> None:
    with open_session(path, SessionOptions(device="AUTO")) as session:
        assert session.describe()["device"]


@pytest.mark.parametrize("backend", _on_gpu(profiled=True), indirect=True)
def test_layers_take_time_on_a_gpu(path: Path, clips: Clips) -> None:
    """What the runtime tells of three runs: no more than they took, and the profiler was heard."""
    with open_session(path, SessionOptions(device="GPU", profile=True)) as session:
        session.infer(clips[:1])
        began = time.perf_counter()
        layers = session.profile(lambda: session.infer(clips[:1]), runs=3)
        most_ms = 1000 * (time.perf_counter() - began)
    assert 0 < sum(layer.ms for layer in layers) < most_ms


@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider' is not in")
@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="it may load")
def test_a_provider_that_does_not_load_is_told(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """ONNX Runtime itself takes the processor in its stead, and says nothing."""
    options = ExportOptions(target="onnx", precision="fp32", out=tmp_path / "a", verify=False)
    folder = export(model_file, options).folder
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    lacking = r"has its CUDA provider here, but not what that needs \(a driver, .* cuDNN\); see that the driver works"
    with (
        pytest.raises(UnsupportedError, match=rf"{lacking} .*, or give the device CPU$"),
        open_session(folder, SessionOptions(device="GPU")),
    ):
        pass
    with open_session(folder) as session:
        assert session.describe()["device"] == "CPU"
    (warning,) = (record.getMessage() for record in caplog.records if record.levelname == "WARNING")
    assert re.search(rf"{lacking} .*; the processor runs .*model\.onnx$", warning)


@pytest.mark.parametrize("target", ["onnx", "openvino"])
@pytest.mark.parametrize("content", [b"", b"<html>not a model</html>", bytes(range(256)) * 8])
def test_a_corrupt_model_file_is_an_input_error(model_file: Path, tmp_path: Path, target: str, content: bytes) -> None:
    from s2tf_edge.runtime.backends.openvino_session import OpenVinoSession
    from s2tf_edge.runtime.backends.ort_session import OrtSession

    file = tmp_path / {"onnx": "model.onnx", "openvino": "model.xml"}[target]
    file.write_bytes(content)
    info = open_session(model_file).info
    session = {"onnx": OrtSession, "openvino": OpenVinoSession}[target](file, info, SessionOptions())
    with pytest.raises(InputFileError, match=r"is not an? .*model that .* can read .*; export it again"):
        session.open()


@pytest.mark.parametrize("target", ["onnx", "openvino"])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_model_that_takes_other_clips_than_its_description_says_is_an_input_error(
    model_file: Path, tmp_path: Path, target: str, batch: int
) -> None:
    options = ExportOptions(target=target, precision="fp32", out=tmp_path / "a", verify=False)
    folder = export(model_file, options).folder
    meta = read_meta(folder)
    clip = dataclasses.replace(meta.clip, frames=meta.clip.frames if batch == 2 else 2 * meta.clip.frames)
    seal(dataclasses.replace(meta, clip=clip, inputs={"clip": {"shape": [batch]}}), folder)
    with open_session(folder) as session, pytest.raises(InputFileError, match=r"contradicts itself|does not take or"):
        session.infer(np.zeros(clip.input_shape(batch), np.float32))


def test_an_fp32_artifact_computes_in_float32_whatever_the_device_prefers(model_file: Path, tmp_path: Path) -> None:
    folder = export(
        model_file, ExportOptions(target="openvino", precision="fp32", out=tmp_path / "a", verify=False)
    ).folder
    assert read_meta(folder).precision["inference"] == "f32"
    with open_session(folder) as session:
        assert session.describe()["inference_precision"] == "f32"

"""One suite over all backends: the same network, the same clips, the same checks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.export import ExportOptions, export
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import load_model, save_model
from s2tf_edge.runtime.artifact import read_meta
from s2tf_edge.runtime.session import Session, SessionOptions, open_session

BACKENDS = {
    "torch": {},
    "onnx": {"target": "onnx"},
    "onnx-dynamic": {"target": "onnx", "dynamic_batch": True},
    "openvino": {"target": "openvino", "precision": "fp32"},
    "openvino-dynamic": {"target": "openvino", "precision": "fp32", "dynamic_batch": True},
}


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("model") / "model.pt"
    save_model(path, create_model("r3d_10?width=0.125", num_classes=4, frames=4, size=24))
    return path


@pytest.fixture(scope="module", params=BACKENDS)
def path(request: pytest.FixtureRequest, model_file: Path) -> Path:
    """What ``open_session`` takes, one backend after another."""
    options = BACKENDS[request.param]
    if not options:
        return model_file
    return export(model_file, ExportOptions(out=model_file.with_name(request.param), verify=False, **options)).folder  # type: ignore[arg-type]


@pytest.fixture
def session(path: Path) -> Session:
    return open_session(path, SessionOptions(device="CPU", threads=1))


@pytest.fixture
def clips(model_file: Path) -> np.ndarray:
    shape = load_model(model_file).spec.input_shape(3)
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def _reference(model_file: Path, clips: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(load_model(model_file)(torch.from_numpy(clips)))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_clips_gives_the_networks_logits(
    session: Session, model_file: Path, clips: np.ndarray, count: int
) -> None:
    expected = _reference(model_file, clips)
    with session:
        logits = session.infer(clips[:count]).logits
    assert (logits.shape, logits.dtype.name) == ((count, 4), "float32")
    np.testing.assert_allclose(logits, expected[:count], rtol=0, atol=1e-4 * np.ptp(expected))


def test_outputs_stay_as_they_are_when_the_next_clip_runs(session: Session, clips: np.ndarray) -> None:
    with session:
        first = session.infer(clips[:1]).logits
        kept = first.copy()
        session.infer(clips[1:2])
    np.testing.assert_array_equal(first, kept)


def test_a_view_of_other_memory_gives_the_same(session: Session, clips: np.ndarray) -> None:
    mirrored = clips[..., ::-1]
    with session:
        np.testing.assert_array_equal(
            session.infer(mirrored).logits, session.infer(np.ascontiguousarray(mirrored)).logits
        )


def test_wrong_clips_are_refused(session: Session, clips: np.ndarray) -> None:
    wrong = [clips[0], clips[:0], clips[:, :, :2], clips[..., :20], clips.astype(np.float64), clips.astype(np.uint8)]
    with session:
        for clip in wrong:
            with pytest.raises(UsageError, match=r"takes float32 \[N, 3, 4, 24, 24\] \(NCTHW\), got"):
                session.infer(clip)


def test_a_closed_session_runs_nothing_and_opens_again(session: Session, clips: np.ndarray) -> None:
    with pytest.raises(UsageError, match="is not open; use it in a with statement"):
        session.infer(clips)
    with session:
        before = session.infer(clips).logits
    session.close()
    with pytest.raises(UsageError, match="is not open; use it in a with statement"):
        session.infer(clips)
    with session:
        np.testing.assert_allclose(session.infer(clips).logits, before, rtol=0, atol=1e-6)


def test_describe_says_how_it_runs(session: Session) -> None:
    with session:
        facts = session.describe()
    assert facts["backend"] == session.backend
    assert facts["inference_precision"] == "f32"
    assert facts["threads"] == 1
    assert facts["version"]
    assert facts["device"]


def test_threads_do_not_outlive_the_session(path: Path) -> None:
    before = torch.get_num_threads()
    with open_session(path, SessionOptions(threads=1)) as session:
        assert session.describe()["threads"] == 1
    assert torch.get_num_threads() == before


def test_unknown_devices_are_refused(path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"no device 'TPU'.* has .*CPU"),
        open_session(path, SessionOptions(device="TPU")),
    ):
        pass


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


def test_an_fp32_artifact_computes_in_float32_whatever_the_device_prefers(model_file: Path, tmp_path: Path) -> None:
    folder = export(
        model_file, ExportOptions(target="openvino", precision="fp32", out=tmp_path / "a", verify=False)
    ).folder
    assert read_meta(folder).precision["inference"] == "f32"
    with open_session(folder) as session:
        assert session.describe()["inference_precision"] == "f32"

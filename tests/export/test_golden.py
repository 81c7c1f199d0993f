"""Artifacts that earlier code made: they open, run, are exported further and rebuilt (``tests/golden/make.py``)."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError, MissingExtraError
from s2tf_edge.export import ExportOptions, export, plan_export
from s2tf_edge.export.rebuild import RebuildPlan, is_rebuild
from s2tf_edge.export.verify.agreement import verify_artifact
from s2tf_edge.export.verify.expected import read_expected
from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.preprocess import normalize
from s2tf_edge.runtime import open_session
from s2tf_edge.runtime.artifact import check_files, read_meta

VERSION_1 = Path(__file__).parents[1] / "golden" / "version_1"
FLOATS = VERSION_1 / "tiny_onnx_fp32"
DEFERRED = VERSION_1 / "tiny_trt_fp16"


def _clips(count: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((count, 1, 3, 4, 16, 16)).astype(np.float32)


def _run(graph: Path, clip: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"clip": clip})[0])


@pytest.mark.parametrize("folder", [FLOATS, DEFERRED], ids=lambda folder: folder.name)
def test_its_description_is_read_and_its_files_are_whole(folder: Path) -> None:
    meta = read_meta(folder)
    check_files(meta, folder)
    assert (meta.format, meta.network, meta.labels) == (1, "tiny", tuple("abcde"))
    assert (meta.clip.frames, meta.clip.size) == (4, 16)
    assert (meta.clip.mean, meta.clip.std) == ((0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    assert meta.inputs == {"clip": {"shape": [1, 3, 4, 16, 16], "dtype": "float32"}}


def test_it_runs_as_its_graph_does() -> None:
    with open_session(FLOATS) as session:
        assert (session.info.target, session.info.precision, session.info.labels) == ("onnx", "fp32", tuple("abcde"))
        for clip in _clips(3):
            np.testing.assert_allclose(session.infer(clip).logits, _run(FLOATS / "model.onnx", clip), rtol=1e-6)


def test_its_graph_is_the_convolution_that_it_was() -> None:
    """As numpy computes it from the weights of ``make.py``, in float64."""
    random = np.random.default_rng(0)
    weights, classes = (random.normal(size=shape) for shape in ((8, 3, 1, 3, 3), (8, 5)))
    (clip,) = _clips(1)
    padded = np.pad(clip[0].astype(np.float64), [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    maps = np.einsum("cthwij,ocij->othw", windows, weights[:, :, 0])
    logits = np.maximum(maps, 0).mean(axis=(1, 2, 3)) @ classes
    with open_session(FLOATS) as session:
        np.testing.assert_allclose(session.infer(clip).logits[0], logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", ["openvino", "onnx"])
def test_it_is_exported_for_a_target_again(tmp_path: Path, target: str) -> None:
    result = export(FLOATS, ExportOptions(target=target, precision="fp32", out=tmp_path / "a", dynamic_batch=True))
    assert result.verification is not None
    assert result.verification.passed
    (clip,) = _clips(1)
    with open_session(result.folder) as session:
        np.testing.assert_allclose(session.infer(clip).logits, _run(FLOATS / "model.onnx", clip), rtol=1e-4, atol=1e-5)


def test_a_deferred_one_waits_for_its_engine() -> None:
    with pytest.raises(InputFileError, match=r"still to be built: on the device, run its build\.sh, or s2tf-export "):
        open_session(DEFERRED)


def test_a_deferred_one_is_rebuilt_and_not_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_rebuild(DEFERRED, "trt")
    assert is_rebuild(DEFERRED, "trt-rtx")
    assert not is_rebuild(DEFERRED, "onnx")
    assert not is_rebuild(FLOATS, "trt")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingExtraError, match="needs the package 'tensorrt'"):
        plan_export(DEFERRED, ExportOptions(target="trt"))


@pytest.mark.needs_rtx
def test_an_engine_is_built_from_its_graph(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DEFERRED, tmp_path / "tiny"))
    plan = plan_export(folder, ExportOptions(target="trt-rtx"))
    assert isinstance(plan, RebuildPlan)
    assert plan.folder == tmp_path / "tiny_trt-rtx_fp16"
    result = export(folder, ExportOptions(target="trt-rtx"))
    assert (result.folder / "model.engine").is_file()
    assert result.verification is not None
    assert result.verification.passed


def test_what_its_network_said_still_agrees_with_its_graph(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(DEFERRED, tmp_path / "a"))
    meta = read_meta(folder)
    expected, clips = read_expected(folder, meta), seeded_clips(meta.clip)
    verification = verify_artifact(
        folder, meta, expected=expected, clips=clips, kind="seeded", explain=lambda found: f"disagrees: {found}"
    )
    assert verification.passed
    assert verification.relative_error < 0.01
    assert verification.through == "ONNX Runtime on the CPU, running the engine's graph"
    floats = [_run(FLOATS / "model.onnx", normalize(clip, meta.clip)[None].astype(np.float32)) for clip in clips]
    np.testing.assert_allclose(expected.logits, np.concatenate(floats), rtol=1e-4, atol=1e-5)

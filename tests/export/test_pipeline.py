"""Plans and what becomes of them, on a small ``.onnx`` that needs no tracing."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.errors import UsageError
from s2tf_edge.export import ExportOptions, ExportResult, export
from s2tf_edge.preprocess import preprocess
from s2tf_edge.runtime.artifact import check_files, read_meta, sha256
from s2tf_edge.runtime.open import open_session

_RTX = pytest.param("trt-rtx", marks=pytest.mark.needs_rtx)
_FILES = {
    "onnx": ["model.onnx", "reproduce.sh", "verify.json"],
    "openvino": ["model.xml", "model.bin", "reproduce.sh", "verify.json"],
    "trt-rtx": ["model.engine", "model.onnx", "layers.json", "reproduce.sh", "expected.npz", "verify.json"],
}


def _options(plain: Path, target: str, **options: Any) -> ExportOptions:
    return ExportOptions(target=target, meta=plain.with_suffix(".json"), **options)


def _tree(folder: Path) -> dict[str, str]:
    """Every path below ``folder``, with the hash of what is a file."""
    return {str(path.relative_to(folder)): sha256(path) if path.is_file() else "" for path in folder.rglob("*")}


@pytest.mark.parametrize("target", ["onnx", "openvino", _RTX])
def test_an_artifact_of_every_target_describes_itself(
    plain: Path, export_plain: Callable[..., ExportResult], target: str
) -> None:
    result = export_plain(target)
    meta = read_meta(result.folder)
    assert meta == result.meta
    check_files(meta, result.folder)
    assert list(meta.files) == _FILES[target]
    assert sorted([*meta.files, "meta.json"]) == sorted(path.name for path in result.folder.iterdir())
    assert (meta.network, meta.labels, meta.target) == ("plain net", tuple("abcde"), target)
    assert meta.inputs == {"clip": {"shape": [1, 3, 4, 16, 16], "dtype": "float32"}}
    assert meta.outputs == {"logits": {"shape": [1, 5], "dtype": "float32"}}
    assert meta.source == {"file": plain.name, "sha256": sha256(plain)}
    assert meta.custom_ops == {}
    assert (meta.build["batch"], meta.build["dynamic_batch"], meta.build["opset"]) == (1, False, 18)
    # 8 filters of 3·3·3 weights at 4·8·8 places, then 8·5.
    assert meta.build["macs"] == 8 * 27 * 4 * 8 * 8 + 8 * 5
    assert meta.build["operators"]["Conv"] == 1
    assert set(meta.precision["obtained"]) == {"Convolution", "MatMul"}


@pytest.mark.parametrize("target", ["onnx", "openvino", _RTX])
@pytest.mark.parametrize(("options", "batch"), [({"batch": 3}, 3), ({"dynamic_batch": True}, None)])
def test_so_many_clips_at_once(
    plain: Path, export_plain: Callable[..., ExportResult], target: str, options: dict[str, Any], batch: int | None
) -> None:
    result = export_plain(target, **options)
    assert result.meta.inputs["clip"]["shape"] == [batch, 3, 4, 16, 16]
    assert result.meta.outputs["logits"]["shape"] == [batch, 5]
    assert result.meta.build["batch"] == batch
    assert result.verification is not None
    assert result.verification.passed
    if target != "openvino":
        (clip,) = onnx.load(result.folder / "model.onnx").graph.input
        first = clip.type.tensor_type.shape.dim[0]
        assert (first.dim_value or first.dim_param) == (batch or "batch")


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_bytes_give_the_logits_of_normalized_clips(
    export_plain: Callable[..., ExportResult], tmp_path: Path, target: str
) -> None:
    precision = {"precision": "fp32", "dynamic_batch": True}
    floats = export_plain(target, out=tmp_path / "f32", **precision)
    pixels = export_plain(target, out=tmp_path / "u8", input="u8", **precision)
    assert pixels.meta.inputs["clip"] == {"shape": [None, 4, 16, 16, 3], "dtype": "uint8"}
    assert (pixels.meta.clip.layout, pixels.meta.clip.dtype) == ("NTHWC", "uint8")
    logits = []
    for result in (floats, pixels):
        spec = result.meta.clip
        videos = open_data("synthetic?clips=3").videos
        clips = np.stack([preprocess(video.read(spec), spec) for video in videos]).astype(spec.dtype)
        with open_session(result.folder) as session:
            logits.append(session.infer(clips).logits)
    tolerance = 0.0 if target == "onnx" else 1e-5 * float(np.ptp(logits[0]))
    np.testing.assert_allclose(logits[1], logits[0], rtol=0, atol=tolerance)


@pytest.mark.needs_rtx
def test_an_engine_that_takes_bytes_says_so(export_plain: Callable[..., ExportResult]) -> None:
    result = export_plain("trt-rtx", input="u8")
    assert result.meta.inputs["clip"] == {"shape": [1, 4, 16, 16, 3], "dtype": "uint8"}
    (clip,) = onnx.load(result.folder / "model.onnx").graph.input
    assert clip.type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_the_graph_says_which_bytes_it_takes(export_plain: Callable[..., ExportResult]) -> None:
    result = export_plain("onnx", input="u8")
    properties = {each.key: each.value for each in onnx.load(result.folder / "model.onnx").metadata_props}
    assert json.loads(properties["clip"]) == result.meta.clip.to_dict()


@pytest.mark.parametrize(("opset", "written"), [(None, 18), (18, 18), (21, 21), (24, 24)])
def test_the_opset_is_the_one_asked_for(
    export_plain: Callable[..., ExportResult], opset: int | None, written: int
) -> None:
    result = export_plain("onnx", opset=opset)
    assert result.meta.build["opset"] == written
    (standard,) = [each for each in onnx.load(result.folder / "model.onnx").opset_import if not each.domain]
    assert standard.version == written
    onnx.checker.check_model(result.folder / "model.onnx", full_check=True)


@pytest.mark.parametrize(
    ("options", "kind", "n"),
    [
        ({}, "seeded", 8),
        ({"calib": "synthetic?clips=5", "calib_clips": 2}, "unseen", 5),
        ({"calib": "synthetic?clips=5", "eval": "synthetic?clips=3&split=test"}, "evaluation", 16),
    ],
)
def test_verification_says_on_what_and_through_what(
    export_plain: Callable[..., ExportResult], options: dict[str, Any], kind: str, n: int
) -> None:
    folder = export_plain("onnx", **options).folder
    verified = json.loads((folder / "verify.json").read_text())
    assert (verified["passed"], verified["clips"], verified["n"], verified["through"]) == (True, kind, n, "onnx")
    assert verified["tolerance"] == {"max_error": 1e-4, "mean_error": 3e-5, "cosine": 0.999999}


def test_folders_above_the_artifact_are_made(export_plain: Callable[..., ExportResult], tmp_path: Path) -> None:
    folder = export_plain("onnx", out=tmp_path / "new" / "folder" / "a").folder
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("a")] == ["new/folder/a"]
    check_files(read_meta(folder), folder)


def test_deferring_needs_no_tensorrt(
    export_plain: Callable[..., ExportResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    result = export_plain("trt", defer_build=True)
    assert result.is_deferred
    assert result.verification is not None
    assert result.verification.passed
    assert "trtexec --onnx=model.onnx --saveEngine=model.engine" in (result.folder / "build.sh").read_text()


def test_there_is_no_mask_in_a_plain_file(export_plain: Callable[..., ExportResult], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no saliency mask to put out; leave out `mask`"):
        export_plain("onnx", mask=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", ["openvino", _RTX])
def test_an_onnx_artifact_is_exported_for_another_target(
    export_plain: Callable[..., ExportResult], tmp_path: Path, target: str
) -> None:
    first = export_plain("onnx", dynamic_batch=True)
    second = export(first.folder, ExportOptions(target=target, out=tmp_path / "b", batch=2))
    assert (second.meta.labels, second.meta.clip) == (first.meta.labels, first.meta.clip)
    assert second.meta.inputs["clip"]["shape"][0] == 2
    assert second.verification is not None
    assert second.verification.passed


_STAGES = {
    "reading": ("s2tf_edge.export.sources.plain_onnx", "load_graph"),
    "lowering": ("s2tf_edge.export.graph.lowering", "lower"),
    "writing the graph": ("s2tf_edge.export.graph.onnx_file", "write_graph"),
    "building": ("s2tf_edge.export.targets.tensorrt_target", "build_engine"),
    "sealing": ("s2tf_edge.export.pipeline", "seal"),
    "choosing clips": ("s2tf_edge.export.pipeline", "verification_clips"),
    "running the network": ("s2tf_edge.export.verify.reference", "write_expected"),
    "verifying": ("s2tf_edge.export.verify.agreement", "compare_session"),
    "writing what was found": ("s2tf_edge.export.verify.agreement", "write_json"),
}


@pytest.mark.needs_rtx
@pytest.mark.parametrize("stage", _STAGES)
@pytest.mark.parametrize("has_older", [False, True])
def test_an_interrupt_at_any_stage_leaves_nothing(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, has_older: bool
) -> None:
    """Each stage is interrupted at its end, when what it writes is there."""
    module, name = _STAGES[stage]
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    options = _options(plain, "trt-rtx", out=tmp_path / "a")
    if has_older:
        export(plain, dataclasses.replace(options, target="onnx"))
    before = _tree(tmp_path)
    real: Callable[..., object] = getattr(importlib.import_module(module), name)

    def interrupted(*arguments: object, **options: object) -> None:
        real(*arguments, **options)
        raise KeyboardInterrupt(stage)

    monkeypatch.setattr(f"{module}.{name}", interrupted)
    with pytest.raises(KeyboardInterrupt, match=stage):
        export(plain, options)
    assert _tree(tmp_path) == before


def test_an_older_artifact_gives_way_to_a_finished_one(
    export_plain: Callable[..., ExportResult], tmp_path: Path
) -> None:
    export_plain("openvino")
    result = export_plain("onnx")
    assert sorted(path.name for path in result.folder.iterdir()) == sorted([*_FILES["onnx"], "meta.json"])
    assert [path.name for path in tmp_path.iterdir()] == ["a"]

"""What is checked, and told, before anything is built."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.errors import InputFileError, MissingExtraError, UsageError
from s2tf_edge.export import TARGETS, ExportOptions, ExportPlan, ExportResult, plan_export
from s2tf_edge.runtime.artifact import sha256

_RTX = pytest.param("trt-rtx", marks=pytest.mark.needs_rtx)


def _options(plain: Path, target: str, **options: Any) -> ExportOptions:
    return ExportOptions(target=target, meta=plain.with_suffix(".json"), **options)


def _tree(folder: Path) -> dict[str, str]:
    """Every path below ``folder``, with the hash of what is a file."""
    return {str(path.relative_to(folder)): sha256(path) if path.is_file() else "" for path in folder.rglob("*")}


@pytest.mark.parametrize("target", ["onnx", "openvino", _RTX, "trt"])
@pytest.mark.parametrize("options", [{}, {"out": "new/folder/a"}])
def test_a_plan_writes_nothing(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, options: dict[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    before = _tree(plain.parent)
    paths = {name: Path(value) for name, value in options.items()}
    plan = plan_export(plain, _options(plain, target, defer_build=target == "trt", **paths))
    assert isinstance(plan, ExportPlan)
    assert plan.lines()[0].startswith("would export plain net (5 classes, clips of 4×16×16) from ")
    assert plan.title == f"exporting for {plan.target.name}, {plan.precision}"
    assert plan.lines()[1] == f"for {target} in {plan.precision}, to {plan.folder}"
    assert ("leaving the engine to be built on the device" in plan.lines()) == (target == "trt")
    assert (_tree(plain.parent), _tree(tmp_path)) == (before, {})


@pytest.mark.parametrize("target", TARGETS)
def test_the_default_folder_is_named_after_model_target_and_precision(plain: Path, target: str) -> None:
    plan = plan_export(plain, _options(plain, target, defer_build=TARGETS[target].is_engine))
    assert plan.folder == plain.with_name(f"plain net_{target}_{'fp32' if target == 'onnx' else 'fp16'}")


def test_a_missing_tensorrt_is_found_before_the_model_is_read(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setattr("s2tf_edge.export.plan.open_network", pytest.fail)
    ways = "`defer_build=True` leaves that to the device, `target='trt-rtx'` needs no GPU"
    with pytest.raises(MissingExtraError, match=rf"{ways}.*pip install 's2tf-edge\[tensorrt\]'"):
        plan_export(plain, _options(plain, "trt"))


@pytest.mark.parametrize("options", [{"precision": "fp16"}, {"input": "u8"}])
def test_only_a_float32_graph_is_exported_further(
    export_plain: Callable[..., ExportResult], options: dict[str, str]
) -> None:
    folder = export_plain("onnx", **options).folder
    message = (
        r"keeps no float32 graph to export for another target.*give the model it was made from \(plain net\.onnx\)"
    )
    with pytest.raises(InputFileError, match=message):
        plan_export(folder, ExportOptions(target="openvino"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told_before_any_work(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o555)
    for out in (tmp_path / "closed" / "a", tmp_path / "closed" / "new" / "a"):
        with pytest.raises(InputFileError, match=r"no permission to write into .*closed; give another `out`"):
            plan_export(plain, _options(plain, "onnx", out=out))


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Two files that end like videos, which is all that is looked at before anything is built."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / name).touch()
    return folder


def test_a_dry_run_says_how_many_clips_of_how_many_videos(plain: Path, clips: Path) -> None:
    for count, words in ((5, "up to 5"), (2, "2")):
        options: dict[str, Any] = {"precision": "int8", "calib": f"{clips}/*.mp4", "calib_clips": count}
        plan = plan_export(plain, _options(plain, "openvino", **options))
        assert isinstance(plan, ExportPlan)
        assert f"int8 calibrated on {words} clips of the 2 videos of {clips}/*.mp4" in plan.lines()


def test_a_bound_on_the_loss_needs_labels(plain: Path, clips: Path) -> None:
    options: dict[str, Any] = {"precision": "int8", "calib": str(clips), "eval": str(clips)}
    plan = plan_export(plain, _options(plain, "openvino", **options))
    assert isinstance(plan, ExportPlan)
    assert plan.labeled is None
    message = r"`max_drop` measures top-1, .*, and those of .*clips have none; give `eval=DATA` as a folder of class"
    with pytest.raises(UsageError, match=message):
        plan_export(plain, _options(plain, "openvino", **options, max_drop=1.0))


def test_what_comes_split_is_calibrated_on_one_side_and_measured_on_the_other(plain: Path, tmp_path: Path) -> None:
    for name in ("train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4", "test/a/4.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    plan = plan_export(plain, _options(plain, "onnx", precision="int8", calib=str(tmp_path), eval=str(tmp_path)))
    assert isinstance(plan, ExportPlan)
    assert plan.calib is not None
    assert plan.evaluation is not None
    assert [Path(video.name).stem for video in plan.calib.videos] == ["1", "2"]
    assert [Path(video.name).stem for video in plan.evaluation.videos] == ["4"]


@pytest.mark.parametrize(
    ("target", "options", "overflows", "bits"),
    [
        ("openvino", {"precision": "int8"}, True, 7),
        ("onnx", {"precision": "auto"}, True, 7),
        ("onnx", {"precision": "int8", "weight_bits": 8}, True, 8),
        ("onnx", {"precision": "int8"}, False, None),
        ("onnx", {"precision": "fp32"}, True, None),
        ("trt", {"precision": "int8", "defer_build": True}, True, None),
    ],
)
def test_weights_have_the_bits_that_this_processor_has_room_for(
    plain: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    options: dict[str, Any],
    overflows: bool,
    bits: int | None,
) -> None:
    monkeypatch.setattr("s2tf_edge.export.plan.saturates_int8", lambda: overflows)
    plan = plan_export(plain, _options(plain, target, calib="synthetic?clips=2", **options))
    assert isinstance(plan, ExportPlan)
    assert plan.options.weight_bits == bits
    # What is made again elsewhere is the same.
    command = plan.command()
    assert command is not None
    assert ("--weight-bits" in command) is (bits is not None)

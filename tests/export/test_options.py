from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.calibration.ranges.ranges import METHODS as CALIBRATION_METHODS
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.export.options import METHODS, PROFILE, ExportOptions
from s2tf_edge.export.targets.registry import TARGETS, find_target
from s2tf_edge.export.targets.tensorrt_options import EngineOptions
from s2tf_edge.runtime.backends.tensorrt_library import has_gpu


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"custom_ops": "drop"}, r"`custom_ops` must be one of auto, keep, inline, got 'drop'"),
        ({"input": "u16"}, r"`input` must be one of f32, u8, got 'u16'"),
        ({"weight_bits": 4}, r"`weight_bits` must be from 7 to 8, got 4"),
        ({"calib_clips": 0}, r"`calib_clips` must be one or more, got 0"),
        ({"batch": 0}, r"`batch` must be from 1 to 256, got 0"),
        ({"batch": 257}, r"`batch` must be from 1 to 256, got 257"),
        ({"opset": 17}, r"`opset` must be from 18 to 24, got 17"),
        ({"opset": 25}, r"`opset` must be from 18 to 24, got 25"),
        (
            {"batch": 2, "dynamic_batch": True},
            r"`batch=2` fixes the number of clips and `dynamic_batch=True` leaves it open",
        ),
        ({"workspace": 0.0}, r"`workspace` must lie in \(0, 1024\] GiB, got 0"),
        ({"workspace": -1.0}, r"`workspace` must lie in \(0, 1024\] GiB, got -1"),
        ({"workspace": float("nan")}, r"`workspace` must lie in \(0, 1024\] GiB, got nan"),
        ({"workspace": 1e6}, r"`workspace` must lie in \(0, 1024\] GiB, got 1e\+06"),
        ({"calib_method": "max"}, r"`calib_method` must be one of minmax, entropy, percentile, mse, got 'max'"),
        ({"max_drop": -0.5, "eval": "e"}, r"`max_drop` must lie between 0 and 100 points, got -0.5"),
        ({"max_drop": float("nan"), "eval": "e"}, r"`max_drop` must lie between 0 and 100 points, got nan"),
        ({"max_drop": 1.0}, r"`max_drop` needs labeled videos to measure the loss on; give `eval=DATA`"),
        ({"exclude": ("stem", "(")}, r"`exclude` '\(' is not a regular expression: missing \)"),
    ],
)
def test_values_out_of_their_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ExportOptions(target="onnx", **options)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("openvino", {"precision": "int8"}, r"int8 needs clips to calibrate with; give `calib=DATA`"),
        ("openvino", {"exclude": ("stem",)}, r"`exclude` is for int8, but the precision is fp16; drop one of them"),
        ("onnx", {"calib_method": "mse"}, r"`calib_method` is for int8, but the precision is fp32"),
        ("onnx", {"weight_bits": 7}, r"`weight_bits` is for int8, but the precision is fp32"),
        ("onnx", {"max_drop": 1.0, "eval": "synthetic"}, r"`max_drop` is for int8, but the precision is fp32"),
        ("openvino", {"precision": "fp16", "sensitivity": Path("a.html")}, r"`sensitivity` is for int8, but the"),
        (
            "openvino",
            {"precision": "auto", "sensitivity": Path("a.html")},
            r"`sensitivity` is for int8, but auto tries that only with `calib=DATA`; drop one of them",
        ),
        (
            "onnx",
            {"precision": "int8", "calib": "synthetic", "custom_ops": "keep"},
            r"`custom_ops='keep'` leaves nodes that",
        ),
        (
            "onnx",
            {"precision": "auto", "calib": "synthetic", "custom_ops": "keep"},
            r"`custom_ops='keep'` leaves nodes that",
        ),
        (
            "trt",
            {"precision": "auto", "defer_build": True},
            r"`precision='auto'` times what it builds, which `defer_bui",
        ),
        ("openvino", {"custom_ops": "keep"}, r"openvino runs standard operators only, so `custom_ops='keep'` is not"),
        ("onnx", {"defer_build": True}, r"`defer_build` is for TensorRT, but the target is onnx; leave it out"),
        ("onnx", {"workspace": 1.0}, r"`workspace` is for TensorRT, but the target is onnx; leave it out"),
        ("openvino", {"timing_cache": Path("t")}, r"`timing_cache` is for TensorRT, but the target is openvino"),
        ("openvino", {"version_compatible": True}, r"`version_compatible` is for TensorRT, but the target is openvino"),
        ("onnx", {"calib_clips": 20}, r"`calib_clips=20` counts clips of `calib`, which is missing; give `calib=DATA`"),
        ("onnx", {"eval": "synthetic", "verify": False}, r"`eval` is to verify on, which `verify=False` leaves out"),
        ("onnx", {"hardware_compatible": True}, r"`hardware_compatible` is for TensorRT, but the target is onnx"),
    ],
)
def test_what_a_target_does_not_take_is_refused(target: str, options: dict[str, Any], message: str) -> None:
    asked = ExportOptions(target=target, **options)
    found, precision = find_target(target, precision=asked.precision)
    with pytest.raises(UsageError, match=message):
        asked.check(found, precision=precision)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_takes_its_defaults(target: str) -> None:
    found, precision = find_target(target, precision=None)
    ExportOptions(target=target).check(found, precision=precision)
    assert precision == ("fp32" if target == "onnx" else "fp16")


@pytest.mark.parametrize("target", ["trt", "trt-rtx"])
def test_engines_take_options_of_their_own(target: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    options = ExportOptions(
        target=target, workspace=2.0, timing_cache=cache, version_compatible=True, hardware_compatible=True
    )
    options.check(TARGETS[target], precision="fp16")
    assert options.engine() == EngineOptions(
        workspace_gib=2.0, timing_cache=cache, version_compatible=True, hardware_compatible=True
    )
    assert dataclasses.replace(options, dynamic_batch=True).engine().profile == PROFILE


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
@pytest.mark.parametrize("target", ["trt", "trt-rtx"])
def test_the_fastest_engine_is_not_guessed_without_a_gpu(target: str) -> None:
    with pytest.raises(UsageError, match=rf"engines of {target} need an NVIDIA GPU, which is not here; name a prec"):
        ExportOptions(target=target, precision="auto").check(TARGETS[target], precision="auto")


def test_auto_takes_what_is_for_int8_where_it_may_come_to_that() -> None:
    options = ExportOptions(
        target="openvino",
        precision="auto",
        calib="synthetic",
        eval="synthetic",
        max_drop=0.0,
        exclude=("stem",),
        calib_method="mse",
        sensitivity=Path("a.html"),
    )
    options.check(TARGETS["openvino"], precision="auto")
    flags = {"--max-drop", "--exclude", "--calib-method", "--sensitivity"}
    for precision, said in (("int8", flags), ("auto", flags), ("fp16", set())):
        command = options.command(Path("m.pt"), precision=precision, folder=Path("a"))
        assert command is not None
        assert flags & set(command) == said
        assert "--calib" in command


def test_a_bound_is_measured_on_videos_that_nothing_else_is_for() -> None:
    options = ExportOptions(
        target="openvino", precision="auto", calib="synthetic", eval="synthetic", max_drop=1.0, verify=False
    )
    options.check(TARGETS["openvino"], precision="auto")
    for precision, is_said in (("int8", True), ("fp16", False)):
        command = options.command(Path("m.pt"), precision=precision, folder=Path("a"))
        assert command is not None
        assert ("--eval" in command) is is_said


def test_defaults_need_no_words() -> None:
    command = ExportOptions(target="onnx").command(Path("/m/a b.pt"), precision="fp32", folder=Path("/o/é"))
    assert command == ["s2tf-export", "/m/a b.pt", "--target", "onnx", "--precision", "fp32", "--out", "/o/é"]


def test_a_command_is_understood_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    options = ExportOptions(
        target="openvino", calib="clips", eval="synthetic?clips=2", meta=Path("net.json"), timing_cache=Path("t")
    )
    command = options.command(Path("net.onnx"), precision="int8", folder=Path("a"))
    assert command is not None
    values = {flag: command[command.index(flag) + 1] for flag in ("--out", "--meta", "--calib", "--timing-cache")}
    assert values == {
        "--out": str(tmp_path / "a"),
        "--meta": str(tmp_path / "net.json"),
        "--calib": str(tmp_path / "clips"),
        "--timing-cache": str(tmp_path / "t"),
    }
    assert command[1] == str(tmp_path / "net.onnx")
    assert command[command.index("--eval") + 1] == "synthetic?clips=2"


@pytest.mark.parametrize("field", ["calib", "eval"])
def test_videos_without_a_name_have_no_command(videos: LabeledVideos, field: str) -> None:
    options = dataclasses.replace(ExportOptions(target="openvino"), **{field: videos})  # type: ignore[arg-type]
    assert options.command(Path("m.pt"), precision="fp16", folder=Path("a")) is None


def test_methods_are_those_of_calibration() -> None:
    """Declared twice, as the options are read without what calibration imports."""
    assert METHODS == CALIBRATION_METHODS

"""Words as people type them, on the commands themselves: what is handed on has the names that files have."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.main import get_command

from s2tf_edge.cli import app, main
from s2tf_edge.cli.dataclass_flags import with_flags
from s2tf_edge.cli.flag_words import FlagWords
from s2tf_edge.cli.forms import plan_forms
from s2tf_edge.cli.verbs import VERBS
from s2tf_edge.errors import UsageError
from s2tf_edge.export.options import ExportOptions


def understand(monkeypatch: pytest.MonkeyPatch, *words: str) -> ExportOptions:
    """What ``s2tf-export`` would hand to the library."""
    handed: list[ExportOptions] = []

    def command(options: ExportOptions) -> None:
        """Takes what it is handed."""
        handed.append(options)

    monkeypatch.setattr(sys, "argv", ["s2tf-test", *words])
    with pytest.raises(SystemExit, match="0"):
        app.run(with_flags(command, ExportOptions), name="s2tf-test", examples=())
    return handed[0]


@pytest.mark.parametrize(
    ("words", "target", "precision"),
    [
        (["--target", "TensorRT", "--half"], "trt", "fp16"),
        (["--target", "ORT", "--precision", "FP16"], "onnx", "fp16"),
        (["--target", "OpenVINO", "--precision", "Half", "--half"], "openvino", "fp16"),
        (["--target", "tensorrt_rtx", "--int8"], "trt-rtx", "int8"),
        (["--target", "onnx"], "onnx", None),
    ],
)
def test_an_export_is_repeated_by_the_names(
    monkeypatch: pytest.MonkeyPatch, words: list[str], target: str, precision: str | None
) -> None:
    options = understand(monkeypatch, *words, "-o", "folder")
    assert (options.target, options.precision, options.out) == (target, precision, Path("folder"))
    repeated = options.command(Path("model.pt"), precision=options.precision or "fp32", folder=Path("folder"))
    assert repeated is not None
    assert repeated[2:4] == ["--target", target]
    assert repeated[repeated.index("--precision") + 1] == (precision or "fp32")
    assert "--out" in repeated
    assert not {"--half", "--int8", "-o"} & set(repeated)


def test_targets_of_optimize_too() -> None:
    names = [form.name for form in plan_forms("ORT, OpenVINO", calib="clips", meta=None)]
    assert names == ["onnx_fp32", "onnx_int8", "openvino_fp32", "openvino_fp16", "openvino_int8"]
    with pytest.raises(UsageError, match="`targets` may be onnx, openvino, trt, trt-rtx, got 'tflite'"):
        plan_forms("tflite", calib="clips", meta=None)


@pytest.mark.parametrize("verb", VERBS)
def test_short_flags_are_the_same_everywhere(verb: str) -> None:
    flags = [parameter.opts for parameter in get_command(VERBS[verb].load().parser()).params]
    assert all(("--out" in each) == ("-o" in each) for each in flags)
    assert all(("--source" in each) == ("-s" in each) for each in flags)
    assert ["--source", "-s"] in flags or verb != "stream"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--half", "--int8"], "--half and --int8 ask for different values of --precision; give one of them"),
        (
            ["--half", "--precision", "INT8"],
            "--precision int8 and --half ask for different values of --precision; give",
        ),
    ],
)
def test_two_precisions_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["s2tf", "export", "model.pt", "--target", "onnx", *words])
    with pytest.raises(SystemExit, match="2"):
        main.main()
    assert capsys.readouterr().err.startswith(f"s2tf export: error: {said}")


def test_a_precision_in_backticks_is_no_flag() -> None:
    words = FlagWords("s2tf-export", get_command(VERBS["export"].load().parser()).params)
    assert words.translate("a node of `int8` needs `precision=int8`") == "a node of `int8` needs --precision int8"


def test_a_named_value_may_be_typed_in_any_case(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    gone = str(tmp_path / "gone")
    for words in (["stream", gone, "--policy", "LATEST"], ["report", gone, "--data", gone, "--by", "Estimate"]):
        monkeypatch.setattr(sys, "argv", ["s2tf", *words])
        with pytest.raises(SystemExit, match="9"):
            main.main()
        assert "does not exist" in capsys.readouterr().err

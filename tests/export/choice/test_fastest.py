from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.errors import BuildError, InputFileError, UsageError
from s2tf_edge.export import ExportOptions, ExportPlan, ExportResult, plan_export
from s2tf_edge.export import pipeline as export_pipeline
from s2tf_edge.runtime.artifact import check_files, read_meta
from s2tf_edge.runtime.backends.tensorrt_library import has_gpu
from s2tf_edge.runtime.open import open_session

AUTO: dict[str, Any] = {"precision": "auto", "calib": "synthetic?clips=10"}
_FILES = {"openvino": {"model.xml", "model.bin"}, "onnx": {"model.onnx"}}


def _candidates(result: ExportResult) -> dict[str, dict[str, Any]]:
    return {form["recipe"]: form for form in result.meta.build["candidates"]}


@pytest.mark.parametrize("target", [pytest.param("openvino", marks=pytest.mark.slow), "onnx"])
def test_the_fastest_precision_stays_and_all_are_listed(
    export_plain: Callable[..., ExportResult], tmp_path: Path, target: str
) -> None:
    result = export_plain(target, **AUTO)
    meta = read_meta(result.folder)
    assert meta == result.meta
    check_files(meta, result.folder)
    forms = _candidates(result)
    assert set(forms) == {"fp32", "fp16", "int8"}
    assert all(form["result"] == "ok" and form["ms"] > 0 for form in forms.values())
    fastest = min(forms, key=lambda name: float(forms[name]["ms"]))
    assert meta.precision["asked"] == fastest
    about = {"verify.json", "reproduce.sh"} | ({"calib.json"} if fastest == "int8" else set())
    assert set(meta.files) == _FILES[target] | about
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    with open_session(result.folder) as session:
        assert session.info.precision == fastest
    assert next(line.split()[0] for line in result.tried_lines() if "fastest" in line) == fastest
    assert f"--precision {fastest}" in (result.folder / "reproduce.sh").read_text()


def test_the_verification_is_that_of_the_form_that_stays(
    export_plain: Callable[..., ExportResult], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        result = export_plain("onnx", **AUTO)
    # Once for all three.
    assert sum(message.startswith("asking the network itself about") for message in caplog.messages) == 1
    verified = json.loads((result.folder / "verify.json").read_text())
    assert result.verification is not None
    assert verified["max_error"] == result.verification.max_error
    allowed = {"fp32": 1e-4, "fp16": 0.05, "int8": 0.1}
    assert verified["tolerance"]["max_error"] == allowed[result.meta.precision["asked"]]


def test_int8_is_tried_only_with_clips_to_calibrate_with(export_plain: Callable[..., ExportResult]) -> None:
    assert set(_candidates(export_plain("onnx", precision="auto"))) == {"fp32", "fp16"}


@pytest.mark.parametrize("slow", ["fp32", "int8"])
def test_whatever_is_slow_is_not_taken(
    export_plain: Callable[..., ExportResult], monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """Times come from a table here: on so small a network the real ones are too much alike to tell apart."""
    tables = {"fp32": [1.0, 2.0, 3.0], "fp16": [2.0, 1.0, 3.0], "int8": [3.0, 2.0, 1.0]}
    monkeypatch.setattr("s2tf_edge.export.choice.fastest.time_sessions", lambda sessions: tables[slow])
    result = export_plain("onnx", **AUTO, verify=False)
    order = ["fp32", "fp16", "int8"]
    assert result.meta.precision["asked"] == slow == order[tables[slow].index(1.0)]
    assert result.tried_lines()[order.index(slow)].endswith("1.00 ms  fastest")
    assert (result.folder / "calib.json").exists() is (slow == "int8")
    assert not (result.folder / "verify.json").exists()


def _fail(monkeypatch: pytest.MonkeyPatch, *precisions: str, error: type[Exception] = BuildError) -> None:
    real = export_pipeline._make

    def make(plan: ExportPlan, folder: Path, **options: Any) -> Any:
        if plan.precision in precisions:
            (folder / "half-written").touch()
            msg = f"no {plan.precision} here\nmore about it"
            raise error(msg)
        return real(plan, folder, **options)

    monkeypatch.setattr(export_pipeline, "_make", make)


def test_a_precision_that_fails_is_left_out_with_its_reason(
    export_plain: Callable[..., ExportResult], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _fail(monkeypatch, "fp16", "int8")
    result = export_plain("onnx", **AUTO)
    assert result.meta.precision["asked"] == "fp32"
    forms = _candidates(result)
    assert forms["fp16"] == {"recipe": "fp16", "result": "no fp16 here\nmore about it", "ms": None}
    assert "fp16 is left out: no fp16 here" in caplog.text
    assert "  fp16  no fp16 here" in result.tried_lines()
    assert not (result.folder / "half-written").exists()


def test_where_all_fail_every_reason_is_told(
    export_plain: Callable[..., ExportResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _fail(monkeypatch, "fp32", "fp16", "int8")
    with pytest.raises(BuildError, match=r"no precision can be exported:\n  fp32  no fp32 here\n  fp16 .*\n  int8 "):
        export_plain("onnx", **AUTO)
    assert not list(tmp_path.iterdir())


def test_an_error_that_is_no_matter_of_precision_ends_it(
    export_plain: Callable[..., ExportResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _fail(monkeypatch, "fp16", error=InputFileError)
    with pytest.raises(InputFileError, match="no fp16 here"):
        export_plain("onnx", **AUTO)
    assert not list(tmp_path.iterdir())


def test_its_folder_is_named_after_the_question(plain: Path) -> None:
    plan = plan_export(plain, ExportOptions(target="onnx", precision="auto", meta=plain.with_suffix(".json")))
    assert plan.folder == plain.with_name("plain net_onnx_auto")


@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
@pytest.mark.parametrize("target", ["trt", "trt-rtx"])
def test_engines_cannot_be_timed_without_a_gpu(plain: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    monkeypatch.setattr("s2tf_edge.export.plan.open_network", pytest.fail)
    with pytest.raises(UsageError, match="`precision='auto'` times what it builds, and engines of"):
        plan_export(plain, ExportOptions(target=target, precision="auto", meta=plain.with_suffix(".json")))


def test_one_form_needs_no_table(export_plain: Callable[..., ExportResult]) -> None:
    result = export_plain("onnx", precision="fp32", verify=False)
    assert result.tried_lines() == []
    only = [{"recipe": "only", "result": "ok", "ms": 1.0}]
    meta = dataclasses.replace(result.meta, build={**result.meta.build, "attempts": only})
    assert dataclasses.replace(result, meta=meta).tried_lines() == []

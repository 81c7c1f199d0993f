"""Deferred builds finished, and engines built anew, with TensorRT-RTX, which needs no GPU."""

from __future__ import annotations

import dataclasses
import json
import logging
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2tf_edge.errors import BuildError, InputFileError, MissingExtraError, UsageError, VerificationError
from s2tf_edge.export import ExportOptions, ExportResult, export, plan_export
from s2tf_edge.export.artifact_folder import seal
from s2tf_edge.export.options import ExportOption
from s2tf_edge.export.rebuild import RebuildPlan, is_rebuild
from s2tf_edge.option_fields import option_of
from s2tf_edge.runtime.artifact import META_FILE, check_files, read_meta, sha256
from s2tf_edge.runtime.open import open_session

pytestmark = pytest.mark.needs_rtx
RTX = ExportOptions(target="trt-rtx")


@pytest.fixture(scope="module")
def deferred_once(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = dataclasses.replace(
        RTX,
        out=tmp_path_factory.mktemp("deferred") / "an artifact",
        meta=plain.with_suffix(".json"),
        defer_build=True,
        dynamic_batch=True,
        workspace=0.5,
    )
    return export(plain, options).folder


@pytest.fixture
def deferred(deferred_once: Path, tmp_path: Path) -> Path:
    """A deferred artifact, copied to another place as to a device."""
    return Path(shutil.copytree(deferred_once, tmp_path / "device" / "an artifact"))


def _contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def _stays_as_it_is(deferred: Path) -> Iterator[None]:
    """Whatever is refused leaves artifact and surroundings as they were."""
    before = _contents(deferred.parent)
    yield
    assert _contents(deferred.parent) == before


def _changed(folder: Path, **changes: Any) -> Path:
    """``folder`` with another description, hashes recorded anew: damage that no hash tells of."""
    seal(dataclasses.replace(read_meta(folder), **changes), folder)
    return folder


def test_a_deferred_artifact_waits_for_its_engine(deferred: Path) -> None:
    meta = read_meta(deferred)
    assert sorted(path.name for path in deferred.iterdir()) == [
        *("build.sh", "expected.npz", META_FILE, "model.onnx", "reproduce.sh", "verify.json"),
    ]
    assert (meta.model, meta.build["deferred"]) == ("model.onnx", True)
    assert (deferred / "build.sh").stat().st_mode & 0o111
    assert "--defer-build" in (deferred / "reproduce.sh").read_text()
    verified = json.loads((deferred / "verify.json").read_text())
    assert verified["passed"] is True
    assert verified["through"] == "ONNX Runtime on the CPU, running the engine's graph"


@pytest.mark.usefixtures("_stays_as_it_is")
def test_no_session_opens_what_is_not_built(deferred: Path) -> None:
    message = r"an artifact.* still to be built: on the device, run its build\.sh, or s2tf-export .* --target trt-rtx"
    with pytest.raises(InputFileError, match=message):
        open_session(deferred)


def test_it_is_finished_in_place(deferred: Path) -> None:
    before = read_meta(deferred)
    result = export(deferred, RTX)
    meta = read_meta(deferred)
    assert (result.folder, result.meta, result.is_deferred) == (deferred, meta, False)
    assert sorted(path.name for path in deferred.iterdir()) == [
        *("expected.npz", "layers.json", META_FILE, "model.engine", "model.onnx", "reproduce.sh", "verify.json"),
    ]
    assert [path.name for path in deferred.parent.iterdir()] == [deferred.name]
    check_files(meta, deferred)
    assert meta.model == "model.engine"
    assert meta.build["built_with"]["library"] == "TensorRT-RTX"
    assert meta.build["engine"]["applied"] == {"workspace_gib": 0.5, "profile": [1, 4, 16], "tf32": False}
    for same in ("network", "labels", "clip", "inputs", "outputs", "source", "custom_ops"):
        assert getattr(meta, same) == getattr(before, same)
    assert meta.files["model.onnx"] == before.files["model.onnx"]
    assert "--defer-build" not in (deferred / "reproduce.sh").read_text()
    assert result.verification is not None
    assert result.verification.passed
    assert result.verification.clips == "seeded"


@pytest.mark.usefixtures("_stays_as_it_is")
def test_it_is_finished_elsewhere(deferred: Path, tmp_path: Path) -> None:
    result = export(deferred, dataclasses.replace(RTX, out=tmp_path / "b"))
    assert result.folder == tmp_path / "b"
    assert (tmp_path / "b" / "model.engine").is_file()
    check_files(read_meta(tmp_path / "b"), tmp_path / "b")


def test_an_engine_for_another_target_does_not_take_the_place_of_the_first(deferred: Path) -> None:
    _changed(deferred, target="trt")
    before = _contents(deferred)
    folder = export(deferred, RTX).folder
    assert folder == deferred.with_name("an artifact_trt-rtx_fp16")
    assert read_meta(folder).target == "trt-rtx"
    assert _contents(deferred) == before


@pytest.mark.parametrize("out", [None, "else where"])
def test_its_script_makes_it_and_not_what_it_was_made_from(deferred: Path, tmp_path: Path, out: str | None) -> None:
    _changed(deferred, target="trt")
    folder = export(deferred, dataclasses.replace(RTX, out=tmp_path / out if out else None)).folder
    arguments = shlex.split((folder / "reproduce.sh").read_text().splitlines()[-1])
    assert arguments[arguments.index("--target") + 1] == "trt-rtx"
    assert arguments[arguments.index("--out") + 1] == str(folder)
    assert "--defer-build" not in arguments
    assert "--dynamic-batch" in arguments


@pytest.mark.parametrize("script", ["", "#!/bin/sh\nexec s2tf-export 'net.onnx", "#!/bin/sh\nexec true --target\n"])
def test_a_script_of_another_kind_is_not_taken_over(deferred: Path, script: str) -> None:
    (deferred / "reproduce.sh").write_text(script)
    _changed(deferred)
    assert not (export(deferred, RTX).folder / "reproduce.sh").exists()


def test_the_folder_that_one_stands_in_is_finished(deferred: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(deferred)
    assert export(Path(), RTX).folder == deferred
    assert (deferred / "model.engine").is_file()


def test_what_a_link_leads_to_is_finished(deferred: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(deferred)
    assert export(link, RTX).folder == deferred
    assert link.is_symlink()
    assert (link / "model.engine").is_file()


def test_a_finished_engine_is_built_anew_as_it_was_asked_for(deferred: Path) -> None:
    first = export(deferred, RTX)
    again = export(deferred, RTX)
    assert again.meta.build["engine"]["asked"] == first.meta.build["engine"]["asked"]
    assert again.meta.build["engine"]["applied"] == first.meta.build["engine"]["applied"]
    other = export(deferred, dataclasses.replace(RTX, workspace=0.25))
    assert other.meta.build["engine"]["applied"]["workspace_gib"] == 0.25
    check_files(read_meta(deferred), deferred)


def test_the_engine_is_that_of_an_export_in_one_go(deferred: Path, export_plain: Callable[..., ExportResult]) -> None:
    whole = export_plain("trt-rtx", dynamic_batch=True, workspace=0.5).meta
    finished = export(deferred, RTX).meta
    assert finished.files["model.onnx"] == whole.files["model.onnx"]
    assert finished.precision == whole.precision
    assert finished.build.keys() == whole.build.keys()
    assert finished.outputs == whole.outputs


_ON_A_DEVICE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "onnx", "onnx_ir", "onnxscript", "nncf", "openvino"}:
            raise ImportError(f"no {name} on this device")

sys.meta_path.insert(0, Missing())
from s2tf_edge.cli.export import main
sys.argv = ["s2tf-export", sys.argv[1], "--target", "trt-rtx"]
main()
"""


def test_a_device_needs_neither_pytorch_nor_onnx(deferred: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _ON_A_DEVICE, deferred], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "verified, the graph alone: largest error " in done.stdout or "verified: largest error " in done.stdout
    assert (deferred / "model.engine").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp32"}, r"the graph in .* is fp16, got `precision='fp32'`; leave it out"),
        (
            {"defer_build": True},
            r"`defer_build=True` makes a folder such as .*an artifact, which is to be finished now",
        ),
        ({"meta": Path("net.json")}, r"`meta` was settled when the graph in .* was made; leave it out, or export"),
        ({"calib": "synthetic"}, r"`calib` was settled when"),
        ({"calib_clips": 7}, r"`calib_clips` was settled when"),
        ({"calib_method": "mse"}, r"`calib_method` was settled when"),
        ({"max_drop": 1.0, "eval": "synthetic"}, r"`eval` was settled when"),
        ({"sensitivity": Path("a.html")}, r"`sensitivity` was settled when"),
        ({"precision": "auto"}, r"the graph in .* is fp16, got `precision='auto'`; leave it out"),
        ({"eval": "synthetic"}, r"`eval` was settled when"),
        ({"exclude": ("stem",)}, r"`exclude` was settled when"),
        ({"opset": 20}, r"`opset` was settled when"),
        ({"custom_ops": "inline"}, r"`custom_ops` was settled when"),
        ({"batch": 2}, r"`batch` was settled when"),
        ({"dynamic_batch": True}, r"`dynamic_batch` was settled when"),
        ({"input": "u8"}, r"`input` was settled when"),
        ({"mask": True}, r"`mask` was settled when"),
    ],
)
@pytest.mark.usefixtures("_stays_as_it_is")
def test_what_the_graph_settled_is_not_asked_again(deferred: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_export(deferred, dataclasses.replace(RTX, **options))


def test_every_option_is_settled_or_used() -> None:
    """A new option must not be ignored silently."""
    used = {"target", "out", "precision", "verify", "defer_build", "triton"}
    engine = {"workspace", "timing_cache", "version_compatible", "hardware_compatible"}
    free = {field.name for field in dataclasses.fields(ExportOptions) if not option_of(field, ExportOption).is_settled}
    assert free == used | engine


def test_the_precision_of_the_graph_may_be_named(deferred: Path) -> None:
    plan = plan_export(deferred, dataclasses.replace(RTX, precision="fp16", verify=False))
    assert isinstance(plan, RebuildPlan)
    assert plan.lines() == [
        f"would build the trt-rtx fp16 engine of {deferred}, to {deferred}",
        "without verifying it",
    ]


def test_without_verification_nothing_is_claimed(deferred: Path) -> None:
    result = export(deferred, dataclasses.replace(RTX, verify=False))
    assert result.verification is None
    assert not (deferred / "verify.json").exists()


def test_what_was_never_verified_is_said(
    export_plain: Callable[..., ExportResult], caplog: pytest.LogCaptureFixture
) -> None:
    folder = export_plain("trt-rtx", defer_build=True, verify=False).folder
    assert not (folder / "expected.npz").exists()
    with caplog.at_level(logging.WARNING):
        assert export(folder, RTX).verification is None
    assert "was exported without verification, so there is nothing to compare with" in caplog.text


@pytest.mark.parametrize("name", ["model.onnx", "expected.npz", "build.sh"])
def test_a_file_that_changed_on_the_way_is_refused(deferred: Path, name: str) -> None:
    content = bytearray((deferred / name).read_bytes())
    content[len(content) // 2] ^= 1
    (deferred / name).write_bytes(content)
    with pytest.raises(InputFileError, match=rf"{name} has changed since it was exported"):
        export(deferred, RTX)


def test_a_graph_that_is_missing_is_refused(deferred: Path) -> None:
    (deferred / "model.onnx").unlink()
    with pytest.raises(InputFileError, match=r"lacks its file model\.onnx"):
        plan_export(deferred, RTX)


def test_expected_outputs_that_are_none_leave_the_artifact_as_it_was(deferred: Path) -> None:
    (deferred / "expected.npz").write_bytes(b"<html>")
    _changed(deferred)
    before = _contents(deferred.parent)
    with pytest.raises(InputFileError, match=r"expected\.npz does not hold what a network said of seeded clips"):
        export(deferred, RTX)
    assert _contents(deferred.parent) == before


def test_an_engine_that_does_not_agree_leaves_the_artifact_as_it_was(deferred: Path) -> None:
    logits = np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)
    np.savez_compressed(deferred / "expected.npz", logits=logits)
    _changed(deferred)
    before = _contents(deferred.parent)
    with pytest.raises(VerificationError, match=r"the engine does not agree .*an artifact is as it was; try fp32"):
        export(deferred, RTX)
    assert _contents(deferred.parent) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": {}}, r"lacks the shape of input 'clip' or the precision"),
        ({"inputs": {}}, r"lacks the shape of input 'clip' or the precision"),
        ({"inputs": {"clip": {"shape": [0]}}}, r"has batch 0; it must be null or from 1"),
        ({"build": {}}, r"does not say how its engine was asked for"),
        ({"build": {"engine": 3}}, r"does not say how its engine was asked for"),
        ({"build": {"engine": {"asked": 3}}}, r"does not say how its engine was asked for"),
        ({"build": {"engine": {"asked": {"workspace_gib": "much"}}}}, r"does not say how its engine was asked for"),
        ({"build": {"engine": {"asked": {"workspace_gib": -1}}}}, r"does not say how its engine was asked for"),
    ],
)
def test_a_description_that_was_tampered_with_is_refused(deferred: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputFileError, match=message):
        plan_export(_changed(deferred, **changes), RTX)


def test_a_precision_that_engines_do_not_have_is_refused(deferred: Path) -> None:
    with pytest.raises(UsageError, match="there is no target 'trt-rtx' with precision 'fp8'"):
        plan_export(_changed(deferred, precision={"asked": "fp8"}), RTX)


def test_a_folder_with_other_files_is_not_replaced(deferred: Path) -> None:
    (deferred / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt is no part of its artifact; move that away"):
        plan_export(deferred, RTX)


@pytest.mark.usefixtures("_stays_as_it_is")
def test_a_missing_library_is_found_before_anything_is_done(deferred: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'tensorrt'.*pip install 's2tf-edge\[tensorrt\]'"):
        plan_export(deferred, dataclasses.replace(RTX, target="trt"))


@pytest.mark.parametrize("stage", ["build_engine", "describe_engine", "seal", "read_expected", "verify_artifact"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, BuildError])
@pytest.mark.usefixtures("_stays_as_it_is")
def test_whatever_ends_it_leaves_the_artifact_as_it_was(
    deferred: Path, monkeypatch: pytest.MonkeyPatch, stage: str, error: type[BaseException]
) -> None:
    from s2tf_edge.export import rebuild

    real = getattr(rebuild, stage)

    def ended(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        raise error(stage)

    monkeypatch.setattr(rebuild, stage, ended)
    with pytest.raises(error, match=stage):
        export(deferred, RTX)


def test_only_artifacts_of_engines_are_rebuilt(deferred: Path, export_plain: Callable[..., ExportResult]) -> None:
    other = export_plain("onnx").folder
    assert is_rebuild(deferred, "trt-rtx")
    assert is_rebuild(deferred, "trt")
    assert not is_rebuild(deferred, "onnx")
    assert not is_rebuild(other, "trt-rtx")
    assert not is_rebuild(deferred / "model.onnx", "trt-rtx")
    with pytest.raises(InputFileError, match="keeps no float32 graph to export for another target"):
        plan_export(deferred, ExportOptions(target="openvino"))

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge.errors import InputFileError, UsageError, VerificationError
from s2tf_edge.export import ExportOptions, ExportResult, check_plan, export, plan_export
from s2tf_edge.export.artifact_folder import check_destination, folder_bytes
from s2tf_edge.export.choice.portable import compare_stored
from s2tf_edge.export.rebuild import plan_rebuild
from s2tf_edge.export.verify.expected import read_expected
from s2tf_edge.export.verify.verification import Verification
from s2tf_edge.runtime.artifact import ArtifactMeta, candidate_folders, check_files, read_meta
from s2tf_edge.runtime.open import find_stale_choice, open_session
from s2tf_edge.runtime.session import Outputs, Session

CALIB = "synthetic?clips=10"


def test_every_form_is_an_artifact_of_its_own_and_the_fastest_lies_above(exported: Path) -> None:
    meta = read_meta(exported)
    forms = candidate_folders(meta, exported)
    assert set(forms) == {"fp32", "fp16", "int8"}
    for name, folder in forms.items():
        check_files(read_meta(folder), folder)
        with open_session(folder) as session:
            assert session.info.precision == name
    times = {each["recipe"]: each["ms"] for each in meta.build["candidates"]}
    fastest = min(times, key=lambda name: float(times[name]))
    assert meta.precision["asked"] == fastest
    check_files(meta, exported)
    above, below = exported / "model.onnx", forms[fastest] / "model.onnx"
    assert above.samefile(below)
    words = shlex.split((exported / "reproduce.sh").read_text())
    assert "--portable" in words
    assert "--precision" not in words or words[words.index("--precision") + 1] == "auto"


def test_links_count_once(exported: Path) -> None:
    names = {path.stat().st_ino: path.stat().st_size for path in exported.rglob("*") if path.is_file()}
    assert folder_bytes(exported) == sum(names.values())
    assert len(names) < sum(1 for path in exported.rglob("*") if path.is_file())


def test_weights_have_room_on_every_processor(exported: Path) -> None:
    assert read_meta(exported / "candidates" / "int8").build["weight_bits"] == 7


def test_it_may_be_exported_over_again_but_not_with_a_stranger_in_it(portable: Path) -> None:
    check_destination(portable)
    (portable / "candidates" / "fp32" / "notes.txt").touch()
    with pytest.raises(UsageError, match=r"candidates/fp32/notes\.txt is no part of its artifact; move that away"):
        check_destination(portable)
    (portable / "candidates" / "fp32" / "notes.txt").unlink()
    (portable / "candidates" / "mine").mkdir()
    with pytest.raises(UsageError, match="candidates/mine is no part of its artifact"):
        check_destination(portable)


def test_a_form_that_was_changed_is_noticed(portable: Path) -> None:
    file = portable / "candidates" / "fp16" / "meta.json"
    file.write_text(file.read_text().replace('"fp16"', '"fp32"'))
    with pytest.raises(InputFileError, match=r"fp16 has changed since .* was exported; copy the folder again"):
        candidate_folders(read_meta(portable), portable)
    file.unlink()
    with pytest.raises(InputFileError, match="lacks its form candidates/fp16; copy the whole folder"):
        candidate_folders(read_meta(portable), portable)


@pytest.mark.parametrize("name", ["../b", "a/b", ".."])
def test_no_form_leaves_the_folder(portable: Path, name: str) -> None:
    file = portable / "meta.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "candidates": {name: "0"}}))
    with pytest.raises(InputFileError, match="leaves the folder"):
        read_meta(portable)


def test_a_form_that_only_agrees_on_videos_is_left_out(
    export_plain: Callable[..., ExportResult], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the device has to check with is asked beforehand: else it would refuse the form, far from its network."""
    wrong = {"fp16"}

    def read(folder: Path, meta: ArtifactMeta) -> Outputs:
        outputs = read_expected(folder, meta)
        return dataclasses.replace(outputs, logits=outputs.logits[::-1]) if folder.name in wrong else outputs

    monkeypatch.setattr("s2tf_edge.export.choice.portable.read_expected", read)
    result = export_plain("onnx", portable=True)
    assert set(result.meta.candidates) == {"fp32"}
    assert not (result.folder / "candidates" / "fp16").exists()
    assert "fp16 is left out: it agrees on videos, and not on the seeded clips" in caplog.text
    assert any(line.startswith("  fp16  agrees on videos") for line in result.tried_lines())
    wrong.add("fp32")
    with pytest.raises(VerificationError, match="no form can be checked on a device:\n  fp32 "):
        export_plain("onnx", portable=True)


def test_a_form_that_overflows_on_made_clips_is_left_out(
    export_plain: Callable[..., ExportResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As float16 may on clips that look like no video."""

    def compare(folder: Path, meta: ArtifactMeta, session: Session) -> Verification:
        if folder.name == "fp16":
            msg = "logits are not finite"
            raise VerificationError(msg)
        return compare_stored(folder, meta, session)

    monkeypatch.setattr("s2tf_edge.export.choice.portable.compare_stored", compare)
    result = export_plain("onnx", portable=True)
    assert set(result.meta.candidates) == {"fp32"}
    assert any(line.endswith("logits are not finite") for line in result.tried_lines())


@pytest.mark.slow
def test_every_integer_form_of_openvino_is_kept(export_plain: Callable[..., ExportResult]) -> None:
    result = export_plain("openvino", portable=True, calib=CALIB)
    forms = candidate_folders(result.meta, result.folder)
    integers = {name for name in forms if name.startswith("int8-")}
    assert len(integers) > 1
    assert "int8" not in forms
    for name in integers:
        recipe = read_meta(forms[name]).build["recipe"]
        assert name == f"int8-{recipe.replace(', ', '-').replace(' ', '-')}"
        assert json.loads((forms[name] / "calib.json").read_text())["recipe"] == recipe
        assert json.loads((forms[name] / "verify.json").read_text())["passed"]


def test_engines_are_left_to_the_device(plain: Path, tmp_path: Path) -> None:
    options = ExportOptions(
        target="trt-rtx", portable=True, defer_build=True, meta=plain.with_suffix(".json"), out=tmp_path / "e"
    )
    result = export(plain, options)
    assert result.is_deferred
    assert result.meta.precision["asked"] == "fp16"
    assert set(result.meta.candidates) == {"fp16", "fp32"}
    assert "exec s2tf-tune" in (result.folder / "build.sh").read_text()
    for folder in candidate_folders(result.meta, result.folder).values():
        check_files(read_meta(folder), folder)
        assert not (folder / "build.sh").exists()
        assert (folder / "expected.npz").is_file()
    with pytest.raises(InputFileError, match=r"run its build\.sh, or s2tf-tune "):
        open_session(result.folder)
    with pytest.raises(UsageError, match="holds several forms; `s2tf-tune"):
        plan_rebuild(result.folder, ExportOptions(target="trt-rtx"))


def test_options_that_contradict_it_are_named(plain: Path) -> None:
    with pytest.raises(UsageError, match="`portable=True` keeps all precisions, got `precision='int8'`"):
        ExportOptions(target="onnx", portable=True, precision="int8")
    with pytest.raises(UsageError, match="`portable=True` keeps what a device checks forms with"):
        ExportOptions(target="onnx", portable=True, verify=False)
    options = ExportOptions(target="onnx", portable=True, meta=plain.with_suffix(".json"))
    plan = plan_export(plain, options)
    assert plan.folder == plain.with_name("plain net_onnx_portable")
    assert "keeping every form that agrees, for s2tf-tune on the device" in plan.lines()
    check_plan(plan)


def test_a_stream_is_told_that_another_form_may_be_faster(portable: Path) -> None:
    told = find_stale_choice(portable)
    assert told is not None
    assert f"was the fastest where it was exported; s2tf-tune {portable} chooses the fastest here" in told
    assert find_stale_choice(portable / "candidates" / "fp32") is None

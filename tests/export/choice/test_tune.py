from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.errors import InputFileError, UsageError, VerificationError
from s2tf_edge.export.choice import tune as module
from s2tf_edge.export.choice.tune import Bound, tune
from s2tf_edge.runtime.artifact import candidate_folders, check_files, read_meta, sign_artifact
from s2tf_edge.runtime.open import find_stale_choice, open_session
from s2tf_edge.runtime.session import Session, SessionOptions


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks forms in this process: what crashes has a test of its own, and a process takes a second to start."""
    monkeypatch.setattr(module, "_check_apart", module._check)


def _let_be_fastest(monkeypatch: pytest.MonkeyPatch, *precisions: str) -> None:
    """Times come from here: on so small a network the real ones are too much alike to tell apart."""

    def table(sessions: Sequence[Session]) -> list[float]:
        names = [session.info.precision for session in sessions]
        return [float(precisions.index(name)) + 1 for name in names]

    monkeypatch.setattr("s2tf_edge.export.choice.fastest.time_sessions", table)


def _break(folder: Path) -> None:
    """Has the network say something else of the clips that a form is checked with."""
    with np.load(folder / "expected.npz") as file:
        logits = file["logits"]
    np.savez_compressed(folder / "expected.npz", logits=logits[::-1])
    _seal(folder)


def _seal(folder: Path) -> None:
    """Writes the hashes of a form that was changed, and its own into the artifact above."""
    from s2tf_edge.export.artifact_folder import seal
    from s2tf_edge.export.choice.portable import list_candidates

    seal(read_meta(folder), folder)
    above = folder.parents[1]
    values = json.loads((above / "meta.json").read_text())
    (above / "meta.json").write_text(json.dumps({**values, "candidates": list_candidates(above)}))


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("fastest", ["fp32", "fp16", "int8"])
def test_the_artifact_becomes_the_form_that_is_fastest_here(
    portable: Path, monkeypatch: pytest.MonkeyPatch, fastest: str
) -> None:
    _let_be_fastest(monkeypatch, fastest, *({"fp32", "fp16", "int8"} - {fastest}))
    script = (portable / "reproduce.sh").read_text()
    result = tune(portable, SessionOptions(threads=1))
    meta = read_meta(portable)
    assert meta == result.meta
    assert result.chosen == fastest == meta.precision["asked"]
    check_files(meta, portable)
    for folder in candidate_folders(meta, portable).values():
        check_files(read_meta(folder), folder)
    with open_session(portable) as session:
        assert session.info.precision == fastest
    assert (portable / "calib.json").is_file() is (fastest == "int8")
    assert (portable / "reproduce.sh").read_text() == script
    assert meta.build["tuned"]["threads"] == 1
    assert result.lines()[0] == f"  {fastest}      1.00 ms  fastest"


@pytest.mark.usefixtures("here")
def test_integers_are_counted_where_they_run(portable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _let_be_fastest(monkeypatch, "int8", "fp32", "fp16")
    before = read_meta(portable / "candidates" / "int8").precision["audit"]["line"]
    result = tune(portable)
    assert result.layers == {"int8": before}
    assert result.meta.precision["audit"]["line"] == before


def test_each_form_is_checked_in_a_process_that_may_crash(portable: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The real way: a form whose process ends is out, and the others are chosen from."""
    (portable / "candidates" / "fp16" / "model.onnx").write_bytes(b"")
    _seal(portable / "candidates" / "fp16")
    result = module._check_apart(portable / "candidates" / "fp32", SessionOptions())
    assert result.problem is None
    with pytest.raises(InputFileError, match="fp16"):
        module._check_apart(portable / "candidates" / "fp16", SessionOptions())


def _crash(_folder: Path, _options: SessionOptions) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def test_a_runtime_that_crashes_puts_its_form_out(portable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_check", _crash)
    assert module._check_apart(portable, SessionOptions()).problem == "its runtime crashes here"


@pytest.mark.usefixtures("here")
def test_a_form_that_differs_here_is_refused(
    portable: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _let_be_fastest(monkeypatch, "int8", "fp16", "fp32")
    _break(portable / "candidates" / "int8")
    result = tune(portable)
    assert result.chosen == "fp16"
    assert "int8 is left out: does not agree with the network here: largest error" in caplog.text
    assert result.lines()[-1].startswith("  int8  does not agree with the network here")


@pytest.mark.usefixtures("here")
def test_where_none_agrees_the_artifact_is_as_it_was(portable: Path) -> None:
    for folder in (portable / "candidates").iterdir():
        _break(folder)
    before = {path: path.read_bytes() for path in portable.rglob("*") if path.is_file()}
    with pytest.raises(VerificationError, match="no form runs here and agrees with the network:\n  fp16 "):
        tune(portable)
    assert {path: path.read_bytes() for path in portable.rglob("*") if path.is_file()} == before
    assert [path.name for path in portable.parent.iterdir()] == ["b"]


@pytest.mark.usefixtures("here")
def test_the_bound_is_on_videos_that_run_here(portable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No form of so small a network loses ten points; one that answers otherwise does."""
    from s2tf_edge.runtime.evaluation.accuracy import Evaluation

    _let_be_fastest(monkeypatch, "int8", "fp16", "fp32")
    videos = dataclasses.replace(open_data("synthetic?clips=10"), labels=read_meta(portable).labels)
    kinds = iter([0, 10, 0])

    def measure(session: Session, videos: object, *, progress: object) -> Evaluation:
        wrong = next(kinds)
        scores = np.eye(5, dtype=np.float32)[(np.arange(10) + (np.arange(10) < wrong)) % 5]
        names = tuple(str(number) for number in range(10))
        return Evaluation(
            names=names, labels=tuple("abcde"), scores=scores, skipped=(), targets=np.arange(10, dtype=np.int64) % 5
        )

    monkeypatch.setattr(module, "evaluate", measure)
    result = tune(portable, bound=Bound(videos=videos, max_drop=10))
    assert result.chosen == "fp16"
    assert result.drop is not None
    assert result.meta.build["tuned"]["drop"]["points"] == 0


def test_what_is_not_portable_is_said_to_be_so(portable: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"fp32 is one form of {portable.name}; tune that: s2tf-tune {portable}$"):
        tune(portable / "candidates" / "fp32")
    shutil.copytree(portable / "candidates" / "fp32", tmp_path / "alone")
    with pytest.raises(UsageError, match="again with `s2tf-export MODEL --target onnx --portable`"):
        tune(tmp_path / "alone")


@pytest.mark.usefixtures("here")
def test_another_processor_or_runtime_asks_for_it_again(portable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tune(portable)
    assert find_stale_choice(portable) is None
    monkeypatch.setattr("s2tf_edge.runtime.open.hardware_facts", lambda: {"cpu": "Another 9000"})
    assert "and this is Another 9000; s2tf-tune" in str(find_stale_choice(portable))
    monkeypatch.undo()
    monkeypatch.setattr("s2tf_edge.runtime.open.metadata.version", lambda package: "99.0")
    assert "and this is 99.0; s2tf-tune" in str(find_stale_choice(portable))


def test_a_folder_without_links_is_copied(portable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from s2tf_edge.export.choice.portable import link_files

    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "c").mkdir()
    link_files(portable / "candidates" / "fp32", tmp_path / "c")
    assert not (tmp_path / "c" / "model.onnx").samefile(portable / "candidates" / "fp32" / "model.onnx")
    shutil.rmtree(portable)
    assert (tmp_path / "c" / "model.onnx").stat().st_size


@pytest.fixture
def signers(portable: Path, tmp_path: Path) -> Path:
    """Who may sign: the key that has signed ``portable``."""
    key, path = tmp_path / "key", tmp_path / "signers"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    path.write_text(f"me {key.with_name('key.pub').read_text()}")
    sign_artifact(portable, key)
    return path


@pytest.mark.usefixtures("here")
@pytest.mark.needs_ssh_keygen
def test_a_signature_covers_the_forms_and_not_the_choice(
    portable: Path, signers: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _let_be_fastest(monkeypatch, "fp16", "fp32", "int8")
    stray = portable / "candidates" / "fp16" / "stray.bin"
    stray.write_bytes(b"nobody signed this")
    options = SessionOptions(require_signature=signers)
    for check in (lambda: tune(portable, options), lambda: sign_artifact(portable, signers.with_name("key"))):
        with pytest.raises(InputFileError, match=r"fp16 holds files that its meta\.json does not name \(stray\.bin\)"):
            check()
    stray.unlink()
    assert tune(portable, options).chosen == "fp16"
    assert f"was signed, and is not as what it is now; to sign that: s2tf-export {portable} --sign KEY" in caplog.text
    with pytest.raises(InputFileError, match="is not signed"):
        open_session(portable, options)


@pytest.mark.usefixtures("here")
@pytest.mark.needs_ssh_keygen
def test_a_form_that_changed_after_signing_is_refused(portable: Path, signers: Path) -> None:
    options = SessionOptions(require_signature=signers)
    open_session(portable, options)
    with pytest.raises(InputFileError, match=r"fp16 is one form of .*, which is signed as a whole; give that"):
        open_session(portable / "candidates" / "fp16", options)
    _break(portable / "candidates" / "fp16")
    with pytest.raises(InputFileError, match=r"the signature of .* is not one of"):
        tune(portable, options)


@pytest.mark.needs_ssh_keygen
def test_what_is_signed_is_whole_with_its_forms(portable: Path, signers: Path) -> None:
    key = signers.with_name("key")
    model = portable / "candidates" / "fp16" / "model.onnx"
    content = model.read_bytes()
    model.unlink()
    model.write_bytes(content + b"x")
    with pytest.raises(InputFileError, match="has changed since it was exported"):
        sign_artifact(portable, key)
    shutil.rmtree(model.parent)
    with pytest.raises(InputFileError, match="lacks its form candidates/fp16"):
        sign_artifact(portable, key)


def test_labels_that_it_lacks_are_found_before_anything_is_timed(
    portable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "_check_all", refuse)
    with pytest.raises(UsageError, match=r"lacks the label 'moving left' of .*; evaluate on data with its classes$"):
        tune(portable, bound=Bound(videos=open_data("synthetic?clips=10"), max_drop=1))


@pytest.mark.usefixtures("here")
def test_a_link_stays_one(portable: Path, tmp_path: Path) -> None:
    link = tmp_path / "current"
    link.symlink_to(portable)
    result = tune(link)
    assert result.folder == portable.resolve()
    assert link.is_symlink()
    assert "tuned" in read_meta(link).build


def test_where_it_cannot_be_replaced_it_is_to_be_copied(portable: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2tf_edge.export.artifact_folder.os.access", lambda *_: False)
    with pytest.raises(InputFileError, match=r"no permission to write into .*; copy the artifact to where you may"):
        tune(portable)


@pytest.mark.usefixtures("here")
def test_lines_that_are_told_can_be_pasted(portable: Path, tmp_path: Path) -> None:
    folder = tmp_path / "front door's"
    portable.rename(folder)
    told = str(find_stale_choice(folder))
    assert shlex.split(told.partition("; ")[2].removesuffix(" chooses the fastest here")) == ["s2tf-tune", str(folder)]

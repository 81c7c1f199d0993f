"""The user's cache folder and what OpenVINO keeps in it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from s2tf_edge.cli.cache import cache_folder, compiled_models, last_artifact, remember_artifact
from s2tf_edge.errors import UsageError
from s2tf_edge.export import ExportOptions, export
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import save_model
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import SessionOptions


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/s2tf-edge"


def test_it_lies_where_the_user_wants_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache/s2tf-edge"


def test_the_newest_networks_stay() -> None:
    folder = compiled_models()
    assert folder is not None
    for age in range(20):
        (folder / f"{age}.blob").write_bytes(b"")
        os.utime(folder / f"{age}.blob", (1e9 - age, 1e9 - age))
    (folder / "other.txt").write_bytes(b"")
    assert compiled_models() == folder
    assert {path.name for path in folder.iterdir()} == {"other.txt", *(f"{age}.blob" for age in range(16))}


def test_a_folder_that_cannot_be_made_is_no_reason_to_fail(cache: Path) -> None:
    cache.parent.write_bytes(b"a file")
    assert compiled_models() is None


def test_a_user_without_a_home_is_no_reason_to_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    # What it gives back where neither HOME nor the user's entry tells of a home.
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.chdir(tmp_path)
    assert compiled_models() is None
    remember_artifact(tmp_path)
    with pytest.raises(UsageError, match="none was exported yet"):
        last_artifact()
    assert not list(tmp_path.iterdir())


def test_a_network_that_another_process_removes_is_no_reason_to_compile_again(cache: Path) -> None:
    folder = cache / "openvino"
    folder.mkdir(parents=True)
    # A name that leads nowhere: what a file is that is gone when its time is asked for.
    (folder / "gone.blob").symlink_to(folder / "nothing")
    assert compiled_models() == folder


def test_a_network_is_compiled_once(tmp_path: Path) -> None:
    save_model(tmp_path / "m.pt", create_model("r3d_10?width=0.0625&frames=4&size=24", num_classes=3))
    options = ExportOptions(target="openvino", precision="fp32", out=tmp_path / "a", verify=False)
    folder = export(tmp_path / "m.pt", options).folder
    clip = np.random.default_rng(0).standard_normal((1, 3, 4, 24, 24)).astype(np.float32)
    logits, blobs = [], []
    for _ in range(2):
        with open_session(folder, SessionOptions(cache=compiled_models())) as session:
            logits.append(session.infer(clip).logits)
        blobs.append({path.name: path.stat().st_mtime_ns for path in (cache_folder() / "openvino").iterdir()})
    assert len(blobs[0]) == 1
    assert blobs[1] == blobs[0]
    np.testing.assert_array_equal(logits[0], logits[1])

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.export.artifact_folder import (
    check_destination,
    folder_bytes,
    new_artifact,
    package_versions,
    seal,
    write_script,
)
from s2tf_edge.runtime.artifact import ArtifactMeta, check_files, read_meta
from s2tf_edge.spec import ClipSpec


def _meta() -> ArtifactMeta:
    return ArtifactMeta(
        network="r3d_10",
        labels=("a", "b"),
        clip=ClipSpec(frames=8, size=32),
        target="onnx",
        precision={"asked": "fp32"},
        inputs={"clip": {"shape": [1, 3, 8, 32, 32], "dtype": "float32"}},
        outputs={"logits": {"shape": [1, 2], "dtype": "float32"}},
        model="model.onnx",
        files={"model.onnx": ""},
    )


def _old_artifact(folder: Path) -> None:
    folder.mkdir()
    (folder / "model.onnx").write_text("old")
    seal(_meta(), folder)


def _fail_half_way(folder: Path, error: BaseException) -> None:
    with new_artifact(folder) as aside:
        (aside / "model.onnx").write_text("half")
        raise error


def test_a_finished_folder_takes_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "a b é"
    with new_artifact(folder) as aside:
        (aside / "model.onnx").write_text("new")
        assert not folder.exists()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert (folder / "model.onnx").read_text() == "new"
    assert folder.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [RuntimeError("half-way"), KeyboardInterrupt("half-way")])
def test_nothing_is_left_after_a_failure(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error), match="half-way"):
        _fail_half_way(tmp_path / "a", error)
    assert not list(tmp_path.iterdir())


def test_an_older_artifact_stays_until_the_new_one_is_finished(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    _old_artifact(folder)
    with pytest.raises(RuntimeError, match="half-way"):
        _fail_half_way(folder, RuntimeError("half-way"))
    check_files(read_meta(folder), folder)
    with new_artifact(folder) as aside:
        (aside / "model.onnx").write_text("new")
        assert (folder / "model.onnx").read_text() == "old"
    assert [path.name for path in folder.iterdir()] == ["model.onnx"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with new_artifact(tmp_path / "a") as aside:
        (aside / "model.onnx").write_text("new")
    assert (tmp_path / "a" / "model.onnx").exists()


def test_other_things_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo.jpg").write_text("mine")
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "meta.json").write_text("{}")
    for name in ("file", "folder", "link", "dangling", "other"):
        with pytest.raises(UsageError, match="exists and is not an artifact folder and nothing else; give another"):
            check_destination(tmp_path / name)


@pytest.mark.parametrize("name", ["notes.txt", "model"])
def test_an_artifact_that_holds_more_is_never_overwritten(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "a"
    _old_artifact(folder)
    check_destination(folder)
    if name == "model":
        (folder / name).mkdir()
    else:
        (folder / name).write_text("mine")
    message = f"a is replaced as a whole, and {name} is no part of its artifact; move that away, or give another `out`"
    with pytest.raises(UsageError, match=message):
        check_destination(folder)
    assert (folder / name).exists()


def test_whoever_has_no_other_place_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").touch()
    with pytest.raises(UsageError, match=r"is not an artifact folder and nothing else; copy it$"):
        check_destination(tmp_path / "mine.pt", otherwise="copy it")
    full = OSError(errno.ENOSPC, "full")
    with (
        pytest.raises(InputFileError, match=r"free some space or copy it$"),
        new_artifact(tmp_path / "a", otherwise="copy it"),
    ):
        raise full


def test_a_folder_under_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file" / "a", tmp_path / "file" / "b" / "a"):
        with pytest.raises(InputFileError, match=r"cannot make the output folder .*: .*file is a file; give another"):
            check_destination(folder)


def test_a_folder_under_a_link_that_leads_nowhere_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(InputFileError, match=r"output folder .*: .*link is a link that leads nowhere; give another"):
        check_destination(tmp_path / "link" / "b" / "a")


def test_checking_makes_no_folder_and_writing_makes_all_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder" / "a"
    check_destination(folder)
    assert not list(tmp_path.iterdir())
    with new_artifact(folder) as aside:
        (aside / "model.onnx").write_text("new")
    assert [path.name for path in folder.parent.iterdir()] == ["a"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_a_disk_that_takes_no_more_is_told_in_one_line_and_leaves_nothing(tmp_path: Path, code: int) -> None:
    message = rf"cannot write .*a: {os.strerror(code)}; free some space or give another `out`$"
    with pytest.raises(InputFileError, match=message):
        _fail_half_way(tmp_path / "a", OSError(code, os.strerror(code)))
    assert not list(tmp_path.iterdir())


def test_the_disk_of_temporary_files_is_not_told_as_that_of_the_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(work))

    def told(*name: str | None) -> str:
        with pytest.raises(InputFileError) as raised:
            _fail_half_way(tmp_path / "a", OSError(errno.ENOSPC, "full", *name))
        return str(raised.value)

    graph = str(work / "tmpabc" / "model.onnx")
    temporary = f"cannot write {graph}: full; free some space there or set TMPDIR to another folder"
    assert told(graph) == temporary
    assert told(str(tmp_path / ".a.xyz" / "model.bin"), None, graph) == temporary
    own = str(tmp_path / ".a.xyz" / "model.onnx")
    for name in ((own,), (graph, None, own)):
        assert told(*name) == f"cannot write {own}: full; free some space or give another `out`"
    other = str(tmp_path / "elsewhere")
    assert told(other) == f"cannot use {other}: full; see that it is there, may be used, and its disk is not full"


def test_where_either_disk_may_be_full_both_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disks = [path for path in (Path("/dev/shm"), Path("/proc")) if path.is_dir()]
    other = next((path for path in disks if path.stat().st_dev != tmp_path.stat().st_dev), None)
    if other is None:
        pytest.skip("there is one disk alone")
    monkeypatch.setattr(tempfile, "tempdir", str(other))
    with pytest.raises(InputFileError) as raised:
        _fail_half_way(tmp_path / "a", OSError(errno.ENOSPC, "full"))
    assert str(raised.value) == (
        f"cannot write {tmp_path / 'a'}, or temporary files in {other}: full; free some space, set TMPDIR to another "
        "folder or give another `out`"
    )


def test_no_place_for_temporary_files_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gettempdir() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", gettempdir)
    message = "^cannot write temporary files: No usable temporary .*; free some space there or set TMPDIR to another"
    with pytest.raises(InputFileError, match=message):
        _fail_half_way(tmp_path / "a", FileNotFoundError(errno.ENOENT, "No usable temporary directory found"))


def test_an_error_that_is_not_the_disks_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="refused") as raised:
        _fail_half_way(tmp_path / "a", OSError(errno.ECONNREFUSED, "refused"))
    assert raised.value.errno == errno.ECONNREFUSED
    assert not list(tmp_path.iterdir())


def test_an_interrupt_while_taking_the_name_brings_the_older_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rename = tmp_path / "a", Path.rename
    _old_artifact(folder)

    def interrupted(path: Path, target: Path) -> Path:
        if target == folder and not list(path.glob("meta.json")):
            raise KeyboardInterrupt(str(path))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt, match="a"), new_artifact(folder) as aside:
        (aside / "model.onnx").write_text("new")
    check_files(read_meta(folder), folder)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_seal_records_the_model_first_and_every_file(tmp_path: Path) -> None:
    for name in ("calib.json", "model.onnx", "reproduce.sh"):
        (tmp_path / name).write_text(name)
    meta = seal(_meta(), tmp_path)
    assert list(meta.files) == ["model.onnx", "calib.json", "reproduce.sh"]
    assert read_meta(tmp_path) == meta
    check_files(meta, tmp_path)
    (tmp_path / "calib.json").write_text("changed")
    with pytest.raises(InputFileError, match=r"calib\.json has changed since it was exported"):
        check_files(meta, tmp_path)
    assert folder_bytes(tmp_path) == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_the_script_quotes_for_the_shell(tmp_path: Path) -> None:
    write_script(["printf", "%s|", "a b", "it's", "$HOME", "é"], tmp_path)
    done = subprocess.run([tmp_path / "reproduce.sh"], capture_output=True, check=True)
    assert done.stdout.decode() == "a b|it's|$HOME|é|"


def test_versions_name_what_made_the_artifact() -> None:
    assert {"python", "s2tf-edge", "torch", "onnx", "openvino", "nncf"} <= set(package_versions())

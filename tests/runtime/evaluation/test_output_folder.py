"""Results that appear all together, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.evaluation.output_folder import output_folder


@pytest.mark.parametrize("exists", [False, True])
def test_a_failure_leaves_nothing(exists: bool, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if exists:
        out.mkdir()

    def fail() -> None:
        with output_folder(out) as folder:
            (folder / "report.json").write_text("{}")
            (folder / "missing").read_text()

    with pytest.raises(FileNotFoundError, match="missing"):
        fail()
    assert list(tmp_path.rglob("*")) == ([out] if exists else [])


def test_only_files_of_the_same_name_are_replaced(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    for text in ("1", "2"):
        with output_folder(out) as folder:
            (folder / "report.json").write_text(text)
        (out / "notes.txt").write_text("mine")
    assert {file.name: file.read_text() for file in out.iterdir()} == {"report.json": "2", "notes.txt": "mine"}
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def test_a_folder_of_results_replaces_all_of_the_one_before(tmp_path: Path) -> None:
    for names in (("a.jpg", "b.jpg"), ("c.jpg",)):
        with output_folder(tmp_path / "out") as folder:
            (folder / "pictures").mkdir()
            for name in names:
                (folder / "pictures" / name).write_text("")
    assert [path.name for path in (tmp_path / "out/pictures").iterdir()] == ["c.jpg"]


def test_files_are_written_on_the_disk_of_a_folder_that_exists(tmp_path: Path) -> None:
    with output_folder(tmp_path) as folder:
        assert folder.parent == tmp_path


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="is a file; choose another `folder`"), output_folder(tmp_path / "out"):
        pytest.fail("entered")
    with (
        pytest.raises(UsageError, match=r"cannot write to .*in: File exists; choose"),
        output_folder(tmp_path / "out" / "in"),
    ):
        pytest.fail("entered")


def test_a_folder_in_the_way_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "out" / "report.json").mkdir(parents=True)

    def write() -> None:
        with output_folder(tmp_path / "out") as folder:
            (folder / "report.json").write_text("{}")

    with pytest.raises(UsageError, match=r"cannot write to .*out: Is a directory"):
        write()

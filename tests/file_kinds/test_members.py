"""What an archive holds is told without unpacking it, whatever its names are."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge.errors import InputFileError
from s2tf_edge.file_kinds import PUBLISHED, check_kind
from s2tf_edge.file_kinds.members import list_members

NAMES = ["readme.md", "__MACOSX/w.pth", "run/.DS_Store", "run/w.PTH", "net.onnx", "b\x1b[2Jad.pt"]


def _write_zip(path: Path, names: list[str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("run/", "")
        for name in names:
            archive.writestr(name, "")


def _write_tar(path: Path, names: list[str], *, mode: str = "w") -> None:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name in names:
            archive.addfile(tarfile.TarInfo(name))


@pytest.mark.parametrize("write", [_write_zip, _write_tar])
def test_networks_come_first_and_names_that_no_line_can_hold_are_left_out(
    write: Callable[[Path, list[str]], None], tmp_path: Path
) -> None:
    write(tmp_path / "a", NAMES)
    assert list_members(tmp_path / "a") == ["run/w.PTH", "net.onnx", "readme.md"]


def test_what_would_have_to_be_unpacked_is_not_looked_into(tmp_path: Path) -> None:
    _write_tar(tmp_path / "a.tgz", ["w.pth"], mode="w:gz")
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04" + bytes(60))
    _write_tar(tmp_path / "whole.tar", ["w.pth"])
    (tmp_path / "cut.tar").write_bytes((tmp_path / "whole.tar").read_bytes()[:300])
    assert [list_members(tmp_path / name) for name in ("a.tgz", "cut.zip", "cut.tar", "none")] == [[], [], [], []]


def test_the_first_are_told(tmp_path: Path) -> None:
    _write_zip(tmp_path / "a.zip", [f"{name}.pth" for name in "abcde"])
    with pytest.raises(InputFileError, match=r"unpack it and give what is in it: a\.pth, b\.pth, c\.pth and 2 more$"):
        check_kind(tmp_path / "a.zip", PUBLISHED)

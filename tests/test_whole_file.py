"""Files that are written aside and renamed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from s2tf_edge.errors import InputFileError
from s2tf_edge.whole_file import whole_file

_FULL_DISK = """
import resource, sys
from pathlib import Path
import torch
from s2tf_edge.errors import InputFileError
from s2tf_edge.whole_file import whole_file

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
path = Path(sys.argv[1])
try:
    with whole_file(path) as file:
        torch.save({"weights": torch.zeros(1_000_000)}, file)
except InputFileError as error:
    print(error)
"""


def test_the_name_is_taken_once_all_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "a.bin"
    with whole_file(path) as file:
        file.write(b"first")
        assert not path.exists()
    with whole_file(path) as file:
        file.write(b"second")
        assert path.read_bytes() == b"first"
    assert path.read_bytes() == b"second"
    assert [item.name for item in path.parent.iterdir()] == ["a.bin"]


def test_what_a_killed_process_left_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"half of something longer")
    with whole_file(tmp_path / "a.bin") as file:
        file.write(b"all")
    assert (tmp_path / "a.bin").read_bytes() == b"all"
    assert [item.name for item in tmp_path.iterdir()] == ["a.bin"]


def test_an_error_on_the_way_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError, match="zero"), whole_file(path) as file:
        file.write(b"%d" % (1 // 0))
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.bin"]


def test_a_folder_that_is_none_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputFileError, match=r"cannot write .*a\.bin \(.+\); free some space"),
        whole_file(tmp_path / "file" / "a.bin"),
    ):
        pass


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(b"old")
    words = [sys.executable, "-c", _FULL_DISK, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"cannot write {path} (File too large); the one that was there stays as it was;")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.pt"]

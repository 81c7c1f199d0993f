"""``torchrun … -m s2tf_edge.cli.evaluate``: several processes, the numbers of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DATA = "synthetic?clips=11"
ONE = [sys.executable, "-m", "s2tf_edge.cli.evaluate"]
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *ONE[1:]]


def _run(words: list[str], *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*words, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_two_processes_write_and_print_what_one_does(small_artifact: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    options = [small_artifact, "--data", DATA, "--views", "2x3", "--threads", "1", "--json"]
    one = _run(ONE, *options, "--out", tmp_path / "one")
    two = _run(TWO, *options, "--out", tmp_path / "two")
    assert one.returncode == 0, one.stderr
    assert two.returncode == 0, two.stderr
    assert two.stdout == one.stdout
    files = {path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file()}
    assert len(files) >= 6
    assert files == {path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*") if path.is_file()}
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


@pytest.mark.slow
def test_an_error_is_said_once(small_artifact: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = _run(TWO, small_artifact, "--data", tmp_path / "none", "--out", tmp_path / "out")
    assert done.returncode != 0
    assert done.stderr.count("none does not exist") == 1
    assert not (tmp_path / "out").exists()

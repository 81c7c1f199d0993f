"""``s2tf-eval`` as a user calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

DATA = "synthetic?clips=10"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    code = "from s2tf_edge.cli.evaluate import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_json_alone_on_stdout_and_files(small_artifact: Path, tmp_path: Path) -> None:
    done = run(small_artifact, "--data", DATA, "--views", "2x1", "--limit", "5", "--out", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["n"] == 5
    assert values["skipped"] == 0
    assert 0 <= values["top1_low"] <= values["top1"] <= values["top1_high"] <= 100
    assert values["top1"] <= values["top5"]
    assert json.loads((tmp_path / "out" / "eval.json").read_text("utf-8")) == values
    assert len((tmp_path / "out" / "predictions.csv").read_text("utf-8").splitlines()) == 6


def test_text(small_artifact: Path) -> None:
    done = run(small_artifact, "--data", DATA, "--limit", "2", "-q")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("top-1 ")
    assert "2 videos, 1x1 views" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("model_name", "options", "code", "message"),
    [
        ("none.pt", [], 9, "does not exist"),
        ("none.pt", ["--views", "3"], 2, "views must be TEMPORALxSPATIAL"),
        ("none.pt", ["--threads", "-1"], 2, "threads and requests must be zero or more"),
        ("none.pt", ["--out", "/dev/null"], 2, "is a file; choose another folder"),
    ],
)
def test_mistakes(tmp_path: Path, model_name: str, options: list[str], code: int, message: str) -> None:
    done = run(tmp_path / model_name, "--data", DATA, *options)
    assert done.returncode == code
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""

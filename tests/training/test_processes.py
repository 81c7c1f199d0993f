"""Two real processes under torchrun, over gloo: what one would have given with twice the batch."""

from __future__ import annotations

import csv
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from s2tf_edge.models import registry
from s2tf_edge.models.model_file import read_model_file

_PATIENCE_SECONDS: Final = 300.0
"""No test waits that long unless something hangs, however busy the machine is."""

# Trains a network without norms, whose statistics each process would take of its own clips, and validates it on seven
# videos: one process has four of them and the other three.
_CHILD: Final = """
import os, sys
from pathlib import Path
from torch import nn
from s2tf_edge import ClipSpec
from s2tf_edge.data.datasets import open_data
from s2tf_edge.errors import InputFileError
from s2tf_edge.models import Backbone, BackboneOptions, PooledHead, StageShape, register
from s2tf_edge.training import TrainConfig, train

class NormFree(Backbone):
    def __init__(self, width, frames, size, num_classes):
        super().__init__()
        layer = lambda channels, strides: nn.Sequential(nn.Conv3d(channels, width, 3, strides, 1), nn.ReLU())
        self.stem = layer(3, (1, 2, 2))
        self.stages = nn.ModuleList(layer(width, 2) for _ in range(4))
        self.shapes = tuple(StageShape(width, -(-frames // 2**k), -(-size // 2 ** (k + 1))) for k in (1, 2, 3, 4))
        self.head = PooledHead(width, num_classes, dropout=0.0)

@register("norm_free", recipes={"a": ClipSpec(frames=8, size=32)}, options=BackboneOptions)
def build(variant, *, options, frames, size, num_classes):
    return NormFree(16, frames, size, num_classes)

class Broken:
    name, label, room = "broken", 0, 0.0
    def read(self, spec, *, at=0.5):
        raise RuntimeError("no memory left on this machine")

class Unreadable(Broken):
    def __init__(self, name):
        self.name = name
    def read(self, spec, *, at=0.5):
        raise InputFileError(f"{self.name} is empty")

out, batch_size, breaks = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
config = TrainConfig(
    model="norm_free_a", frames=8, size=32, fps=15.0, epochs=2, batch_size=batch_size, workers=0, lr=0.01,
    clips_per_video=1,
)
videos, validation = open_data("synthetic?clips=22"), open_data("synthetic?clips=7&split=test")
if breaks == ["breaks"]:
    if os.environ["RANK"] == "1":
        validation.videos[1] = Broken()
else:
    for index in map(int, breaks):
        validation.videos[index] = Unreadable(f"v{index}")
result = train(config, videos=videos, validation=validation, out=out)
print("validated", result.validated)
"""


@contextmanager
def _torchrun(*words: str | Path, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """Two processes on this machine; none of them is left behind."""
    arguments = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*arguments, *map(str, words)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        watchdog = threading.Timer(_PATIENCE_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()


def _rows(folder: Path) -> list[dict[str, float]]:
    rows = csv.DictReader((folder / "metrics.csv").read_text(encoding="utf-8").splitlines())
    return [{name: float(value) for name, value in row.items() if name != "seconds"} for row in rows]


def _weights(folder: Path) -> dict[str, Any]:
    weights: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    return weights


@pytest.mark.slow
def test_two_processes_give_the_curve_and_weights_of_one_with_twice_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = tmp_path / "child.py"
    child.write_text(_CHILD, encoding="utf-8")
    with _torchrun(child, "two", "4", cwd=tmp_path) as process:
        said, _ = process.communicate()
    assert process.returncode == 0, said
    monkeypatch.setattr(registry, "_ARCHITECTURES", dict(registry._ARCHITECTURES))
    monkeypatch.setattr(sys, "argv", [str(child), str(tmp_path / "one"), "8"])
    runpy.run_path(str(child))
    for ours, theirs in zip(_rows(tmp_path / "two"), _rows(tmp_path / "one"), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    torch.testing.assert_close(_weights(tmp_path / "two"), _weights(tmp_path / "one"), rtol=1e-4, atol=1e-5)
    # One process writes.
    assert len(list((tmp_path / "two" / "tensorboard").glob("events.*"))) == 1


@pytest.mark.slow
def test_a_signal_to_torchrun_ends_all_processes_and_says_what_was_kept(tmp_path: Path) -> None:
    words = ["synthetic?clips=20", "--model", "s2tf_r3d_10?width=0.0625", "--frames", "8", "--size", "32", "--out", "a"]
    words += ["--workers", "0", "--clips-per-video", "1", "--epochs", "100000", "--batch-size", "5"]
    with _torchrun("-m", "s2tf_edge.training", *words, cwd=tmp_path) as process:
        assert process.stdout is not None
        lines = iter(process.stdout)
        assert any("epoch 2/100000" in line for line in lines)
        process.terminate()
        said = process.stdout.read()
    assert process.returncode != 0
    assert "s2tf-train: error: interrupted; kept a/last.ckpt, after epoch" in said
    assert not list((tmp_path / "a").glob("*.part"))


@pytest.mark.slow
def test_an_error_in_another_process_ends_all_and_reaches_the_user(tmp_path: Path) -> None:
    child = tmp_path / "child.py"
    child.write_text(_CHILD, encoding="utf-8")
    with _torchrun(child, "two", "4", "breaks", cwd=tmp_path) as process:
        said, _ = process.communicate()
    assert process.returncode != 0
    assert "no memory left on this machine" in said


@pytest.mark.slow
def test_unreadable_videos_of_all_processes_are_counted_together(tmp_path: Path) -> None:
    child = tmp_path / "child.py"
    child.write_text(_CHILD, encoding="utf-8")
    # The second process validates on the second video.
    with _torchrun(child, "one", "4", "1", cwd=tmp_path) as process:
        said, _ = process.communicate()
    assert process.returncode == 0, said
    assert [row["unreadable"] for row in _rows(tmp_path / "one")] == [1, 1]
    assert read_model_file(tmp_path / "one" / "model.pt").metrics["unreadable"] == 1
    assert re.findall(r"validated (\d)", said) == ["6", "6"]
    # Each has found one, which alone it would bear.
    with _torchrun(child, "two", "4", "1", "2", cwd=tmp_path) as process:
        said, _ = process.communicate()
    assert process.returncode != 0
    assert (
        "InputFileError: 2 of 7 videos of synthetic?clips=7&split=test cannot be read, more than 1 %: v1, v2;" in said
    )

"""Nothing that was trained is lost, whatever ends a run."""

from __future__ import annotations

import csv
import dataclasses
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from s2tf_edge.cli import train as command
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.models.model_file import read_model_file
from s2tf_edge.progress import Progress
from s2tf_edge.training import TrainConfig, train

Sides = tuple[LabeledVideos, LabeledVideos]

# Halts where a checkpoint is about to be opened or renamed for the n-th time, says so, and waits to be killed.
_CHILD: Final = """
import sys, time

event, count, *arguments = sys.argv[1:]
left = int(count)

def halt(name, values):
    global left
    if name == event and str(values[0]).endswith("last.ckpt.part"):
        left -= 1
        if not left:
            print("halted", flush=True)
            while True:
                time.sleep(1)

sys.addaudithook(halt)
sys.argv = ["s2tf-train", *arguments]
from s2tf_edge.cli.train import main
main()
"""


class _EndedError(Exception):
    pass


def _end_at(step: int) -> Progress:
    """A listener that ends the run within a step, before its checkpoint is written."""

    def progress(done: int, total: int) -> None:
        del total
        if done == step:
            raise _EndedError

    return progress


def _checkpoint(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    return loaded


def _metrics(folder: Path) -> list[dict[str, str]]:
    """Rows without the time that they took."""
    rows = csv.DictReader((folder / "metrics.csv").read_text(encoding="utf-8").splitlines())
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def _assert_equal(got: Any, expected: Any) -> None:
    """Bit for bit, through all of a checkpoint."""
    assert type(got) is type(expected)
    if isinstance(expected, dict):
        assert got.keys() == expected.keys()
        for key in expected:
            _assert_equal(got[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            _assert_equal(one, other)
    else:
        assert torch.equal(got, expected) if isinstance(expected, torch.Tensor) else got == expected


def _assert_same_run(got: Path, expected: Path) -> None:
    ours, theirs = _checkpoint(got), _checkpoint(expected)
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "s2tf_position"):
        _assert_equal(ours[key], theirs[key])
    assert (got / "model.pt").read_bytes() == (expected / "model.pt").read_bytes()
    assert _metrics(got) == _metrics(expected)


def test_a_run_cut_within_an_epoch_goes_on_as_if_it_had_not_been(
    tmp_path: Path, tiny: TrainConfig, sides: Sides, caplog: pytest.LogCaptureFixture
) -> None:
    videos, validation = sides
    train(tiny, videos=videos, validation=validation, out=tmp_path / "whole")
    often = dataclasses.replace(tiny, checkpoint_minutes=0.0)
    for step in (3, 7):  # of the first epoch's four and the second's
        with pytest.raises(_EndedError):
            train(often, videos=videos, validation=validation, out=tmp_path / "cut", progress=_end_at(step))
        assert _checkpoint(tmp_path / "cut")["s2tf_position"] == {
            "epochs": step // 4,
            "steps": step % 4 - 1,
            "steps_of_epoch": 4,
            "clips_of_step": 5,
        }
    with caplog.at_level("INFO", logger="s2tf_edge"):
        train(often, videos=videos, validation=validation, out=tmp_path / "cut")
    assert "last.ckpt: resuming in epoch 2 of 2, after step 2 of 4" in caplog.text
    _assert_same_run(tmp_path / "cut", tmp_path / "whole")


def test_within_an_epoch_it_is_written_when_it_is_time_and_not_before(
    tmp_path: Path, tiny: TrainConfig, sides: Sides
) -> None:
    with pytest.raises(_EndedError):
        train(tiny, videos=sides[0], validation=sides[1], out=tmp_path, progress=_end_at(4))
    assert not (tmp_path / "last.ckpt").exists()


@pytest.mark.slow
def test_a_process_that_is_killed_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["synthetic?clips=20", "--model", "s2tf_r3d_10?width=0.0625", "--frames", "8", "--size", "32"]
    words += ["--epochs", "2", "--batch-size", "5", "--clips-per-video", "1", "--workers", "0"]
    monkeypatch.chdir(tmp_path)
    # After the second step, whose checkpoint is still to be written; then where one is written and not renamed.
    for event, count in (("open", 2), ("os.rename", 3)):
        _kill_at(event, count, *words, "--checkpoint-minutes", "0", "--out", "cut")
        assert (tmp_path / "cut" / "last.ckpt.part").exists() == (event == "os.rename")
        # There is a network as soon as an epoch is over.
        assert (tmp_path / "cut" / "model.pt").exists() == (
            _checkpoint(tmp_path / "cut")["s2tf_position"]["epochs"] > 0
        )
        assert _checkpoint(tmp_path / "cut")["s2tf_position"]["steps"] > 0
    for out, minutes in (("cut", "0"), ("whole", "10")):
        monkeypatch.setattr(sys, "argv", ["s2tf-train", *words, "--checkpoint-minutes", minutes, "--out", out])
        with pytest.raises(SystemExit, match=r"^0$"):
            command.main()
    assert not list((tmp_path / "cut").glob("*.part"))
    _assert_same_run(tmp_path / "cut", tmp_path / "whole")


def _kill_at(event: str, count: int, *words: str) -> None:
    arguments = [sys.executable, "-c", _CHILD, event, str(count), *words]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        halted = process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        _, errors = process.communicate()
    assert halted == "halted\n", errors


def test_an_epoch_under_way_needs_the_steps_it_had(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    videos, validation = sides
    often = dataclasses.replace(tiny, checkpoint_minutes=0.0)
    with pytest.raises(_EndedError):
        train(often, videos=videos, validation=validation, out=tmp_path, progress=_end_at(3))
    larger = dataclasses.replace(tiny, batch_size=10)
    with pytest.raises(UsageError, match=r"of 4 steps of 5 clips, and now an epoch has 2 steps of 10"):
        train(larger, videos=videos, validation=validation, out=tmp_path, resume=tmp_path / "last.ckpt")


def test_a_full_disk_is_one_clear_error_and_keeps_what_was_written(
    tmp_path: Path, tiny: TrainConfig, sides: Sides, file_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    videos, validation = sides
    first = dataclasses.replace(tiny, epochs=1)
    train(first, videos=videos, validation=validation, out=tmp_path)
    before = (tmp_path / "last.ckpt").read_bytes()
    with (
        file_limit(len(before) // 2),
        pytest.raises(InputFileError, match=r"cannot write .*last\.ckpt \(File too large\); the one that was there"),
    ):
        train(tiny, videos=videos, validation=validation, out=tmp_path, resume=tmp_path / "last.ckpt")
    assert (tmp_path / "last.ckpt").read_bytes() == before
    assert read_model_file(tmp_path / "model.pt").metrics["epoch"] == 1
    assert not list(tmp_path.glob("*.part"))


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    hot = dataclasses.replace(tiny, lr=1e12, checkpoint_minutes=0.0)
    message = (
        r"the (validation )?loss is (nan|inf)( at step \d)? in epoch 1, with a learning rate of [\d.e+]+; "
        r"kept .*last\.ckpt, in epoch 1 of 2, after step \d of 4; give a lower `lr`, such as a third of it, "
        r"and `resume='.*last\.ckpt'`"
    )
    with pytest.raises(UsageError, match=message):
        train(hot, videos=sides[0], validation=sides[1], out=tmp_path)
    assert all(value.isfinite().all() for value in _checkpoint(tmp_path)["state_dict"].values())


def test_weights_that_are_no_numbers_are_not_written_down(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    broken = dataclasses.replace(tiny, weight_decay=1e43, checkpoint_minutes=0.0)
    with pytest.raises(
        UsageError, match=r"is no longer finite in epoch 1.*no checkpoint was written yet.*, and `resume='never'`"
    ):
        train(broken, videos=sides[0], validation=sides[1], out=tmp_path)
    assert not (tmp_path / "last.ckpt").exists()


def test_an_interrupt_says_what_was_kept(tmp_path: Path, tiny: TrainConfig, sides: Sides) -> None:
    def interrupt(done: int, total: int) -> None:
        del total
        if done == 3:
            raise KeyboardInterrupt

    often = dataclasses.replace(tiny, checkpoint_minutes=0.0)
    with pytest.raises(
        KeyboardInterrupt, match=r"kept .*last\.ckpt, in epoch 1 of 2, after step 2 of 4: the same command goes on"
    ):
        train(often, videos=sides[0], validation=sides[1], out=tmp_path / "often", progress=interrupt)
    with pytest.raises(KeyboardInterrupt, match="no checkpoint was written yet: the same command starts anew"):
        train(tiny, videos=sides[0], validation=sides[1], out=tmp_path / "rarely", progress=interrupt)

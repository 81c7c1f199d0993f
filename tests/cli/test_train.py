"""s2tf-train as a user types it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from s2tf_edge.cli import train as command

SCRIPT = Path(sys.executable).with_name("s2tf-train")
TINY = ["--model", "s2tf_r3d_10?width=0.0625", "--frames", "8", "--size", "32", "--workers", "0"]


def _run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in (SCRIPT, *arguments)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(
    interrupt: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "quick.toml").write_text("clips_per_video = 1", encoding="utf-8")
    arguments = ["synthetic?clips=20", *TINY, "--config", "quick.toml", "--epochs", "3", "--out", "größer run"]
    # Where it waits, the second epoch is over and its checkpoint is still to be written.
    cut = interrupt("train", *arguments, at="epoch 2/3", halts=True, cwd=tmp_path)
    assert cut.returncode == 130
    assert cut.stderr.splitlines()[-1] == (
        "s2tf-train: error: interrupted; kept größer run/last.ckpt, after epoch 1 of 3, and größer run/model.pt "
        "of epoch 1: the same command goes on from there"
    )

    done = _run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "größer run/last.ckpt: resuming after epoch 1 of 3" in done.stderr
    assert "epoch 1/3" not in done.stderr
    assert re.fullmatch(
        r"größer run/model\.pt: [\d.]+ % top-1 on 10 validation videos \(epoch [123]\)\n"
        r"next: s2tf-export 'größer run/model\.pt' --target openvino\n",
        done.stdout,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["missing", "--model", "r3d_10"], 9, "missing does not exist"),
        (["empty", "--model", "r3d_10"], 9, "empty"),
        (["flat", "--model", "r3d_10"], 9, "the videos of flat have no labels, which are needed here"),
        (["flat/*.mp4", "--model", "r3d_10"], 9, "the videos of flat"),
        (["synthetic?clips=20", "--model", "r3d_10", "--val-split", "flat"], 9, "the videos of flat have no labels"),
        (["synthetic?clips=20", "--model", "r4d_10"], 2, "r4d_10"),
        (["synthetic?clips=20", "--model", "r3d_10", "--epochs", "0"], 2, "--epochs must be one or more, got 0"),
        (["synthetic?clips=20", "--model", "r3d_10", "--config", "bad.toml"], 9, r"unknown keys \['epoch'\]"),
        (["synthetic?clips=20", *TINY, "--pretrained", "text.pt"], 9, "text.pt"),
        (["synthetic?clips=20", *TINY, "--cache", "text.pt"], 2, "--cache takes ram or a folder, got 'text.pt'"),
        (
            ["synthetic?clips=20", *TINY, "--resume", "text.pt"],
            9,
            "text.pt is a text file; give the last.ckpt of a training run",
        ),
        (["synthetic?clips=20", *TINY, "--val-split", "2"], 2, "2"),
        (["synthetic?clips=20", *TINY, "--val-split", "0", "--keep", "best"], 2, "--keep best needs videos to valid"),
        # Before data are looked at, which has nothing either.
        (["empty", *TINY, "--pretrained", "text.pt"], 9, "text.pt"),
        (["empty", *TINY, "--resume", "none.ckpt"], 9, "none.ckpt does not exist"),
        (["empty", *TINY, "--teacher", "none.onnx"], 9, "none.onnx does not exist"),
        (
            ["empty", *TINY, "--out", "text.pt/run"],
            9,
            r"cannot write into text\.pt/run, as .*text\.pt is no folder; give a",
        ),
        (["empty", *TINY, "--out", "dangling/run"], 9, r"as .*dangling is no folder; give another --out"),
        (["synthetic?clips=20"], 2, "there is no network to train; give --model NAME"),
        (
            ["synthetic?clips=20", *TINY, "--recipe", "small"],
            2,
            "--recipe must be one of auto, none, s2tfnet, small-fi",
        ),
        (["synthetic?clips=20", *TINY, "--freeze", "nothing"], 2, "--freeze nothing matches no weight of s2tf_r3d_10"),
        (["synthetic?clips=20", *TINY, "--freeze", "("], 2, r"--freeze '\(' is not a regular expression"),
    ],
)
def test_bad_input_is_one_clear_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    for folder in ("empty", "flat"):
        (tmp_path / folder).mkdir()
    (tmp_path / "flat/a.mp4").touch()
    (tmp_path / "text.pt").write_text("some notes", encoding="utf-8")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "bad.toml").write_text("epoch = 3", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["s2tf-train", "--out", "run", *arguments, "--quiet"])
    with pytest.raises(SystemExit, match=rf"^{code}$"):
        command.main()
    printed, errors = capsys.readouterr()
    assert printed == ""
    assert re.search(message, errors)
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "run" / "model.pt").exists()


@pytest.mark.slow
def test_a_run_says_its_recipe_and_repeats_from_what_it_left(tmp_path: Path) -> None:
    arguments = ["synthetic?clips=20", *TINY, "--epochs", "1", "--clips-per-video", "1"]
    done = _run(*arguments, "--out", "first run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "recipe small-scratch: random weights, 10 videos to train on" in done.stderr
    text = (tmp_path / "first run" / "train.toml").read_text(encoding="utf-8")
    line = "s2tf-train 'synthetic?clips=20' --config 'first run/train.toml' --out DIR"
    assert f"# the same run again: {line}\n" in text
    # The recipe's own, and a flag that comes before it.
    assert "\nema = 0.99\n" in text
    assert "\nepochs = 1\n" in text

    again = _run(*shlex.split(line)[1:-1], "second", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "recipe" not in again.stderr
    models = [(tmp_path / run / "model.pt").read_bytes() for run in ("first run", "second")]
    assert models[0] == models[1]

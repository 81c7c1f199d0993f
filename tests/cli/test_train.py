"""s2tf-train as a user types it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(sys.executable).with_name("s2tf-train")
TINY = ["--model", "s2tf_r3d_10?width=0.0625", "--frames", "8", "--size", "32", "--workers", "0"]


def _run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(word) for word in (SCRIPT, *arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_ctrl_c_ends_with_130_and_the_same_command_goes_on(tmp_path: Path) -> None:
    arguments = ["synthetic?clips=20", *TINY, "--epochs", "3", "--out", "größer run"]
    with subprocess.Popen(
        [str(SCRIPT), *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert any("epoch 2/3" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert rest.splitlines()[-1] == "s2tf-train: error: interrupted"
    assert not (tmp_path / "größer run" / "model.pt").exists()

    done = _run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "größer run/last.ckpt: resuming after 1 epochs" in done.stderr
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
        (["synthetic?clips=20", "--model", "r4d_10"], 2, "r4d_10"),
        (["synthetic?clips=20", "--model", "r3d_10", "--epochs", "0"], 2, "epochs must be one or more, got 0"),
        (["synthetic?clips=20", "--model", "r3d_10", "--config", "bad.toml"], 9, r"unknown keys \['epoch'\]"),
        (["synthetic?clips=20", *TINY, "--pretrained", "text.pt"], 9, "text.pt"),
        (
            ["synthetic?clips=20", *TINY, "--resume", "text.pt"],
            9,
            "of a training run; give --resume never to start anew",
        ),
        (["synthetic?clips=20", *TINY, "--val-split", "2"], 2, "2"),
        (["synthetic?clips=20"], 2, "there is no network to train; give --model NAME"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path: Path, arguments: list[str], code: int, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.pt").write_text("some notes", encoding="utf-8")
    (tmp_path / "bad.toml").write_text("epoch = 3", encoding="utf-8")
    done = _run(*arguments, "--out", "run", "--quiet", cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert re.search(message, done.stderr)
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run" / "model.pt").exists()

"""What all commands share: exit codes, one clear line, version and help."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from s2tf_edge import __version__, errors
from s2tf_edge.cli import app

COMMANDS = ("train", "import", "models", "eval", "export", "stream", "report", "demo")


def _fail_with(error: BaseException) -> None:
    def command() -> None:
        """Fails."""
        raise error

    sys.argv = ["s2tf-test"]
    app.run(command, name="s2tf-test", examples=())


@pytest.fixture(autouse=True)
def _own_argv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["s2tf-test"])


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("x"), 2),
        (errors.UnsupportedError("x"), 3),
        (errors.BuildError("x"), 4),
        (errors.VerificationError("x"), 5),
        (errors.AccuracyError("x"), 6),
        (errors.MissingExtraError("x"), 7),
        (errors.SourceError("x"), 8),
        (errors.InputFileError("x"), 9),
        (PermissionError(13, "Permission denied", "out"), 9),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_exit_codes(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        _fail_with(error)
    assert caught.value.code == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.strip().splitlines()) == 1


def test_a_message_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _fail_with(errors.InputFileError("a compiler said:\n\n  many\n  things"))
    assert capsys.readouterr().err == "s2tf-test: error: a compiler said: many things\n"


def test_an_error_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError, match="bug"):
        _fail_with(ZeroDivisionError("bug"))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_version(command: str) -> None:
    script = Path(sys.executable).with_name(f"s2tf-{command}")
    shown = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == f"s2tf-{command} {__version__}"
    helped = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert "Examples" in helped.stdout
    assert f"s2tf-{command} " in helped.stdout


def test_an_unknown_flag_is_wrong_usage() -> None:
    script = Path(sys.executable).with_name("s2tf-train")
    done = subprocess.run([script, "--no-such-flag"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr

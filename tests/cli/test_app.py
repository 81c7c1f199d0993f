"""What all commands share: exit codes, one clear line, version and help."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from s2tf_edge import __version__, errors
from s2tf_edge.cli import app, progress_lines
from s2tf_edge.progress import begin_step

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


def test_steps_of_a_log_are_counted_once_they_last(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 100.0, 200.0, 201.0])
    monkeypatch.setattr(progress_lines, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with caplog.at_level(logging.INFO), app.progress_bar("exporting") as progress:
        begin_step(progress, "verifying")
        progress(1, 4)
        progress(2, 4)
        begin_step(progress, "timing")
        progress(2, 4)
    assert caplog.messages == ["exporting …", "verifying: 2 of 4"]


def test_a_bar_shows_which_step_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=100)
    monkeypatch.setattr(app, "errors_console", console)
    with app.progress_bar("exporting") as progress:
        begin_step(progress, "asking the network")
        progress(3, 8)
        begin_step(progress, "verifying")
        progress(1, 2)
    assert "verifying" in shown.getvalue()
    assert "1/2" in shown.getvalue()

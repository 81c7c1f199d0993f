"""What all commands share: exit codes, one clear line, version and help."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable
from datetime import datetime
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


def _json_lines(text: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def run_in_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., object]:
    """Runs a function as a command with ``--log json``; gives its exit code and the lines on stderr."""

    def run_in_json(act: Callable[[], object], *arguments: str) -> tuple[int, list[dict[str, str]]]:
        def command(quiet: app.Quiet = False, verbose: app.Verbose = False) -> None:
            act()

        monkeypatch.setattr(sys, "argv", ["s2tf-test", *(arguments or ("--log", "json"))])
        with pytest.raises(SystemExit) as ended:
            app.run(command, name="s2tf-test", examples=())
        return int(ended.value.code or 0), _json_lines(capsys.readouterr().err)

    return run_in_json


Run = Callable[..., tuple[int, list[dict[str, str]]]]


def test_log_lines_are_json_where_they_are_asked_for(run_in_json: Run) -> None:
    gone = errors.SourceError("it is gone; give `quiet`")

    def act() -> None:
        logging.getLogger("s2tf_edge.x").info("%s says\n%s", "cam\u202e", "\x1b[2J" + "a" * 1000)
        logging.getLogger("other").warning("careful")
        raise gone

    code, lines = run_in_json(act)
    assert code == 8
    assert [(line["level"], line["logger"]) for line in lines] == [
        ("info", "s2tf_edge.x"),
        ("warning", "other"),
        ("error", "s2tf_edge"),
    ]
    assert lines[0]["message"] == "cam\u202e says\n\x1b[2J" + "a" * 1000
    assert lines[2]["message"] == "it is gone; give `quiet`"
    assert all(datetime.fromisoformat(line["time"].replace("Z", "+00:00")).tzinfo for line in lines)


def test_a_variable_asks_for_json_and_quiet_holds(run_in_json: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S2TF_LOG", "json")
    code, lines = run_in_json(lambda: logging.getLogger("s2tf_edge").info("not shown"), "--quiet")
    assert (code, lines) == (0, [])


def test_an_error_of_ours_is_one_line_of_json(run_in_json: Run) -> None:
    code, (line,) = run_in_json(lambda: 1 // 0)
    assert (code, line["level"], line["message"]) == (
        1,
        "critical",
        "ZeroDivisionError: integer division or modulo by zero",
    )
    assert "Traceback" in line["traceback"]


def test_warnings_of_libraries_are_json_too(run_in_json: Run) -> None:
    def act() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)

    _, (line,) = run_in_json(act)
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")


def test_json_lines_hold_no_bar(run_in_json: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "errors_console", Console(file=sys.stderr, force_terminal=True))

    def act() -> None:
        with app.progress_bar("exporting"):
            pass

    assert [line["message"] for line in run_in_json(act)[1]] == ["exporting …"]


def test_a_command_after_one_in_json_says_text(run_in_json: Run, capsys: pytest.CaptureFixture[str]) -> None:
    run_in_json(lambda: None)
    with pytest.raises(SystemExit):
        _fail_with(errors.InputFileError("gone"))
    assert capsys.readouterr().err == "s2tf-test: error: gone\n"

"""What all commands share: exit codes, ``--version``, verbosity, and progress on stderr.

Results go to stdout; logs and progress bars go to stderr, the bars only on a terminal.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final, get_type_hints

import typer
import typer.completion
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from typer.main import get_command

from s2tf_edge.cli.flag_words import FlagWords
from s2tf_edge.cli.log_lines import JsonFormatter, Log, LogForm, TextFormatter
from s2tf_edge.cli.progress_lines import show_bar, show_lines
from s2tf_edge.errors import InputFileError, S2TFError
from s2tf_edge.progress import Progress
from s2tf_edge.words import json_text, message_line, one_line, printable

__all__ = [
    "APP_SETTINGS",
    "CommandLine",
    "Quiet",
    "RequireSignature",
    "Verbose",
    "command_line_of",
    "ending_signals",
    "error_line",
    "errors_console",
    "execute",
    "existing",
    "is_for_people",
    "make_app",
    "print_json",
    "progress_bar",
    "run",
    "say",
    "setup_logging",
    "silence_stdout",
    "translate",
    "version_option",
]


APP_SETTINGS: Final[Mapping[str, Any]] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": "rich",
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
"""Of every parser."""
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only warnings and errors on stderr.")]
RequireSignature = Annotated[
    Path | None,
    typer.Option(
        help="Take artifacts only that somebody on this list of OpenSSH signed (NAME PUBLIC-KEY, a line each).",
        metavar="ALLOWED_SIGNERS",
        readable=False,
    ),
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Debug messages on stderr.")]

errors_console = Console(stderr=True)

_running: list[Callable[[str], str]] = []
"""What puts messages into the words of each command that runs, the innermost last: s2tf-demo runs others."""
_log_form = LogForm.TEXT


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """A command as it was declared for its console script."""

    command: Callable[..., None]
    """Its docstring is the help text, its annotated parameters are the flags."""
    name: str
    """Of the console script."""
    examples: tuple[str, ...] = ()
    """Command lines that the help ends in."""

    def parser(self, *, typed: str | None = None) -> typer.Typer:
        """What reads its words, with ``--help``; ``typed`` is what it is called there, where that is not ``name``."""
        examples = [re.sub(rf"\b{self.name}\b(?!-)", typed or self.name, example) for example in self.examples]
        return make_app(self.command, name=self.name, examples=examples)


_asked: list[Callable[[CommandLine], None]] = []
"""Who takes what ``run`` is to run, in its place."""


def run(command: Callable[..., None], *, name: str, examples: Sequence[str]) -> None:
    """Runs ``command`` as the console script ``name`` and exits with the documented code.

    Args:
        command: its docstring is the help text, its annotated parameters are the flags.
        name: as the user types it.
        examples: command lines that the help ends in.
    """
    declared = CommandLine(command=command, name=name, examples=tuple(examples))
    if _asked:
        _asked[-1](declared)
        return
    execute(declared.parser, name=name, typed=name)


def command_line_of(main: Callable[[], None]) -> CommandLine:
    """What ``main``, the entry point of a console script, would run; nothing runs."""
    found: list[CommandLine] = []
    _asked.append(found.append)
    try:
        main()
    finally:
        _asked.pop()
    return found[0]


def execute(parser: Callable[[], typer.Typer], *, name: str, typed: str) -> None:
    """Runs what ``parser`` makes, on the words of the command line, and exits with the documented code.

    Args:
        parser: makes it; that may fail as the command itself.
        name: of the console script.
        typed: what the error of a command begins with.
    """
    _open_closed_streams()
    for number in ending_signals() - {signal.SIGINT}:
        signal.signal(number, _interrupt)
    # A shell that asks what could be typed next says so there.
    if f"_{name}_COMPLETE".replace("-", "_").upper() in os.environ:
        typer.completion.completion_init()  # type: ignore[attr-defined]
    try:
        parser()(prog_name=name)
    except S2TFError as error:
        _fail(typed, str(error), error.exit_code, error)
    except OSError as error:
        # What no module below turned into an error of its own: a full disk, an output folder without permission.
        where = f": {error.filename}" if error.filename else ""
        _fail(typed, f"cannot read or write{where} ({error.strerror or error})", InputFileError.exit_code, error)
    except Exception as error:
        # An error of ours: a traceback for people, one line for those who collect lines.
        if _log_form is LogForm.TEXT:
            raise
        logging.getLogger("s2tf_edge").critical("%s: %s", type(error).__name__, error, exc_info=error)
        sys.exit(1)


def make_app(command: Callable[..., None], *, name: str, examples: Sequence[str] = ()) -> typer.Typer:
    """The parser of one command, with ``--help``."""
    app = typer.Typer(**APP_SETTINGS)

    @functools.cache
    def words() -> FlagWords:
        return FlagWords(name, get_command(app).params)

    app.command(name, help=_help(command, examples))(_in_own_words(command, lambda message: words().translate(message)))
    return app


def ending_signals() -> set[signal.Signals]:
    """Signals that end a command in order: SIGINT, SIGTERM, and SIGHUP, unless nohup has set it aside."""
    numbers = {signal.SIGINT, signal.SIGTERM}
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
        numbers.add(hangup)
    return numbers


def silence_stdout() -> None:
    """Gives up stdout, where it takes no more: the interpreter flushes it once again when it exits."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def translate(message: str) -> str:
    """A message of the library in the words of the command that runs: its flags in place of the names in backticks."""
    return _running[-1](message) if _running else message


def version_option(name: str) -> Any:
    """The ``--version`` option of command ``name``."""

    def show(context: typer.Context, value: bool) -> None:
        if value:
            from s2tf_edge import __version__

            typer.echo(f"{context.command_path or name} {__version__}")
            raise typer.Exit

    return typer.Option("--version", callback=show, is_eager=True, help="Show the version and exit.")


def setup_logging(*, quiet: bool = False, verbose: bool = False, log: LogForm | None = None) -> None:
    """Sends this package's log to stderr; other packages' only from warnings on.

    Args:
        quiet: only warnings and errors.
        verbose: debug messages too.
        log: what lines are; None for what they are already.
    """
    global _log_form
    _log_form = log or _log_form
    # Lines of a log file are not wrapped as those of a terminal are.
    handler: logging.Handler = logging.StreamHandler()
    if _log_form is LogForm.JSON:
        handler.setFormatter(JsonFormatter(translate))
    else:
        if errors_console.is_terminal:
            handler = RichHandler(console=errors_console, show_path=False, show_time=False, show_level=verbose)
        handler.setFormatter(TextFormatter(translate))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.captureWarnings(_log_form is LogForm.JSON)
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    logging.getLogger("s2tf_edge").setLevel(level)
    if not verbose:
        warnings.simplefilter("ignore")


def is_for_people() -> bool:
    """Whether stderr is a terminal on which something may be drawn."""
    return errors_console.is_terminal and _log_form is LogForm.TEXT


def progress_bar(title: str) -> AbstractContextManager[Progress]:
    """A progress bar with the time left, on a terminal; elsewhere log lines, the first of them that the step began."""
    return show_bar(title, errors_console) if is_for_people() else show_lines(title)


def say(text: str, *, err: bool = False) -> None:
    """Prints text that may hold others' words, which a terminal must not obey."""
    typer.echo(printable(text), err=err)


def print_json(values: Any) -> None:
    """One JSON object on stdout and nothing else."""
    typer.echo(json_text(values))


def existing(path: Path) -> Path:
    """``path``, where something is there to read.

    Raises:
        InputFileError: nothing is there, or it may not be read.
    """
    if not path.exists():
        msg = f"{path} does not exist"
        raise InputFileError(msg)
    if not os.access(path, os.R_OK):
        msg = f"no permission to read {path}"
        raise InputFileError(msg)
    return path


def _help(command: Callable[..., None], examples: Sequence[str]) -> str:
    lines = [f"  {escape(example)}" for example in examples]
    return "\n\n".join([inspect.getdoc(command) or "", "[bold]Examples[/bold]", *lines])


def _open_closed_streams() -> None:
    """Takes a standard stream that was closed before the start (``>&-``) for /dev/null.

    Else the next file that is opened would have its number, and get what C libraries print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest number that is free: its own.
            opened = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(opened, True)
            setattr(sys, name, os.fdopen(opened, mode, encoding="utf-8"))


def _interrupt(number: int, _frame: FrameType | None) -> None:
    """SIGTERM or SIGHUP ends a command as Ctrl-C does: in order, with nothing half-written left behind."""
    if number not in {signal.SIGINT, signal.SIGTERM}:
        # The kernel and the shell each tell that a terminal was closed; the end in order is under way.
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


class _InterruptedByUserError(S2TFError):
    """Ctrl-C, told apart before the argument parser swallows it."""

    exit_code = 130


def _in_own_words(command: Callable[..., None], words: Callable[[str], str]) -> Callable[..., None]:
    """``command`` with its log set up, and errors in its own words: who prints them may be another command.

    It has the flag of ``Log``, whether it takes that itself or not.
    """
    parameters = [*inspect.signature(command).parameters.values()]
    takes_log = any(parameter.name == "log" for parameter in parameters)

    @functools.wraps(command)
    def guarded(*args: Any, log: LogForm | None = None, **options: Any) -> None:
        # What another command runs says what it says as that one does.
        default = None if _running else LogForm.TEXT
        setup_logging(quiet=options.get("quiet", False), verbose=options.get("verbose", False), log=log or default)
        _running.append(words)
        try:
            command(*args, **options, **({"log": log} if takes_log else {}))
        except KeyboardInterrupt as error:
            # Who was interrupted may have said what was kept.
            msg = f"interrupted; {translate(str(error))}" if str(error) else "interrupted"
            raise _InterruptedByUserError(msg) from error
        except S2TFError as error:
            error.args = (translate(str(error)),)
            raise
        finally:
            _running.pop()

    if not takes_log:
        hints = get_type_hints(command, include_extras=True)
        parameters = [parameter.replace(annotation=hints[parameter.name]) for parameter in parameters]
        parameters.append(inspect.Parameter("log", inspect.Parameter.KEYWORD_ONLY, annotation=Log, default=None))
        guarded.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        guarded.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return guarded


def error_line(name: str, message: str) -> str:
    """What a command that fails says last: one short line, whatever its message quotes."""
    return message_line(f"{name}: error: {message}")


def _fail(name: str, message: str, code: int, error: BaseException | None = None) -> None:
    if error is not None:
        logging.getLogger("s2tf_edge").debug("traceback:", exc_info=error)
    if _log_form is LogForm.JSON:
        logging.getLogger("s2tf_edge").error("%s", one_line(message))
        sys.exit(code)
    # A terminal that was hung up takes no more lines.
    with suppress(OSError):
        say(error_line(name, message), err=True)
    sys.exit(code)

"""Runs a command for every action that begins or ends."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from contextlib import suppress
from typing import Final

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.sinks.alerts.alert import AlertMaker
from s2tf_edge.runtime.sinks.alerts.courier import Courier, RareLog
from s2tf_edge.runtime.streaming.records import Record

__all__ = ["CommandSink"]

_MOST_WAITING: Final = 32
_PAUSE_SECONDS: Final = 0.2
_TIMEOUT_SECONDS: Final = 10.0
_STDERR: Final = 2


class CommandSink:
    """Runs a command with each alert on its stdin, one at a time, five a second at most.

    No shell is involved, and the environment is this process's own. What the command prints goes to stderr. One that
    takes too long is killed with all that it started. The stream never waits for it.

    Args:
        command: a command line, split as a shell would split it.
        timeout_seconds: longest time for one run.
        patience_seconds: at the end, how long those that wait may take.

    Raises:
        UsageError: the command line is empty or cannot be split, or there is no such program.
    """

    def __init__(
        self, command: str, *, timeout_seconds: float = _TIMEOUT_SECONDS, patience_seconds: float = 5.0
    ) -> None:
        self._words = _split(command)
        self._timeout_seconds = timeout_seconds
        self._patience_seconds = patience_seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._log = RareLog()
        self._alerts = AlertMaker()
        self._courier = Courier(self._run, name=self._words[0], most=_MOST_WAITING, pause_seconds=_PAUSE_SECONDS)

    def write(self, record: Record) -> None:
        """Has the command run, if an action begins or ends with the record."""
        alert = self._alerts.make(record)
        if alert is not None:
            self._courier.put(alert)

    def close(self) -> None:
        """Waits for what is under way, but not for long."""
        self._courier.close(patience_seconds=self._patience_seconds, give_up=self._kill)

    def _kill(self) -> None:
        if self._process is not None:
            _kill(self._process)

    def _run(self, alert: bytes) -> None:
        """One run; a command that fails is not tried again."""
        try:
            # A group of its own, so that what it starts can be killed with it, and Ctrl-C is the stream's alone.
            self._process = subprocess.Popen(self._words, stdin=subprocess.PIPE, stdout=_STDERR, start_new_session=True)
        except OSError as error:
            self._log.warn(f"cannot run {self._words[0]} ({error.strerror})")
            return
        try:
            self._process.communicate(alert + b"\n", timeout=self._timeout_seconds)
        except subprocess.TimeoutExpired:
            _kill(self._process)
            self._process.communicate()
            self._log.warn(f"{self._words[0]} took more than {self._timeout_seconds:g} s and was killed")
            return
        if self._process.returncode:
            self._log.warn(f"{self._words[0]} failed (exit code {self._process.returncode})")


def _split(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        msg = f"`on_event` cannot be split into words ({error}); quote it as for a shell"
        raise UsageError(msg) from error
    if not words:
        msg = "`on_event` is empty; give a program and its arguments"
        raise UsageError(msg)
    if re.match(r"[A-Za-z_]\w*=", words[0]):
        # Not repeated: it may be a password.
        msg = "`on_event` begins with a variable, which only a shell would set; give env NAME=VALUE PROGRAM"
        raise UsageError(msg)
    if shutil.which(words[0]) is None:
        msg = f"`on_event` cannot be run: there is no program {words[0]}; give its path, or one that is on PATH"
        raise UsageError(msg)
    return words


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()

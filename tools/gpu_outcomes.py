"""A plugin of pytest that notes each test as it begins and ends, so that nothing is lost where the process is ended."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    # Who only asks for the name of the variable may have no pytest.
    import pytest

VARIABLE: Final = "S2TF_GPU_OUTCOMES"
"""Names the file of JSON lines: ``{"test": …, "outcome": "begun"}``, then the same test with what became of it."""
_MOST_CHARACTERS: Final = 400


def _note(test: str, outcome: str, *, reason: str = "", seconds: float = 0.0) -> None:
    line = {"test": test, "outcome": outcome, "reason": reason[:_MOST_CHARACTERS], "seconds": round(seconds, 3)}
    with Path(os.environ[VARIABLE]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    """Called before a test is set up."""
    _note(nodeid, "begun")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Called after each of setup, call and teardown."""
    if report.when == "call" or report.outcome != "passed":
        _note(report.nodeid, report.outcome, reason=_reason(report), seconds=report.duration)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Called for each file: one that cannot be imported is a failure of its own."""
    if report.failed:
        _note(report.nodeid or "collection", "failed", reason=_last_line(report.longreprtext))


def _reason(report: pytest.TestReport) -> str:
    if report.outcome == "passed":
        return ""
    if isinstance(report.longrepr, tuple):
        # Of what skips: file, line and words.
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return " ".join(str(crash.message).split()) if crash else _last_line(report.longreprtext)


def _last_line(text: str) -> str:
    lines = [line.removeprefix("E").strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""

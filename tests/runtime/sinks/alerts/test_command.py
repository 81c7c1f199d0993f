"""Commands that are run for actions."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.sinks.alerts.command import CommandSink
from s2tf_edge.runtime.streaming.records import Record, Start

Action = Callable[[str], list[Record]]


def _python(code: str, *arguments: str | Path) -> str:
    return shlex.join([sys.executable, "-c", code, *map(str, arguments)])


def _told(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_begin_and_the_end_of_an_action_are_told(tmp_path: Path, action: Action, begin: Start) -> None:
    code = "import sys; open(sys.argv[1], 'ab').write(sys.stdin.buffer.read())"
    sink = CommandSink(_python(code, tmp_path / "ä told"), patience_seconds=120)
    for record in (begin, *action("прыжок")):
        sink.write(record)
    sink.close()
    first, last = _told(tmp_path / "ä told")
    for told in (first, last):
        assert datetime.fromisoformat(told.pop("time")).tzinfo is not None
    common = {"type": "event", "name": "camera 0", "source": 0, "label": "прыжок", "t_start": 1.0}
    assert first == {**common, "phase": "begin", "score": 0.75}
    assert last == {**common, "phase": "end", "score": 0.5, "t_end": 5.0}


def test_what_comes_too_fast_is_left_out_the_oldest_first(
    tmp_path: Path, action: Action, begin: Start, caplog: pytest.LogCaptureFixture
) -> None:
    os.mkfifo(tmp_path / "gate")
    # The first run holds until all is written; nobody waits for it.
    code = (
        "import sys; told = sys.stdin.read(); b'first' in told.encode() and open(sys.argv[1]).read();"
        "open(sys.argv[2], 'a').write(told)"
    )
    sink = CommandSink(_python(code, tmp_path / "gate", tmp_path / "told"), timeout_seconds=120, patience_seconds=120)
    sink.write(begin)
    sink.write(action("first")[0])
    gate = (tmp_path / "gate").open("w")
    for number in range(40):
        sink.write(action(f"{number}")[0])
    gate.close()
    sink.close()
    labels = [each["label"] for each in _told(tmp_path / "told")]
    assert labels == ["first", *(str(number) for number in range(8, 40))]
    assert "9 events could not be told in time and were left out" in caplog.text


def test_a_command_that_fails_is_told_once(action: Action, caplog: pytest.LogCaptureFixture) -> None:
    sink = CommandSink(_python("raise SystemExit(3)"), patience_seconds=120)
    for record in action("a"):
        sink.write(record)
    sink.close()
    assert [message for message in caplog.messages if "failed (exit code 3)" in message] == caplog.messages
    assert len(caplog.messages) == 1


def test_one_that_takes_too_long_is_killed_with_what_it_started(
    action: Action, caplog: pytest.LogCaptureFixture
) -> None:
    sink = CommandSink("sh -c 'sleep 1000 & sleep 1000'", timeout_seconds=0.5, patience_seconds=120)
    sink.write(action("a")[0])
    sink.close()
    assert "sh took more than 0.5 s and was killed" in caplog.text


def test_at_the_end_it_is_not_waited_for_long(action: Action, caplog: pytest.LogCaptureFixture) -> None:
    sink = CommandSink("sleep 1000", timeout_seconds=1000, patience_seconds=0.5)
    sink.write(action("a")[0])
    sink.close()
    assert "sleep: 1 events could not be told in time" in caplog.text


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-program --x", "there is no program no-such-program"),
        ("", "is empty"),
        ("sh 'x", "cannot be split into words"),
        ("TOKEN=hunter2 sh x", "^`on_event` begins with a variable, (?!.*hunter2)"),
    ],
)
def test_what_cannot_be_run_is_told_before_the_start(command: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CommandSink(command)

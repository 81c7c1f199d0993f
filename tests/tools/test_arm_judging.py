"""What ``make test-arm`` passes and what it fails; what it runs takes an emulator, and is not run here."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def judging(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("arm.judging")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("arm.machine")


def _records(*labels: str, score: float = 0.5) -> list[dict[str, Any]]:
    windows = [
        {"type": "prediction", "source": 0, "t_start": at, "t_end": at + 1.0, "label": label, "score": score}
        | {"topk": [[label, score], ["d", 0.1]]}
        for at, label in enumerate(labels)
    ]
    return [{"type": "start"}, *windows, {"type": "summary"}]


def test_differences_are_shares_of_the_range(judging: ModuleType) -> None:
    logits = np.array([[0, 10], [5, 2]], np.float32)
    assert judging.difference_percent(logits, logits) == 0.0
    assert judging.difference_percent(logits + np.float32(0.5), logits) == pytest.approx(5.0)


@pytest.mark.parametrize("wrong", [np.zeros((1, 2), np.float32), np.array([[0, np.nan], [5, 2]], np.float32)])
def test_other_shapes_and_no_numbers_differ_by_more_than_anything(judging: ModuleType, wrong: Any) -> None:
    assert judging.difference_percent(wrong, np.array([[0, 10], [5, 2]], np.float32)) == float("inf")


@pytest.mark.parametrize(
    ("records", "passed", "said"),
    [
        (_records("a", "b"), True, "2 windows: times and the order of classes equal, scores to 0e+00"),
        (_records("a", "b", score=0.5 + 1e-5), True, "scores to 1e-05"),
        (_records("a", "b", score=0.51), False, "scores to 1e-02"),
        (_records("a", "c"), False, "window 1 is [0, 1, 2.0, 'c', 'c', 'd'] in place of [0, 1, 2.0, 'b', 'b', 'd']"),
        (_records("a"), False, "1 windows in place of 2"),
    ],
)
def test_streams_have_the_same_classes_at_the_same_times(
    judging: ModuleType, records: list[dict[str, Any]], passed: bool, said: str
) -> None:
    words, is_same = judging.compare_records(records, _records("a", "b"))
    assert is_same is passed
    assert said in words


def test_the_order_of_classes_counts(judging: ModuleType) -> None:
    other = _records("a", "b")
    other[1]["topk"][1][0] = "c"
    assert judging.compare_records(other, _records("a", "b"))[1] is False


def test_a_stream_that_never_changes_shows_nothing(judging: ModuleType) -> None:
    assert judging.compare_records(_records("a", "a"), _records("a", "a"))[1] is False
    assert judging.compare_records([], [])[1] is False


def test_what_failed_is_seen_in_the_table(judging: ModuleType) -> None:
    rows = [
        judging.Row(processor="cortex-a72", name="r3d_onnx_int8", said="equal", passed=True, where="f32", peak_mb=90),
        judging.Row(processor="cortex-a76", name="r3d_onnx_int8", said="1 %", passed=False),
    ]
    assert judging.tabulate(rows).splitlines()[2:] == [
        "| cortex-a72 | r3d_onnx_int8 | f32 | equal | 90 | ok |",
        "| cortex-a76 | r3d_onnx_int8 |  | 1 % | 0 | FAILED |",
    ]


@pytest.mark.parametrize(
    ("code", "errors", "said"),
    [
        (139, "", "CRASHED: segmentation fault"),
        (124, "", "took longer than 900 s"),
        (3, "WARNING slow\nerror: no such thing\n\n", "ended with 3: error: no such thing"),
        (1, "", "ended with 1: nothing said"),
    ],
)
def test_how_a_process_ended_is_told(machine: ModuleType, code: int, errors: str, said: str) -> None:
    assert machine.Ended(code=code, out="", errors=errors, peak_mb=1).describe() == said


def test_memory_and_words_of_a_process_are_its_own(machine: ModuleType, tmp_path: Path) -> None:
    here = machine.Machine(tmp_path)
    script = tmp_path / "script.py"
    script.write_text("import sys\nprint('out')\nprint('bad', file=sys.stderr)\nsys.exit(3)\n")
    ended = here._run(script)
    assert (ended.code, ended.out, ended.last) == (3, "out\n", "bad")
    larger = b"x" * 200_000_000
    assert 5 < here._run(script).peak_mb < len(larger) / 1e6


def test_process_that_crashed_is_told(machine: ModuleType, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    assert machine.Machine(tmp_path)._run(script).describe() == "CRASHED: segmentation fault"

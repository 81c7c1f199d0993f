from __future__ import annotations

import os

import pytest

from s2tf_edge.calibration import budget
from s2tf_edge.calibration.budget import Budget


class _Processor:
    """Stands in for the module ``time``: processor time that passes when told."""

    seconds = 10.0

    def process_time(self) -> float:
        return self.seconds


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> _Processor:
    clock = _Processor()
    monkeypatch.setattr(budget, "time", clock)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 2, 3, 5}, raising=False)
    return clock


def test_time_is_that_of_all_cores(processor: _Processor) -> None:
    """Four seconds of processor time on four cores are one that passes."""
    limit = Budget(2.0)
    assert (limit.spent, limit.is_spent) == (0.0, False)
    processor.seconds += 4
    assert (limit.spent, limit.is_spent) == (1.0, False)
    processor.seconds += 4
    assert (limit.spent, limit.is_spent) == (2.0, True)


def test_where_cores_cannot_be_asked_for_all_count(processor: _Processor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    limit = Budget(1.0)
    processor.seconds += 3
    assert limit.spent == 1.5

"""What may be asked of a stream, and which of it readers know of."""

from __future__ import annotations

import dataclasses
import inspect

import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.streaming.stream_options import ReadOptions, StreamOptions


@pytest.mark.parametrize(
    "options",
    [
        {"topk": 0},
        {"hop": 0},
        {"threshold": 1.1},
        {"policy": "some"},
        {"duration_seconds": 0.0},
        {"start_seconds": -1.0},
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"must (be|lie in) .*got"):
        StreamOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["duration_seconds", "max_outage_seconds", "fps", "max_age_seconds", "status_seconds"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_what_is_not_positive_is_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"^`{name}` must be more than zero, got {value}$"):
        StreamOptions(**{name: value})  # type: ignore[arg-type]


def test_what_readers_know_of_is_declared_once() -> None:
    shared = {field.name for field in dataclasses.fields(ReadOptions)}
    assert shared == {
        "start_seconds",
        "duration_seconds",
        "reconnect",
        "max_outage_seconds",
        "hwaccel",
        "fps",
        "pictures",
    }
    assert isinstance(StreamOptions(), ReadOptions)
    assert not shared & set(inspect.get_annotations(StreamOptions))


@pytest.mark.parametrize(
    ("policy", "live", "keeps_all"),
    [("auto", True, False), ("auto", False, True), ("every", True, True), ("latest", False, False)],
)
def test_whether_every_window_is_run(policy: str, live: bool, keeps_all: bool) -> None:
    assert StreamOptions(policy=policy).keeps_all(live=live) == keeps_all

"""What may be asked of a stream, and which of it readers know of."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.streaming.stream_options import ReadOptions, StreamOptions


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topk": 0}, "`topk` must be one or more, got 0"),
        ({"hop": 0}, "`hop` must be one or more, got 0"),
        ({"threshold": 1.5}, r"threshold must lie in \[0, 1\], got 1.5"),
        ({"policy": "x"}, "policy must be one of auto, every, latest, got 'x'"),
        ({"start_seconds": -1.0}, "`start_seconds` must be zero seconds or more, got -1.0"),
        ({"duration_seconds": 0.0}, "`duration_seconds` must be more than zero, got 0.0"),
        ({"max_age_seconds": float("nan")}, "`max_age_seconds` must be more than zero, got nan"),
        ({"max_outage_seconds": -1.0}, "`max_outage_seconds` must be more than zero, got -1.0"),
        ({"fps": 0.0}, "`fps` must be more than zero, got 0.0"),
    ],
)
def test_errors_name_the_field(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        StreamOptions(**options)


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
        "regions",
    }
    assert isinstance(StreamOptions(), ReadOptions)
    assert not shared & set(inspect.get_annotations(StreamOptions))


@pytest.mark.parametrize(
    ("policy", "live", "keeps_all"),
    [("auto", True, False), ("auto", False, True), ("every", True, True), ("latest", False, False)],
)
def test_whether_every_window_is_run(policy: str, live: bool, keeps_all: bool) -> None:
    assert StreamOptions(policy=policy).keeps_all(live=live) == keeps_all

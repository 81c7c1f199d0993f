"""Times of a video as users write them."""

from __future__ import annotations

import pytest

from s2tf_edge.cli.durations import part_of_video, seconds
from s2tf_edge.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), (" 90.5 ", 90.5), ("1:30", 90), ("01:00:01.25", 3601.25), ("0", 0), ("3.", 3)]
)
def test_seconds_are_read(text: str, expected: float) -> None:
    assert seconds(text, option="--start") == expected


@pytest.mark.parametrize("text", ["", "-1", "1m", "1:2:3:4", ":30", "1:", "nan", "inf", "1e3"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"--start must be seconds such as 90"):
        seconds(text, option="--start")


def test_a_part_of_a_video() -> None:
    assert part_of_video(start=None, end=None, duration=None) == (0, None)
    assert part_of_video(start="1:00", end=None, duration=5.0) == (60, 5.0)
    assert part_of_video(start="1:00", end="1:10", duration=None) == (60, 10)
    assert part_of_video(start=None, end="10", duration=None) == (0, 10)


def test_contradictions_are_refused() -> None:
    with pytest.raises(UsageError, match="--end and --duration say the same thing twice"):
        part_of_video(start=None, end="10", duration=10)
    with pytest.raises(UsageError, match="--end 10 must lie behind --start 0:10"):
        part_of_video(start="0:10", end="10", duration=None)
    with pytest.raises(UsageError, match="--end 0 must lie behind --start 0"):
        part_of_video(start=None, end="0", duration=None)

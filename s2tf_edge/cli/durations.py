"""Times of a video as users write them."""

from __future__ import annotations

import math
import re

from s2tf_edge.errors import UsageError

__all__ = ["part_of_video", "seconds"]


def seconds(text: str, *, option: str) -> float:
    """Reads ``90``, ``1:30``, ``0:01:30.5``, all of which are seconds, minutes and hours as FFmpeg takes them.

    Raises:
        UsageError: ``text`` is none of these.
    """
    if not re.fullmatch(r"(\d+:){0,2}\d+(\.\d*)?", text.strip()):
        msg = f"{option} must be seconds such as 90 or 90.5, or [HH:]MM:SS such as 1:30, got {text!r}"
        raise UsageError(msg)
    return math.fsum(float(part) * 60**power for power, part in enumerate(reversed(text.strip().split(":"))))


def part_of_video(*, start: str | None, end: str | None, duration: float | None) -> tuple[float, float | None]:
    """Where to begin, and how many seconds to read from there; None for all of them.

    Raises:
        UsageError: a time cannot be read, the end is not behind the start, or both ``end`` and ``duration`` are given.
    """
    begin = 0.0 if start is None else seconds(start, option="--start")
    if end is None:
        return begin, duration
    if duration is not None:
        msg = "--end and --duration say the same thing twice; give one of them"
        raise UsageError(msg)
    length = seconds(end, option="--end") - begin
    if length <= 0:
        msg = f"--end {end} must lie behind --start {start or 0}"
        raise UsageError(msg)
    return begin, length

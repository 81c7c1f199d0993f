"""How many videos it would take to tell on which side of a bound an artifact is."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Final

from s2tf_edge.runtime.evaluation.accuracy import Drop
from s2tf_edge.runtime.reporting.conditions import Condition, Finding
from s2tf_edge.runtime.reporting.rows import Row
from s2tf_edge.runtime.statistics import Share, paired_difference_interval, wilson_interval

__all__ = ["count_videos_needed"]

_MOST: Final = 10**6

Ends = Callable[[int], tuple[float, float]]
"""The interval that so many videos would have, in percent or points."""


def count_videos_needed(condition: Condition, row: Row) -> int | None:
    """Videos with which a bound that is not shown would be shown or refuted, if they went as those that were seen.

    Returns:
        About how many in all, to two digits; None where more than a million would not do, as where the value is the
        bound, or where it is not of videos.
    """
    if condition.name == "drop":
        return None if row.drop is None else _search(condition, row.drop.n, functools.partial(_ends_of_drop, row.drop))
    share = _share_of(condition.name, row)
    return None if share is None else _search(condition, share.n, functools.partial(_ends_of_share, share))


def _search(condition: Condition, seen: int, ends: Ends) -> int | None:
    def settles(n: int) -> bool:
        key = condition.quantity.key
        metrics = dict(zip((f"{key}_low", f"{key}_high"), ends(n), strict=True))
        return condition.judge(metrics) is not Finding.NOT_SHOWN

    short = enough = seen
    while not settles(enough):
        if enough >= _MOST:
            return None
        short, enough = enough, min(2 * enough, _MOST)
    while enough - short > max(1, enough // 200):
        middle = (short + enough) // 2
        short, enough = (short, middle) if settles(middle) else (middle, enough)
    unit: int = 10 ** max(0, len(str(enough)) - 2)
    return math.ceil(enough / unit) * unit


def _ends_of_drop(drop: Drop, n: int) -> tuple[float, float]:
    lost, won = (count * n / drop.n for count in (drop.lost, drop.won))
    interval = paired_difference_interval(only_first=lost, only_second=won, n=n)
    return 100 * interval.low, 100 * interval.high


def _ends_of_share(share: Share, n: int) -> tuple[float, float]:
    interval = wilson_interval(share.count * n / share.n, n)
    return 100 * interval.low, 100 * interval.high


def _share_of(name: str, row: Row) -> Share | None:
    accuracy = row.measured.accuracy if row.measured else None
    shares = {"agreement": row.agreement}
    if accuracy is not None:
        shares |= {"top1": accuracy.top1, "top5": accuracy.top5}
    return shares.get(name)

"""Which of the teacher's classes are the student's, by their names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

__all__ = ["find_columns", "fold"]

_GAPS: Final = re.compile(r"[\s_\-]+")


def fold(label: str) -> str:
    """A label without what spellings of one name differ in: case, spaces, underscores, hyphens."""
    return _GAPS.sub(" ", label).strip().casefold()


def find_columns(labels: Sequence[str], teacher_labels: Sequence[str]) -> tuple[int, ...] | None:
    """For each label its index among the teacher's; None where one is missing or two would have the same name.

    Where both have the very same names, however alike, each is its own.
    """
    exact = {label: index for index, label in enumerate(teacher_labels)}
    if len(exact) == len(teacher_labels) == len(labels) and exact.keys() == set(labels):
        return tuple(exact[label] for label in labels)
    known = {fold(label): index for index, label in enumerate(teacher_labels)}
    often = Counter(map(fold, (*dict.fromkeys(teacher_labels),))), Counter(map(fold, labels))
    if any(count > 1 for counts in often for count in counts.values()):
        return None
    found = [known.get(fold(label)) for label in labels]
    return None if None in found else tuple(index for index in found if index is not None)

"""How many videos may be bad before a run is ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.runtime.archives.tally import ArchiveTally
from s2tf_edge.words import counted

__all__ = ["MaxBad"]


@dataclass(frozen=True, kw_only=True)
class MaxBad:
    """A count, or a share of all videos of the list."""

    text: str
    """As it was given."""
    count: int | None = None
    percent: Fraction | None = None

    @classmethod
    def parse(cls, text: str) -> MaxBad:
        """Reads ``25`` or ``1%``.

        Raises:
            UsageError: ``text`` is neither.
        """
        if re.fullmatch("[0-9]{1,12}", text):
            return cls(text=text, count=int(text))
        share = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%", text)
        if share is None or float(share[1]) > 100:
            msg = f"`max_bad` must be a number of videos, such as 25, or a share from 0% to 100%, got {text[:40]!r}"
            raise UsageError(msg)
        return cls(text=text, percent=Fraction(share[1]))

    def of(self, videos: int) -> int:
        """How many may be bad of so many videos, all counted."""
        return self.count if self.count is not None else int((self.percent or 0) * videos / 100)

    def check(self, tally: ArchiveTally, *, videos: int) -> None:
        """Sees that there are not more of them yet.

        Raises:
            InputFileError: there are.
        """
        allowed = self.of(videos)
        if tally.bad > allowed:
            msg = (
                f"{tally.bad} of {counted(videos, 'video')} are bad ({said_of_errors(tally)}), and `max_bad` allows "
                f"{allowed} ({self.text}); what is done stays: look at it, then give another `max_bad`, or `retry_bad`"
            )
            raise InputFileError(msg)


def said_of_errors(tally: ArchiveTally) -> str:
    """The bad ones by kind, the most frequent first: ``3 unreadable, 1 missing``."""
    return ", ".join(f"{count:,} {kind}" for kind, count in tally.errors.most_common())

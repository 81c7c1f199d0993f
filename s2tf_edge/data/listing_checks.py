"""What is asked of the videos and classes that a folder or list names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from s2tf_edge.errors import InputFileError
from s2tf_edge.words import counted, first_few

__all__ = ["check_classes", "check_missing"]

logger = logging.getLogger(__name__)

_MAX_MISSING: Final = 0.01
"""Share of the videos of a list that may have gone: one in thousands is no reason to end."""


def check_classes(found: tuple[str, ...], labels: Sequence[str] | None, *, source: object) -> tuple[str, ...]:
    """The classes of a data set: ``labels``, among which all that were found must be, or, for None, what was found.

    Raises:
        InputFileError: one is not among them.
    """
    unknown = sorted(set(found) - set(found if labels is None else labels))
    if unknown:
        expected = first_few(labels or (), 10)
        msg = (
            f"{source} has classes {first_few(map(repr, unknown))} that are not among those expected: {expected}; "
            "leave them out, or name them alike"
        )
        raise InputFileError(msg)
    return found if labels is None else tuple(labels)


def check_missing(
    missing: Sequence[str], *, listed: int, source: str, allowed: float = _MAX_MISSING, advice: str | None = None
) -> None:
    """Warns of listed videos that are not there, which are left out.

    Args:
        missing: their names.
        listed: how many videos there should be.
        source: the list.
        allowed: the share of them that may be missing.
        advice: what to do where more are.

    Raises:
        InputFileError: more are.
    """
    if not missing:
        return
    gone = f"{len(missing)} do not exist, the first is" if len(missing) > 1 else "one does not exist,"
    says = f"{source} lists {counted(listed, 'video')}, of which {gone} {missing[0]}"
    if len(missing) > allowed * listed:
        msg = f"{says}; {allowed:.0%} may be missing at most; {advice or 'take them out of it, or put the files there'}"
        raise InputFileError(msg)
    logger.warning("%s; they are left out", says)

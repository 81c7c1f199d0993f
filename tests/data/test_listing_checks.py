from __future__ import annotations

import logging

import pytest

from s2tf_edge.data.listing_checks import check_classes, check_missing
from s2tf_edge.errors import InputFileError


@pytest.mark.parametrize(
    ("missing", "listed", "refused"),
    [
        (1, 100, ""),
        (2, 100, r"2 do not exist, the first is 0\.mp4"),
        (1, 99, r"one does not exist, 0\.mp4"),
        (0, 5, ""),
    ],
)
def test_one_in_a_hundred_may_be_missing(
    missing: int, listed: int, refused: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    names = [f"{index}.mp4" for index in range(missing)]
    if refused:
        with pytest.raises(
            InputFileError, match=rf"l\.txt lists {listed} videos, of which {refused}; 1% may be .*; take them out"
        ):
            check_missing(names, listed=listed, source="l.txt")
    else:
        check_missing(names, listed=listed, source="l.txt")
    assert len(caplog.records) == (0 if refused else missing)


def test_classes_are_counted_in_the_order_asked_for() -> None:
    assert check_classes(("a", "b"), None, source="x") == ("a", "b")
    assert check_classes(("a", "b"), ["b", "c", "a"], source="x") == ("b", "c", "a")
    with pytest.raises(InputFileError, match="x has classes 'a' that are not among those expected: b"):
        check_classes(("a", "b"), ["b"], source="x")

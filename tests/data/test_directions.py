from __future__ import annotations

import pytest

from s2tf_edge.data.directions import directions_among


@pytest.mark.parametrize(
    "label",
    [
        *("turn left", "turn_left", "TurnLeft", "turnLEFT", "LEFT2", "left-hand punch", "Pushing from left to right"),
        *("swipe rightwards", "rotate clockwise", "rotate counter-clockwise", "spinCCW", "walkRight_3"),
    ],
)
def test_words_of_direction_are_found_in_any_spelling(label: str) -> None:
    assert directions_among(["run", label]) == [label]


@pytest.mark.parametrize("label", ["leftover", "writing", "bright", "eating leftovers", "uprightness", "clock", "wave"])
def test_parts_of_other_words_are_none(label: str) -> None:
    assert directions_among([label]) == []

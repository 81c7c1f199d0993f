"""Zones drawn on pictures: each in a color of its own, and nothing beyond it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.runtime.sinks.zone_boxes import ZoneBoxes, part_of
from s2tf_edge.runtime.streaming.regions import Box
from s2tf_edge.runtime.streaming.zones import Zone

_Image = NDArray[np.uint8]
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 0.5, 1.0)


def _zone(name: str, shares: Box | None, *, source: int = 0) -> Zone:
    return Zone(source, name, None, shares)


def _draw(boxes: ZoneBoxes, zones: Sequence[Zone], text: str = "", *, size: tuple[int, int] = (240, 320)) -> _Image:
    image = np.full((*size, 3), 90, np.uint8)
    boxes.draw(image, [(zone, text) for zone in zones])
    return image


def _color(image: _Image, zone: Zone) -> tuple[int, ...]:
    """Of the zone's frame, in its lower right corner."""
    return tuple(part_of(image, zone)[-1, -1].tolist())


def test_each_zone_has_a_frame_and_nothing_is_drawn_beyond_it() -> None:
    zone = _zone("till", (0.25, 0.25, 0.5, 0.5))
    image = _draw(ZoneBoxes(), [zone], "a label that is far too long for a zone that is no wider than this one is")
    drawn = (image != 90).any(axis=2)
    part = drawn[60:180, 80:240]
    assert part[[0, -1]].all()
    assert part[:, [0, -1]].all()
    # The lower half of it shows the picture.
    assert not part[60:-1, 1:-1].any()
    assert drawn.sum() == part.sum()


def test_its_name_stands_above_its_label() -> None:
    zone = [_zone("till", RIGHT)]
    nameless, named, labeled = (
        _draw(ZoneBoxes(), [_zone("", RIGHT)]),
        _draw(ZoneBoxes(), zone),
        _draw(ZoneBoxes(), zone, "walk  91 %"),
    )
    name, both = (
        np.nonzero((named != nameless).any(axis=(1, 2)))[0],
        np.nonzero((labeled != nameless).any(axis=(1, 2)))[0],
    )
    np.testing.assert_array_equal(named[: name[-1] + 1], labeled[: name[-1] + 1])
    assert both[-1] > name[-1]


@pytest.mark.parametrize("first", ["a", "b", "door", "c", "zone 1", "till"])
def test_zones_that_stay_have_different_colors_whatever_their_names(first: str) -> None:
    zones = [
        _zone(name, (index / 4, 0.0, 0.25, 1.0), source=index)
        for index, name in enumerate((f"{first}'", first, "lane", "way out"))
    ]
    image = _draw(ZoneBoxes(), zones)
    assert len({_color(image, zone) for zone in zones}) == 4


def test_a_region_that_moves_keeps_its_color_while_others_come_and_go() -> None:
    boxes, person, other = ZoneBoxes(), _zone("17", LEFT), _zone("18", RIGHT)
    color = _color(_draw(boxes, [person]), person)
    both = _draw(boxes, [other, person])
    assert _color(both, person) == color
    assert _color(both, other) != color
    moved = _zone("17", RIGHT)
    assert _color(_draw(boxes, [moved]), moved) == color


def test_memory_stays_flat_however_many_regions_pass() -> None:
    boxes = ZoneBoxes()
    for number in range(300):
        _draw(boxes, [_zone(str(number), LEFT)], str(number))
    assert max(len(boxes._colors), len(boxes._tags)) <= 64


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (16, 40), (97, 641)])
def test_pictures_of_any_size(size: tuple[int, int]) -> None:
    image = _draw(ZoneBoxes(), [_zone("door", LEFT), _zone("till", (0.9, 0.9, 0.1, 0.1))], "walk", size=size)
    assert (image != 90).any()

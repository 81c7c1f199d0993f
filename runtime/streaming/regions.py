"""Parts of a picture that are recognized as sources of their own.

    --roi 0.5,0,0.5,1:door        shares of the picture: all four lie in [0, 1]
    --roi 640,0,640,720:door      pixels of it: whole numbers

Both mean the picture as it is shown, after the rotation that its metadata asks for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from s2tf_edge.clips import Frame
from s2tf_edge.data.cropping import PixelBox
from s2tf_edge.errors import UsageError

__all__ = [
    "Box",
    "FindRegions",
    "Region",
    "RegionError",
    "SampledFrame",
    "check_names",
    "is_large_enough",
    "parse_regions",
    "to_pixels",
    "to_shares",
]

Box = tuple[float, float, float, float]
"""Left, top, width and height: shares of the picture where all four lie in [0, 1], else pixels."""

_FORM: Final = "X,Y,W,H or X,Y,W,H:NAME, as whole pixels or as shares of the picture from 0 to 1"
_ROUNDING: Final = 1e-6
"""Shares such as 0.7 and 0.3 may add up to a little more than one."""
_MAX_NAME: Final = 100
_LEAST: Final = 2
"""Pixels of the shorter side of a zone."""
_MAX_ASPECT: Final = 16
"""Of a zone: half of what may be scaled, so that there is room for rounding."""


class RegionError(UsageError):
    """A zone that does not lie in the picture of its source, or a function for regions that failed."""


@dataclass(frozen=True)
class Region:
    """A zone of a picture, under a name.

    Raises:
        UsageError: the box is none, or the name cannot be shown.
    """

    name: str
    box: Box

    def __post_init__(self) -> None:
        object.__setattr__(self, "box", tuple(self.box))
        if not self.name.strip() or not self.name.isprintable() or len(self.name) > _MAX_NAME:
            msg = f"the name of a region must be 1 to {_MAX_NAME} letters that can be shown, got {self.name!r}"
            raise UsageError(msg)
        problem = _problem(self.box)
        if problem:
            shown = ",".join(f"{value:g}" for value in self.box)
            msg = f"region {self.name!r} must be a box {_FORM}, got {shown}: {problem}"
            raise UsageError(msg)

    def pixels(self, height: int, width: int) -> PixelBox:
        """The box in pixels of a picture.

        Raises:
            RegionError: it reaches beyond the picture, or hardly a pixel of it lies in the box.
        """
        box = to_pixels(self.box, height, width)
        left, top, across, down = box
        if left + across > width or top + down > height:
            reach = f"{left},{top},{across},{down} reaches beyond the picture of {width}×{height}"
            msg = f"region {self.name!r} {reach}; give pixels within it, or shares from 0 to 1"
            raise RegionError(msg)
        if not is_large_enough(box):
            allowed = f"{_LEAST} pixels at the least, and one sixteenth of the longer side"
            msg = f"region {self.name!r} has {across}×{down} pixels; its shorter side must have {allowed}"
            raise RegionError(msg)
        return box


@dataclass(frozen=True, kw_only=True)
class SampledFrame(Frame):
    """A frame that a clip is made of, as a function for regions is given it: the whole picture as it is shown."""

    source: int = field(default=0)
    """Position of its source among those asked for."""


FindRegions = Callable[[SampledFrame], Iterable[Region | tuple[str | int, Sequence[float]]]]
"""Gives the regions of a frame, each as a Region or as an id and a box; the same id is the same track."""


def parse_regions(texts: Iterable[str]) -> tuple[Region, ...]:
    """Reads ``X,Y,W,H`` or ``X,Y,W,H:NAME``; one without a name is called ``zone N``, by its place.

    Raises:
        UsageError: a text is none of these, or two have the same name.
    """
    regions = tuple(_parse(text, number) for number, text in enumerate(texts, 1))
    check_names(regions)
    return regions


def check_names(regions: Sequence[Region]) -> None:
    """Names tell regions apart.

    Raises:
        UsageError: two have the same.
    """
    names = [region.name for region in regions]
    for name in names:
        if names.count(name) > 1:
            msg = f"{names.count(name)} regions are called {name!r}; give each a name of its own"
            raise UsageError(msg)


def is_large_enough(box: PixelBox) -> bool:
    """Whether there is something to see in a box in pixels."""
    short, long = sorted(box[2:])
    return short >= _LEAST and long <= _MAX_ASPECT * short


def to_pixels(box: Box, height: int, width: int) -> PixelBox:
    """A box in whole pixels of a picture; shares are rounded edge by edge, so that neighbors stay neighbors."""
    left, top, across, down = box
    if max(box) > 1:
        return round(left), round(top), round(across), round(down)
    first_column, first_row = round(left * width), round(top * height)
    last_column, last_row = round((left + across) * width), round((top + down) * height)
    return first_column, first_row, min(width, last_column) - first_column, min(height, last_row) - first_row


def to_shares(box: PixelBox, height: int, width: int) -> Box:
    """A box in pixels as shares of the picture."""
    left, top, across, down = box
    return left / width, top / height, across / width, down / height


def _parse(text: str, number: int) -> Region:
    numbers, _, name = text.partition(":")
    try:
        left, top, width, height = (float(part) for part in numbers.split(","))
    except ValueError as error:
        msg = f"`regions` must be {_FORM}, got {text!r}"
        raise UsageError(msg) from error
    return Region(name.strip() or f"zone {number}", (left, top, width, height))


def _problem(box: Sequence[float]) -> str:
    """What is wrong with a box; empty if nothing is."""
    if len(box) != 4 or not all(math.isfinite(value) for value in box):
        return "these are not four numbers"
    left, top, width, height = box
    if min(left, top) < 0 or min(width, height) <= 0:
        return "width and height must be more than zero, and nothing less"
    if max(box) > 1:
        return "" if all(value == int(value) for value in box) else "neither whole pixels nor shares from 0 to 1"
    is_inside = max(left + width, top + height) <= 1 + _ROUNDING
    return "" if is_inside else "shares that reach beyond the picture, as they add up to more than 1"

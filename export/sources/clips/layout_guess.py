"""Which layouts the shape of a tensor would fit: for templates of clip files, and for the advice where one is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from s2tf_edge.input_form import AxisLayout

__all__ = ["Dims", "LayoutGuess", "guess_layouts"]

Dims = tuple[int | None, ...]
"""Lengths of axes, None where a graph leaves one open."""

_USUAL: Final = tuple(
    map(
        AxisLayout.parse,
        ("NCTHW", "NTHWC", "NTCHW", "NVCTHW", "NVTHWC", "NVTCHW", "(NT)CHW", "(NT)HWC", "CTHW", "N(TC)HW"),
    )
)
"""The most usual first. TCHW and THWC are left out: for one clip (NT)CHW and (NT)HWC are the same."""
_CHANNELS: Final = 3


@dataclass(frozen=True, kw_only=True)
class LayoutGuess:
    """What a tensor takes, if it has that layout."""

    layout: AxisLayout
    frames: int | None
    """None where the shape leaves it open, as the others are."""
    size: int | None
    views: int | None
    is_sure: bool
    """Whether the shape has the three channels where the layout has them."""

    def keys(self) -> dict[str, object]:
        """The keys of a clip file that say so; those that say what goes without saying are left out."""
        letters = str(self.layout).replace("V", "")
        words: dict[str, object] = {} if letters == "NCTHW" else {"layout": letters}
        return words if "V" not in self.layout.letters else {**words, "views": self.views or 1}


def guess_layouts(dims: Dims) -> list[LayoutGuess]:
    """All usual layouts that fit, the likeliest first; empty where no clip has such a shape."""
    found = [guess for layout in _USUAL if (guess := _guess(layout, dims)) is not None]
    found = [guess for guess in found if guess.is_sure] or found
    # Clips of one frame are those of other layouts, seen wrongly.
    return [guess for guess in found if guess.frames != 1] or found


def _guess(layout: AxisLayout, dims: Dims) -> LayoutGuess | None:
    if len(dims) != len(layout.axes) or 0 in dims:
        return None
    sides = dict(zip(layout.axes, dims, strict=True))
    stacked = sides.pop("TC", None)
    channels = sides.get("C") if stacked is None else _CHANNELS if not stacked % _CHANNELS else 0
    frames = sides.get("T", sides.get("NT")) if stacked is None else stacked // _CHANNELS
    heights = {sides["H"], sides["W"]} - {None}
    if channels not in {None, _CHANNELS} or len(heights) > 1:
        return None
    return LayoutGuess(
        layout=layout, frames=frames, size=next(iter(heights), None), views=sides.get("V"), is_sure=channels is not None
    )

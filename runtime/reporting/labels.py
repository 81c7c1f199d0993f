"""Names beside the marks of a plot, placed so that none is taken for another mark's.

adjustText pushes names apart from where they start. Of several starts, the one stays in which the fewest names come to
lie nearer to another mark than to their own, or on one another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.extras import require
from s2tf_edge.runtime.reporting.svg import INK, MUTED, PAPER

__all__ = ["label_marks"]

_MARK = 10.0
"""Half the side of a mark in pixels."""
_LEAD_FROM = 20.0
"""Pixels from a mark to its label from which on a thin line joins them."""
_STEPS = 200
_FORCE = (0.4, 0.5)
"""Across and up: with less, labels in a crowd still overlap after all steps."""
_STARTS: Final[tuple[Callable[[int], bool], ...]] = (
    lambda rank: True,
    lambda rank: rank % 2 == 0,
    lambda rank: rank % 2 == 1,
    lambda rank: False,
)
"""Whether the name of a mark, by its rank from left to right, starts above it."""


@dataclass(frozen=True, kw_only=True)
class _Names:
    """Names where they came to lie, with the lines that lead to them."""

    texts: Sequence[Any]
    lines: Sequence[Any]

    def remove(self) -> None:
        for artist in (*self.texts, *self.lines):
            artist.remove()

    def faults(self, marks: NDArray[np.float64]) -> tuple[int, float]:
        """How many names may be misread, and how far from their marks all of them lie, in pixels."""
        boxes = [text.get_window_extent() for text in self.texts]
        distances = np.array([_distances(box, marks) for box in boxes])
        own = distances.diagonal()
        others = np.where(np.eye(len(marks), dtype=bool), np.inf, distances).min(axis=1)
        overlaps = sum(one.overlaps(other) for index, one in enumerate(boxes) for other in boxes[index + 1 :])
        return int((others <= own).sum()) + overlaps, float(own.sum())


def label_marks(axes: Any, marks: Sequence[tuple[float, float]], names: Sequence[str]) -> None:
    """Writes names beside marks, clear of one another and, where there is room, of marks; inside the axes.

    The same marks and names give the same plot.

    Args:
        axes: matplotlib's, with limits that stay as they are.
        marks: where they are, in the units of the axes.
        names: one for each.

    Raises:
        MissingExtraError: adjustText is not installed.
    """
    pixels = axes.transData.transform(marks)
    ranks = np.argsort(np.argsort(pixels[:, 0], kind="stable"))
    best: tuple[tuple[int, float], _Names] | None = None
    for starts_above in _STARTS:
        placement = _place(axes, pixels, names, above=[starts_above(int(rank)) for rank in ranks])
        faults = placement.faults(pixels)
        if best is not None and best[0] <= faults:
            placement.remove()
            continue
        if best is not None:
            best[1].remove()
        best = faults, placement
        if not faults[0]:
            return


def _place(axes: Any, pixels: NDArray[np.float64], names: Sequence[str], *, above: Sequence[bool]) -> _Names:
    adjust = require("adjustText", extra="report", purpose="the report's plot")
    transforms = require("matplotlib.transforms", extra="report", purpose="the report's plot")
    style: dict[str, Any] = {"color": INK, "parse_math": False, "zorder": 5, "ha": "center"}
    style["bbox"] = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 1}
    to_data = axes.transData.inverted()
    boxes = [to_data.transform([(x - _MARK, y - _MARK), (x + _MARK, y + _MARK)]) for x, y in pixels]
    centers = to_data.transform(pixels)
    texts = [
        axes.text(x, box[1][1] if is_above else box[0][1], name, va="bottom" if is_above else "top", **style)
        for (x, _), box, name, is_above in zip(centers, boxes, names, above, strict=True)
    ]
    texts, lines = adjust.adjust_text(
        texts,
        ax=axes,
        target_x=centers[:, 0],
        target_y=centers[:, 1],
        objects=[transforms.Bbox(box) for box in boxes],
        # A number of steps rather than a time, so that the same report gives the same plot. Exchanging labels whose
        # lines cross is left out: it may push one of them out of the axes.
        iter_lim=_STEPS,
        prevent_crossings=False,
        force_text=_FORCE,
        force_static=_FORCE,
        min_arrow_len=_LEAD_FROM,
        arrowprops={"arrowstyle": "-", "color": MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": _MARK, "zorder": 1},
    )
    return _Names(texts=texts, lines=lines)


def _distances(box: Any, marks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pixels from a name to the middle of each mark."""
    nearest = np.clip(marks, (box.x0, box.y0), (box.x1, box.y1))
    return np.asarray(np.linalg.norm(marks - nearest, axis=1))

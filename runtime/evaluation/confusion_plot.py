"""The confusion matrix as a picture."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np

from s2tf_edge.extras import require
from s2tf_edge.runtime.evaluation.confusions import ConfusionMatrix

__all__ = ["draw_confusion", "require_plot"]

_PURPOSE: Final = "the picture of the confusion matrix"
_CELL_INCHES: Final = 0.24
_CELL_INCHES_FEW: Final = 0.46
_FEW: Final = 15
"""Classes up to which cells are large."""
_MARGIN_INCHES: Final = 0.1
_MAX_LABEL: Final = 32
_DPI: Final = 130
_INK, _MUTED, _LINE = "#1b1d1f", "#5b6168", "#dadbd6"
_PALE: Final = 0.55
"""Share of a row from which on a cell is so dark that its number is written in white."""


def require_plot() -> None:
    """Looks whether pictures can be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib.figure", extra="report", purpose=_PURPOSE)


def draw_confusion(matrix: ConfusionMatrix, *, title: str) -> bytes:
    """A PNG: a row a true class, a column a class that was said, counts in the cells.

    They are colored by the share of the row, blue where what was said is right and orange elsewhere.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figures = require("matplotlib.figure", extra="report", purpose=_PURPOSE)
    agg = require("matplotlib.backends.backend_agg", extra="report", purpose=_PURPOSE)
    count = len(matrix.labels)
    cell = _CELL_INCHES_FEW if count <= _FEW else _CELL_INCHES
    names = 0.085 * min(_MAX_LABEL, max(map(len, matrix.labels), default=0)) + 0.6
    side = max(3.0, cell * count)
    figure = figures.Figure(figsize=(side + names + 0.7, side + names + 0.7), dpi=_DPI, layout="constrained")
    figure.get_layout_engine().set(w_pad=_MARGIN_INCHES, h_pad=_MARGIN_INCHES)
    agg.FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares = matrix.shares
    is_right = np.eye(count, dtype=bool)
    for is_shown, colors in ((is_right, "Blues"), (~is_right, "Oranges")):
        shown = np.ma.array(shares, mask=~(is_shown & (matrix.counts > 0)))
        axes.imshow(shown, cmap=colors, vmin=0, vmax=1, interpolation="nearest")
    _name_axes(axes, [_shorten(label) for label in matrix.labels], size=10 if count <= _FEW else 7.5)
    for row, column in zip(*matrix.counts.nonzero(), strict=True):
        color = "white" if shares[row, column] > _PALE else _INK
        size = 9.5 if count <= _FEW else 6
        axes.text(column, row, str(matrix.counts[row, column]), ha="center", va="center", color=color, fontsize=size)
    axes.set_title(title, loc="left", fontsize=10.5, color=_INK, parse_math=False, wrap=True)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _name_axes(axes: Any, labels: list[str], *, size: float) -> None:
    count = len(labels)
    style = {"fontsize": size, "color": _INK, "parse_math": False}
    axes.set_xticks(range(count), labels, rotation=90, **style)
    axes.set_yticks(range(count), labels, **style)
    axes.set_xlabel("said", color=_MUTED)
    axes.set_ylabel("true", color=_MUTED)
    axes.set_xticks([index - 0.5 for index in range(1, count)], minor=True)
    axes.set_yticks([index - 0.5 for index in range(1, count)], minor=True)
    axes.grid(which="minor", color=_LINE, linewidth=0.5)
    axes.tick_params(which="both", length=0)
    for spine in axes.spines.values():
        spine.set_color(_LINE)


def _shorten(label: str) -> str:
    line = " ".join(label.split())
    return line if len(line) <= _MAX_LABEL else f"{line[: _MAX_LABEL - 1]}…"

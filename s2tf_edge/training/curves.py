"""``curves.png``: loss, top-1 and learning rate over the epochs of a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import MissingExtraError
from s2tf_edge.extras import require
from s2tf_edge.training.metrics_file import Row
from s2tf_edge.whole_file import whole_file

__all__ = ["draw_curves", "make_figure"]

logger = logging.getLogger(__name__)

_INCHES: Final = (7.0, 8.0)
_DOTS_PER_INCH: Final = 110
_TRAINING: Final = {"color": "#2a6f97", "label": "training"}
_VALIDATION: Final = {"color": "#d1495b", "label": "validation"}
_RATE: Final = {"color": "#555555"}


def draw_curves(path: Path, rows: Sequence[Row]) -> None:
    """Draws the rows of ``metrics.csv``; without matplotlib, which no run depends on, there is no picture.

    Raises:
        InputFileError: the file cannot be written.
    """
    if not rows:
        return
    try:
        figure = make_figure(rows)
    except MissingExtraError as error:
        logger.debug("no %s: %s", path.name, error)
        return
    with whole_file(path) as file:
        # Without its own version in it, the same run gives the same file.
        figure.savefig(file, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})


def make_figure(rows: Sequence[Row]) -> Any:
    """The three plots one below the other, as a ``matplotlib.figure.Figure``.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figures = require("matplotlib.figure", extra="report", purpose="the picture of a run's curves")
    agg = require("matplotlib.backends.backend_agg", extra="report", purpose="the picture of a run's curves")
    ticker = require("matplotlib.ticker", extra="report", purpose="the picture of a run's curves")
    figure = figures.Figure(figsize=_INCHES, layout="constrained")
    agg.FigureCanvasAgg(figure)  # draws into memory, whatever screen there is
    loss, top1, rate = figure.subplots(3, sharex=True, height_ratios=(3, 3, 1.4))
    _plot(loss, rows, "train_loss", **_TRAINING)
    _plot(loss, rows, "val_loss", **_VALIDATION)
    _plot(top1, rows, "train_top1", **_TRAINING)
    _plot(top1, rows, "val_top1", **_VALIDATION)
    _plot(rate, rows, "lr", **_RATE)
    _mark_best(top1, rows)
    for axes, label in ((loss, "loss"), (top1, "top-1 (%)"), (rate, "learning rate")):
        axes.set_ylabel(label)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    loss.legend(frameon=False)
    top1.set_ylim(0, 104)
    rate.set_ylim(bottom=0)
    rate.set_xlabel("epoch")
    rate.xaxis.set_major_locator(ticker.MaxNLocator(steps=(1, 2, 5, 10), integer=True, min_n_ticks=1))
    return figure


def _plot(axes: Any, rows: Sequence[Row], column: str, **style: Any) -> None:
    """One column against the epochs that have it; a lone value is a point, which a line would not show."""
    points = [(int(row["epoch"]), float(row[column])) for row in rows if row.get(column)]
    if points:
        axes.plot(*zip(*points, strict=True), marker="." if len(points) <= 30 else None, **style)


def _mark_best(axes: Any, rows: Sequence[Row]) -> None:
    """The first epoch of those with the highest top-1 on validation: the one whose weights are kept."""
    scores = [(float(row["val_top1"]), -int(row["epoch"])) for row in rows if row.get("val_top1")]
    if not scores:
        return
    best, epoch = max(scores)[0], -max(scores)[1]
    axes.plot(epoch, best, marker="o", markersize=9, fillstyle="none", color=_VALIDATION["color"])
    # Above the plot: no line passes there.
    axes.set_title(f"best: {best:.1f} %, epoch {epoch}", loc="right", fontsize="medium", color=_VALIDATION["color"])

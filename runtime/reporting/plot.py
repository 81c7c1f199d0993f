"""The scatter of accuracy against latency, as an SVG that takes its colors from the page around it."""

from __future__ import annotations

import io
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from s2tf_edge.extras import require
from s2tf_edge.runtime.reporting.labels import Box, place_labels

__all__ = ["Point", "scatter_svg"]

# Stand-ins while drawing; in the SVG they become variables of the page, for its light and its dark scheme.
_INK, _MUTED, _ACCENT, _LINE, _PAPER = "#101112", "#717273", "#2a6fdb", "#d1d2d3", "#fdfefe"
_VARIABLES: Final = {
    _INK: "--ink",
    _MUTED: "--muted",
    _ACCENT: "--accent",
    _LINE: "--line",
    _PAPER: "--paper",
}
_SIZE_INCHES = (8.0, 4.2)
_DPI = 72
_LOG_FROM_RATIO = 6
_TICKS_MS = (1, 2, 5)
_MAX_NAME = 40
_MARK = 6.0
_LEAD_FROM = 20.0


@dataclass(frozen=True, kw_only=True)
class Point:
    """One artifact in the plot."""

    name: str
    p50_ms: float
    p95_ms: float
    top1: float
    """Percent."""
    top1_low: float
    top1_high: float
    on_front: bool
    is_baseline: bool = False


def scatter_svg(points: Sequence[Point]) -> str:
    """Draws points with the interval of their accuracy and their way from p50 to p95, and the Pareto front.

    Returns:
        An ``<svg>`` element to put into HTML; names are escaped. Colors come from the page's ``--ink``, ``--muted``,
        ``--accent``, ``--line`` and ``--paper``.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", extra="report", purpose="the report's plot")
    figures = require("matplotlib.figure", extra="report", purpose="the report's plot")
    agg = require("matplotlib.backends.backend_agg", extra="report", purpose="the report's plot")
    # Text stays text: it can be searched, and is drawn in the reader's font. The salt makes ids the same each time.
    style = {"svg.fonttype": "none", "svg.hashsalt": "s2tf", "font.size": 11, "axes.unicode_minus": False}
    with matplotlib.rc_context(style):
        figure = figures.Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        _style(axes, points)
        _draw_front(axes, [point for point in points if point.on_front])
        for point in points:
            _draw_point(axes, point)
        canvas = agg.FigureCanvasAgg(figure)
        canvas.draw()
        # From here on the axes stay where they are, whatever labels are added.
        figure.set_layout_engine("none")
        _label(axes, points, canvas.get_renderer())
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return _as_element(file.getvalue())


def _style(axes: Any, points: Sequence[Point]) -> None:
    axes.patch.set_visible(False)
    axes.set_xlabel("latency of one clip, p50, in ms (thin line: to p95)", color=_MUTED)
    axes.set_ylabel("top-1 in % (95 % interval)", color=_MUTED)
    axes.grid(color=_LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=_MUTED, length=0)
    for spine in axes.spines.values():
        spine.set_color(_LINE)
    low, high = min(point.p50_ms for point in points), max(point.p95_ms for point in points)
    if high / low > _LOG_FROM_RATIO:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.6, high * 1.6)
        ticks = [digit * 10.0**power for power in range(-3, 7) for digit in _TICKS_MS]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlim(low / 1.6, high * 1.6)
    else:
        axes.set_xlim(0, high * 1.15)
    bottom, top = min(point.top1_low for point in points), max(point.top1_high for point in points)
    margin = max(1.0, 0.08 * (top - bottom))
    axes.set_ylim(bottom - margin, top + margin)


def _draw_front(axes: Any, front: Sequence[Point]) -> None:
    ordered = sorted(front, key=lambda point: point.p50_ms)
    xs, ys = [point.p50_ms for point in ordered], [point.top1 for point in ordered]
    axes.step(xs, ys, where="post", color=_ACCENT, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2)


def _draw_point(axes: Any, point: Point) -> None:
    color = _ACCENT if point.on_front else _MUTED
    axes.plot([point.p50_ms] * 2, [point.top1_low, point.top1_high], color=color, linewidth=1.4, alpha=0.55)
    axes.plot([point.p50_ms, point.p95_ms], [point.top1] * 2, color=color, linewidth=1.4, alpha=0.55)
    axes.plot(
        [point.p50_ms],
        [point.top1],
        marker="s" if point.is_baseline else "o",
        markersize=8,
        markerfacecolor=color if point.on_front else _PAPER,
        markeredgecolor=color,
        markeredgewidth=1.6,
        zorder=4,
    )


def _label(axes: Any, points: Sequence[Point], renderer: Any) -> None:
    style: dict[str, Any] = {"color": _INK, "parse_math": False, "zorder": 5}
    style["bbox"] = {"facecolor": _PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 1}
    texts = [axes.text(0, 0, _caption(point), **style) for point in points]
    extents = [text.get_window_extent(renderer) for text in texts]
    marks = [_mark(axes, point) for point in points]
    boxes = place_labels(
        [((mark.left + mark.right) / 2, (mark.bottom + mark.top) / 2) for mark in marks],
        [(extent.width, extent.height) for extent in extents],
        obstacles=marks,
        thin=list(itertools.chain.from_iterable(_bars(axes, point) for point in points)),
        bounds=Box(*axes.bbox.extents),
    )
    for point, text, box in zip(points, texts, boxes, strict=True):
        text.set_position(axes.transData.inverted().transform((box.left, box.bottom)))
        text.set_verticalalignment("bottom")
        _lead(axes, point, box)


def _caption(point: Point) -> str:
    name = point.name if len(point.name) <= _MAX_NAME else f"{point.name[: _MAX_NAME - 1]}…"
    return f"{name} (baseline)" if point.is_baseline else name


def _mark(axes: Any, point: Point) -> Box:
    x, y = axes.transData.transform((point.p50_ms, point.top1))
    return Box(x - _MARK, y - _MARK, x + _MARK, y + _MARK)


def _bars(axes: Any, point: Point) -> tuple[Box, Box]:
    """The vertical bar of the accuracy and the horizontal one of the latency."""
    x, y = axes.transData.transform((point.p50_ms, point.top1))
    right = axes.transData.transform((point.p95_ms, point.top1))[0]
    low, high = (axes.transData.transform((point.p50_ms, value))[1] for value in (point.top1_low, point.top1_high))
    return Box(x - 2, low, x + 2, high), Box(x, y - 2, right, y + 2)


def _lead(axes: Any, point: Point, box: Box) -> None:
    """A thin line from a point to its label, where the label had to move away."""
    x, y = axes.transData.transform((point.p50_ms, point.top1))
    end = (min(max(x, box.left), box.right), min(max(y, box.bottom), box.top))
    if math.dist((x, y), end) > _LEAD_FROM:
        line = axes.transData.inverted().transform([(x, y), end])
        axes.plot(line[:, 0], line[:, 1], color=_MUTED, linewidth=0.6, zorder=1)


def _as_element(svg: str) -> str:
    element = svg[svg.index("<svg") :]
    for color, variable in _VARIABLES.items():
        element = element.replace(color, f"var({variable}, {color})")
    # The page scales the plot: the view box stays, the size in points goes.
    element = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", element, count=1)
    return element.replace("<svg", '<svg role="img" aria-label="Accuracy against latency"', 1)

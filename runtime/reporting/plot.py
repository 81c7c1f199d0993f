"""The scatter of accuracy against latency, as an SVG that takes its colors from the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from s2tf_edge.extras import require

__all__ = ["LATENCY", "Point", "draw_scatter", "scatter_svg"]

# Stand-ins while drawing; in the SVG they become variables of the page, for its light and its dark scheme.
_INK, _MUTED, _ACCENT, _LINE, _PAPER = "#101112", "#717273", "#2a6fdb", "#d1d2d3", "#fdfefe"
_VARIABLES: Final = {
    _INK: "--ink",
    _MUTED: "--muted",
    _ACCENT: "--accent",
    _LINE: "--line",
    _PAPER: "--paper",
}
LATENCY: Final = "latency of one clip, p50, in ms (thin line: to p95)"
"""What the axis of time shows, unless told otherwise."""
_SIZE_INCHES = (8.0, 4.2)
_DPI = 72
_LOG_FROM_RATIO = 6
_TICKS_MS = (1, 2, 5)
_MAX_NAME = 40
_MARK = 6.0
"""Half the side of a mark in pixels."""
_LEAD_FROM = 20.0
"""Pixels from a mark to its label from which on a thin line joins them."""
_STEPS = 200
_FORCE = (0.4, 0.5)
"""Across and up: with less, labels in a crowd still overlap after all steps."""


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


def scatter_svg(points: Sequence[Point], time_axis: str = LATENCY) -> str:
    """Draws points with the interval of their accuracy and their way from p50 to p95, and the Pareto front.

    Args:
        points: one an artifact.
        time_axis: what their times are of.

    Returns:
        An ``<svg>`` element to put into HTML; names are escaped. Colors come from the page's ``--ink``, ``--muted``,
        ``--accent``, ``--line`` and ``--paper``.

    Raises:
        MissingExtraError: matplotlib or adjustText is not installed.
    """
    matplotlib = require("matplotlib", extra="report", purpose="the report's plot")
    # Text stays text: it can be searched, and is drawn in the reader's font. The salt makes ids the same each time.
    style = {"svg.fonttype": "none", "svg.hashsalt": "s2tf", "font.size": 11, "axes.unicode_minus": False}
    with matplotlib.rc_context(style):
        file = io.StringIO()
        draw_scatter(points, time_axis).savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return _as_element(file.getvalue())


def draw_scatter(points: Sequence[Point], time_axis: str = LATENCY) -> Any:
    """The ``matplotlib.figure.Figure`` that ``scatter_svg`` writes, in stand-ins for the colors of the page.

    Raises:
        MissingExtraError: matplotlib or adjustText is not installed.
    """
    figures = require("matplotlib.figure", extra="report", purpose="the report's plot")
    agg = require("matplotlib.backends.backend_agg", extra="report", purpose="the report's plot")
    figure = figures.Figure(figsize=_SIZE_INCHES, dpi=_DPI, layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    _style(axes, points, time_axis)
    _draw_front(axes, [point for point in points if point.on_front])
    for point in points:
        _draw_point(axes, point)
    agg.FigureCanvasAgg(figure).draw()
    # From here on the axes stay where they are, whatever labels are added.
    figure.set_layout_engine("none")
    _label(axes, points)
    return figure


def _style(axes: Any, points: Sequence[Point], time_axis: str) -> None:
    axes.patch.set_visible(False)
    axes.set_xlabel(time_axis, color=_MUTED)
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


def _label(axes: Any, points: Sequence[Point]) -> None:
    """Writes names beside their points, clear of one another and, where there is room, of marks; inside the axes."""
    adjust = require("adjustText", extra="report", purpose="the report's plot")
    transforms = require("matplotlib.transforms", extra="report", purpose="the report's plot")
    style: dict[str, Any] = {"color": _INK, "parse_math": False, "zorder": 5, "ha": "center", "va": "bottom"}
    style["bbox"] = {"facecolor": _PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 1}
    marks = [_find_mark(axes, point) for point in points]
    # Names start above their marks; only those that are in one another's way have to move.
    texts = [
        axes.text(point.p50_ms, mark[1][1], _caption(point), **style) for point, mark in zip(points, marks, strict=True)
    ]
    adjust.adjust_text(
        texts,
        ax=axes,
        target_x=[point.p50_ms for point in points],
        target_y=[point.top1 for point in points],
        objects=[transforms.Bbox(mark) for mark in marks],
        # A number of steps rather than a time, so that the same report gives the same plot. Exchanging labels whose
        # lines cross is left out: it may push one of them out of the axes.
        iter_lim=_STEPS,
        prevent_crossings=False,
        force_text=_FORCE,
        force_static=_FORCE,
        min_arrow_len=_LEAD_FROM,
        arrowprops={"arrowstyle": "-", "color": _MUTED, "linewidth": 0.6, "shrinkA": 0, "shrinkB": _MARK, "zorder": 1},
    )


def _caption(point: Point) -> str:
    name = point.name if len(point.name) <= _MAX_NAME else f"{point.name[: _MAX_NAME - 1]}…"
    return f"{name} (baseline)" if point.is_baseline else name


def _find_mark(axes: Any, point: Point) -> Any:
    """The corners of what marks a point, in the units of the axes."""
    x, y = axes.transData.transform((point.p50_ms, point.top1))
    return axes.transData.inverted().transform([(x - _MARK, y - _MARK), (x + _MARK, y + _MARK)])


def _as_element(svg: str) -> str:
    element = svg[svg.index("<svg") :]
    for color, variable in _VARIABLES.items():
        element = element.replace(color, f"var({variable}, {color})")
    # The page scales the plot: the view box stays, the size in points goes.
    element = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", element, count=1)
    return element.replace("<svg", '<svg role="img" aria-label="Accuracy against latency"', 1)

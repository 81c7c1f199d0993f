"""The scatter of accuracy against latency: color for the runtime, shape for the precision, area for the size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from s2tf_edge.extras import require
from s2tf_edge.runtime.reporting.labels import label_marks
from s2tf_edge.runtime.reporting.svg import ACCENT, LINE, MUTED, PALETTE, PAPER, new_figure, style_axes, write_svg

__all__ = ["LATENCY", "Point", "draw_scatter", "scatter_svg"]

LATENCY: Final = "latency of one clip, p50 with its 95 % interval, in ms"
"""What the axis of time shows, unless told otherwise."""
_SIZE_INCHES = (9.6, 5.4)
_LOG_FROM_RATIO = 6
_TICKS_MS = (1, 2, 5)
_MAX_NAME = 40
_SHAPES: Final = {"fp32": "o", "fp16": "s", "int8": "D"}
_OTHER_SHAPE: Final = "^"
_LARGEST_MARK, _LEAST_MARK = 16.0, 5.0
"""Widths in points."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One artifact in the plot."""

    name: str
    runtime: str
    precision: str
    size_mb: float
    p50_ms: float
    p50_low: float
    p50_high: float
    top1: float
    """Percent."""
    top1_low: float
    top1_high: float
    on_front: bool
    is_baseline: bool = False


def scatter_svg(points: Sequence[Point], time_axis: str = LATENCY, *, joins_front: bool = True) -> str:
    """Draws points with the intervals of their accuracy and their latency, and the Pareto front.

    Args:
        points: one an artifact.
        time_axis: what their times are of.
        joins_front: whether a line goes along the Pareto front; with several fronts there is none.

    Returns:
        The text of an SVG file; names are escaped.

    Raises:
        MissingExtraError: matplotlib or adjustText is not installed.
    """
    with new_figure(*_SIZE_INCHES) as figure:
        return write_svg(draw_scatter(figure, points, time_axis, joins_front=joins_front))


def draw_scatter(figure: Any, points: Sequence[Point], time_axis: str = LATENCY, *, joins_front: bool = True) -> Any:
    """The same on a ``matplotlib.figure.Figure``, which is given back.

    Raises:
        MissingExtraError: adjustText is not installed.
    """
    axes = figure.add_subplot()
    _style(axes, points, time_axis)
    if joins_front:
        _draw_front(axes, [point for point in points if point.on_front])
    runtimes = list(dict.fromkeys(point.runtime for point in points))
    colors = {runtime: PALETTE[index % len(PALETTE)] for index, runtime in enumerate(runtimes)}
    for point in points:
        _draw_point(axes, point, colors[point.runtime], largest=max(each.size_mb for each in points))
    _add_legend(figure, colors, sorted({point.precision for point in points}))
    figure.canvas.draw()
    # From here on the axes stay where they are, whatever labels are added.
    figure.set_layout_engine("none")
    label_marks(axes, [(point.p50_ms, point.top1) for point in points], [_caption(point) for point in points])
    return figure


def _style(axes: Any, points: Sequence[Point], time_axis: str) -> None:
    style_axes(axes)
    axes.set_xlabel(time_axis, color=MUTED)
    axes.set_ylabel("top-1 in % (95 % interval)", color=MUTED)
    axes.grid(color=LINE, linewidth=0.7)
    low, high = min(point.p50_low for point in points), max(point.p50_high for point in points)
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
    axes.step(xs, ys, where="post", color=ACCENT, linewidth=1.2, linestyle=(0, (4, 3)), zorder=2)


def _draw_point(axes: Any, point: Point, color: str, *, largest: float) -> None:
    style = {"color": color, "linewidth": 1.4, "alpha": 0.6}
    axes.plot([point.p50_ms] * 2, [point.top1_low, point.top1_high], **style)
    axes.plot([point.p50_low, point.p50_high], [point.top1] * 2, **style)
    axes.plot(
        [point.p50_ms],
        [point.top1],
        marker=_SHAPES.get(point.precision, _OTHER_SHAPE),
        # An area goes with the square of what matplotlib calls the size of a mark.
        markersize=max(_LEAST_MARK, _LARGEST_MARK * math.sqrt(point.size_mb / largest)) if largest else _LEAST_MARK,
        markerfacecolor=color if point.on_front else PAPER,
        markeredgecolor=color,
        markeredgewidth=1.6,
        zorder=4,
    )


def _add_legend(figure: Any, colors: dict[str, str], precisions: Sequence[str]) -> None:
    lines = require("matplotlib.lines", extra="report", purpose="the report's plot")
    bare = {"linestyle": "none", "markersize": 8, "markeredgewidth": 1.6}
    handles = [
        lines.Line2D([], [], marker="o", markerfacecolor=color, markeredgecolor=color, label=runtime, **bare)
        for runtime, color in colors.items()
    ]
    handles += [
        lines.Line2D(
            [],
            [],
            marker=_SHAPES.get(precision, _OTHER_SHAPE),
            markerfacecolor=PAPER,
            markeredgecolor=MUTED,
            label=precision,
            **bare,
        )
        for precision in precisions
    ]
    legend = figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False, fontsize=10)
    for text in legend.get_texts():
        text.set_color(MUTED)
        text.set_parse_math(False)


def _caption(point: Point) -> str:
    name = point.name if len(point.name) <= _MAX_NAME else f"{point.name[: _MAX_NAME - 1]}…"
    return f"{name} (baseline)" if point.is_baseline else name

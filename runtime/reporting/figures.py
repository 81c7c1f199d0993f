"""The other figures: how long predictions took, what classes lose, what layers compute in, how sure is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from s2tf_edge.runtime.evaluation.confidence import Confidence
from s2tf_edge.runtime.reporting.measuring.profile import PARTS
from s2tf_edge.runtime.reporting.svg import (
    ACCENT,
    BAD,
    GOOD,
    INK,
    LINE,
    MUTED,
    PALETTE,
    new_figure,
    style_axes,
    write_svg,
)

__all__ = ["Times", "class_drops_svg", "layers_svg", "parts_svg", "reliability_svg", "times_svg"]

_WIDTH: Final = 9.6
_MAX_NAME: Final = 34
_LABELED: Final = 0.03
"""Of the longest bar, from which on a part of one has room for its number."""
_TICKS: Final = (1, 2, 5)


@dataclass(frozen=True, kw_only=True)
class Times:
    """How long the predictions of an artifact took."""

    name: str
    low_ms: float
    """Where the first bin begins; all that took less is in it."""
    high_ms: float
    """Where the last one ends."""
    counts: tuple[int, ...]
    """Of bins of equal ratio."""
    p50_ms: float
    p95_ms: float


def times_svg(times: Sequence[Times]) -> str:
    """A hill an artifact over one axis of time, with p50 and p95; all hills have the same height.

    Args:
        times: one or more, with the same bins.
    """
    with new_figure(_WIDTH, 0.9 + 0.62 * len(times)) as figure:
        axes = figure.add_subplot()
        style_axes(axes)
        edges = np.geomspace(times[0].low_ms, times[0].high_ms, len(times[0].counts) + 1)
        for row, each in enumerate(reversed(times)):
            heights = 0.8 * np.asarray(each.counts) / max(1, *each.counts)
            axes.stairs(row + heights, edges, baseline=row, fill=True, color=ACCENT, alpha=0.45, linewidth=0)
            for at, width in ((each.p50_ms, 2.0), (each.p95_ms, 1.0)):
                axes.plot([at, at], [row, row + 0.85], color=INK, linewidth=width)
        axes.set_yticks(range(len(times)), [_shorten(each.name) for each in reversed(times)])
        _write_names(axes)
        axes.set_xscale("log")
        ticks = [digit * 10.0**power for power in range(-4, 7) for digit in _TICKS]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlim(edges[0], edges[-1])
        axes.set_ylim(-0.05, len(times))
        axes.grid(axis="x", color=LINE, linewidth=0.7)
        axes.set_xlabel("ms of one prediction (thick: p50, thin: p95)", color=MUTED)
        return write_svg(figure)


def class_drops_svg(classes: Sequence[str], drops: Mapping[str, Sequence[float | None]]) -> str:
    """Bars for the points of top-1 that each class loses, or gains, a color an artifact.

    Args:
        classes: their names, from the top.
        drops: of each artifact, by class; None where it scored no video of it.
    """
    count = len(drops)
    with new_figure(_WIDTH, 1.0 + len(classes) * (0.16 + 0.14 * count)) as figure:
        axes = figure.add_subplot()
        style_axes(axes)
        height = 0.8 / count
        for index, (name, values) in enumerate(drops.items()):
            places = [row - 0.4 + (index + 0.5) * height for row in range(len(classes))]
            widths = [0.0 if value is None else value for value in values]
            axes.barh(places, widths, height=0.9 * height, color=PALETTE[index % len(PALETTE)], label=_shorten(name))
        axes.axvline(0, color=INK, linewidth=1)
        axes.set_yticks(range(len(classes)), [_shorten(name) for name in classes])
        _write_names(axes)
        axes.invert_yaxis()
        axes.grid(axis="x", color=LINE, linewidth=0.7)
        largest = max((abs(value) for values in drops.values() for value in values if value), default=1.0)
        axes.set_xlim(-1.08 * largest, 1.08 * largest)
        axes.set_xlabel("points of top-1 lost (right) or gained (left)", color=MUTED)
        legend = figure.legend(loc="outside upper left", ncols=min(3, count), frameon=False, fontsize=10)
        for text in legend.get_texts():
            text.set_color(MUTED)
            text.set_parse_math(False)
        return write_svg(figure)


def layers_svg(layers: Mapping[str, Mapping[str, int]]) -> str:
    """A bar an artifact: how many of its layers compute in which precision.

    Args:
        layers: of each artifact, counts by precision.
    """
    kinds = sorted({kind for counts in layers.values() for kind in counts})
    return _stacked_svg(layers, kinds, "convolutions and matrix products", "{:.0f}")


def parts_svg(parts: Mapping[str, Mapping[str, float]]) -> str:
    """A bar an artifact: the milliseconds of each part of the network.

    Args:
        parts: of each artifact, milliseconds by part.
    """
    kinds = [part for part in PARTS if any(part in each for each in parts.values())]
    return _stacked_svg(parts, kinds, "ms of all layers of one prediction", "{:.2g}")


def _stacked_svg(counts: Mapping[str, Mapping[str, float]], kinds: Sequence[str], what: str, form: str) -> str:
    largest = max(sum(each.values()) for each in counts.values())
    with new_figure(_WIDTH, 0.9 + 0.42 * len(counts)) as figure:
        axes = figure.add_subplot()
        style_axes(axes)
        names = list(counts)
        start = np.zeros(len(names))
        for index, kind in enumerate(kinds):
            widths = np.array([counts[name].get(kind, 0) for name in names], np.float64)
            color = PALETTE[index % len(PALETTE)]
            bars = axes.barh(range(len(names)), widths, left=start, height=0.6, color=color, label=kind)
            # Numbers where they fit.
            fits = widths > _LABELED * largest
            texts = [form.format(width) if fit else "" for width, fit in zip(widths, fits, strict=True)]
            axes.bar_label(bars, texts, label_type="center", color="w")
            start += widths
        axes.set_yticks(range(len(names)), [_shorten(name) for name in names])
        _write_names(axes)
        axes.invert_yaxis()
        axes.set_xlabel(what, color=MUTED)
        legend = figure.legend(loc="outside upper left", ncols=len(kinds), frameon=False, fontsize=10)
        for text in legend.get_texts():
            text.set_color(MUTED)
        return write_svg(figure)


def reliability_svg(confidences: Mapping[str, Confidence]) -> str:
    """How often the best class is right, by how sure the network is of it: a small plot an artifact.

    Below the diagonal it is surer than it may be. The area of a mark is the share of the videos.
    """
    columns = min(4, len(confidences))
    rows = -(-len(confidences) // columns)
    with new_figure(2.4 * columns, 2.6 * rows + 0.2) as figure:
        for index, (name, confidence) in enumerate(confidences.items()):
            axes = figure.add_subplot(rows, columns, index + 1)
            style_axes(axes)
            axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            for part in confidence.bins:
                below = part.right < part.confidence
                size = 10 + 250 * part.n / confidence.n
                axes.scatter([part.confidence], [part.right], s=size, color=BAD if below else GOOD, alpha=0.75)
            axes.set_xlim(0, 104)
            axes.set_ylim(-4, 104)
            axes.set_aspect("equal")
            axes.grid(color=LINE, linewidth=0.7)
            axes.set_title(
                f"{_shorten(name, 24)}\nECE {confidence.ece:.1f} %", fontsize=9.5, color=INK, parse_math=False
            )
            axes.set_xlabel("said %", color=MUTED, fontsize=9)
            axes.set_ylabel("right %", color=MUTED, fontsize=9)
        return write_svg(figure)


def _write_names(axes: Any) -> None:
    for text in axes.get_yticklabels():
        text.set_color(INK)
        text.set_parse_math(False)


def _shorten(name: str, most: int = _MAX_NAME) -> str:
    line = " ".join(name.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"

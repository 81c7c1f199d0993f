"""Figures as SVG: inside a page in the page's colors, light and dark, and as files of their own."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from s2tf_edge.extras import require

__all__ = [
    "ACCENT",
    "BAD",
    "GOOD",
    "INK",
    "LINE",
    "MUTED",
    "PALETTE",
    "PAPER",
    "new_figure",
    "style_axes",
    "to_element",
    "write_svg",
]

# Good to look at on white; in a page they become variables, for its light and its dark scheme.
INK, MUTED, ACCENT, LINE, PAPER = "#101112", "#616263", "#0b5cad", "#d1d2d3", "#fdfefe"
GOOD, BAD = "#16703a", "#b3261e"
PALETTE: Final = ("#2166ac", "#b2570f", "#5b8c2a", "#7b3f98", "#a12a5e", "#1a7f86")
"""Told apart with every common kind of color blindness by lightness too; more things begin anew."""
_VARIABLES: Final = {
    INK: "--ink",
    MUTED: "--muted",
    ACCENT: "--accent",
    LINE: "--line",
    PAPER: "--paper",
    GOOD: "--good",
    BAD: "--bad",
} | {color: f"--hue{index}" for index, color in enumerate(PALETTE)}
_DPI: Final = 72
# Text stays text: it can be searched, and is drawn in the reader's font. The salt makes ids the same each time.
_STYLE: Final = {"svg.fonttype": "none", "svg.hashsalt": "s2tf", "font.size": 11, "axes.unicode_minus": False}


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Any]:
    """A ``matplotlib.figure.Figure`` of that many inches, and the style it is to be drawn and written in.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    matplotlib = require("matplotlib", extra="report", purpose="the report's figures")
    figures = require("matplotlib.figure", extra="report", purpose="the report's figures")
    agg = require("matplotlib.backends.backend_agg", extra="report", purpose="the report's figures")
    with matplotlib.rc_context(_STYLE):
        figure = figures.Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
        figure.patch.set_visible(False)
        agg.FigureCanvasAgg(figure)
        yield figure


def write_svg(figure: Any) -> str:
    """A figure as the text of an SVG file, to be called inside ``new_figure``."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return file.getvalue()


def to_element(svg: str, *, label: str) -> str:
    """The ``<svg>`` element of a file for a page, which has the colors as custom properties and gives the size.

    Args:
        svg: as ``write_svg`` gives it.
        label: what it shows, for those who cannot see it; without quotes.
    """
    element = svg[svg.index("<svg") :]
    for color, variable in _VARIABLES.items():
        element = element.replace(color, f"var({variable}, {color})")
    # The page scales the figure: the view box stays, the size in points goes.
    element = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", element, count=1)
    element = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", element, count=1)
    # Two figures in one page must not share ids.
    prefix = re.sub(r"\W+", "_", label.lower())
    element = re.sub(r'\bid="', f'id="{prefix}_', element)
    element = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}_", element)
    return element.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def style_axes(axes: Any) -> None:
    """Quiet lines, no ticks, no background."""
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    axes.tick_params(which="both", colors=MUTED, length=0)
    for spine in axes.spines.values():
        spine.set_color(LINE)

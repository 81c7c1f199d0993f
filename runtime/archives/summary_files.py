"""``summary.json`` and the page ``summary.html`` of an archive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import MissingExtraError
from s2tf_edge.pages import template_environment
from s2tf_edge.runtime.archives.rows import ERRORS
from s2tf_edge.whole_file import whole_file
from s2tf_edge.words import one_line, printable

__all__ = ["render_summary", "write_summary"]

_MAX_LABELS: Final = 100
_MINUTE: Final = 60.0


def write_summary(summary: Mapping[str, Any], folder: Path) -> None:
    """Writes both; the page only where jinja2 is installed.

    Args:
        summary: an ``ArchiveStatus`` as plain JSON values, with ``artifact``, ``out`` and ``options``.
        folder: of the results.

    Raises:
        InputFileError: they cannot be written.
    """
    with whole_file(folder / "summary.json") as file:
        file.write(json.dumps(summary, indent=2).encode("ascii") + b"\n")
    try:
        page = render_summary(summary)
    except MissingExtraError:
        return
    with whole_file(folder / "summary.html") as file:
        file.write(page.encode("utf-8", "backslashreplace"))


def render_summary(summary: Mapping[str, Any]) -> str:
    """The page's HTML, which opens without a network.

    Args:
        summary: as ``write_summary`` takes it.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    environment = template_environment(Path(__file__).parent, purpose="the page of an archive")
    environment.filters |= {"count": lambda value: f"{value:,}".replace(",", "\u202f"), "duration": _duration}
    environment.filters["printable"] = lambda value: printable(one_line(value))
    labels = summary["labels"]
    page = environment.get_template("summary.html.j2").render(
        summary=summary,
        labels=labels[:_MAX_LABELS],
        labels_left=max(0, len(labels) - _MAX_LABELS),
        most=max((label["events"] for label in labels), default=1),
        kinds=ERRORS,
    )
    return str(page)


def _duration(seconds: float) -> str:
    """Seconds as one looks at them."""
    if seconds >= 90 * _MINUTE:
        return f"{seconds / 3600:,.1f} h".replace(",", "\u202f")
    return f"{seconds / _MINUTE:.1f} min" if seconds >= 90 else f"{seconds:.1f} s"

"""Pages and Markdown from the templates in this folder, and how numbers and foreign words look in them."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Final

from s2tf_edge.extras import require
from s2tf_edge.pages import template_environment
from s2tf_edge.words import one_line

__all__ = ["render"]

_MARKDOWN_SPECIAL: Final = "\\`*_[]<>|#$~"


def render(template: str, **shown: Any) -> str:
    """A template of this folder, filled.

    Args:
        template: its file name; what is put into one that ends in .html.j2 is escaped.
        shown: what the template may name; it may name nothing else.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    environment = template_environment(
        Path(__file__).parent, purpose="writing a report", escapes=template.endswith(".html.j2")
    )
    environment.filters |= {"number": _number, "signed": _signed, "md": _markdown, "breakable": _breakable, "ms": _ms}
    environment.filters |= {"probability": _probability, "base64": lambda data: base64.b64encode(data).decode("ascii")}
    return str(environment.get_template(template).render(**shown))


def _breakable(text: str) -> Any:
    """Escaped for HTML, with a place to break the line after each underscore."""
    markupsafe = require("markupsafe", extra="report", purpose="writing a report")
    return markupsafe.Markup(str(markupsafe.escape(text)).replace("_", "_<wbr>"))


def _number(value: float | None, digits: int = 1) -> str:
    """Fixed decimals, a thin space between thousands; a dash for what is not known."""
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")


def _ms(value: float | None) -> str:
    """Milliseconds with about four digits."""
    return _number(value, 2 if value is None or value < 100 else 1)


def _probability(value: float | None) -> str:
    """Two digits, and no zero where it is only small."""
    if value is None:
        return "–"
    return "< 0.0001" if value < 1e-4 else f"= {value:.2f}" if value >= 0.1 else f"= {value:.2g}"


def _signed(value: float | None, digits: int = 1) -> str:
    if value is None:
        return "–"
    # Rounded first: -0.04 must not become "−0.0".
    rounded = round(value, digits) + 0.0
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def _markdown(value: object) -> str:
    """Escapes text, so that a hostile name is neither HTML nor a link nor another column."""
    line = one_line(value)
    return "".join(f"\\{char}" if char in _MARKDOWN_SPECIAL else char for char in line)

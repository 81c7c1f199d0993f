"""The page of an evaluation: one HTML file that holds its pictures."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from s2tf_edge.pages import template_environment
from s2tf_edge.runtime.evaluation.confused_pictures import MistakenVideo
from s2tf_edge.runtime.evaluation.confusions import ConfusedPair

__all__ = ["render_page"]

_PURPOSE: Final = "the page of an evaluation"


def render_page(
    result: Mapping[str, Any], pairs: Sequence[tuple[ConfusedPair, Sequence[MistakenVideo]]], *, png: bytes | None
) -> str:
    """The page's HTML, which opens without a network.

    Args:
        result: what ``eval.json`` holds.
        pairs: the classes that are confused most, with some of their videos.
        png: the confusion matrix, where it could be drawn.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    environment = template_environment(Path(__file__).parent, purpose=_PURPOSE)
    environment.filters |= {"number": _number, "base64": lambda data: base64.b64encode(data).decode("ascii")}
    classes = sorted(result["per_class"], key=lambda row: (row["top1"], -row["n"], row["label"]))
    title = f"{Path(str(result['model'])).name}: {_number(result['top1'])} % top-1"
    page = environment.get_template("eval.html.j2").render(
        title=title, result=result, pairs=pairs, png=png, classes=classes
    )
    return str(page)


def _number(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}"

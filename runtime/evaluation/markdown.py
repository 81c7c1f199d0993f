"""An evaluation as Markdown, for a pull request or a wiki."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from s2tf_edge.runtime.evaluation.confused_pictures import MistakenVideo
from s2tf_edge.runtime.evaluation.confusions import ConfusedPair
from s2tf_edge.words import counted, first_few, one_line

__all__ = ["render_markdown"]

_SPECIAL: Final = "\\`*_[]<>|#$~"


def render_markdown(result: Mapping[str, Any], pairs: Sequence[tuple[ConfusedPair, Sequence[MistakenVideo]]]) -> str:
    """Accuracy, the pairs of classes that are confused most, and a table of all classes."""
    skipped = f", {result['skipped']} could not be read" if result["skipped"] else ""
    accuracy = (
        f"**{result['top1']:.1f} % top-1** (95 % interval {result['top1_low']:.1f} to {result['top1_high']:.1f}), "
        f"{result['top5']:.1f} % top-5; {counted(result['n'], 'video')}{skipped}, {result['views']} views."
    )
    lines = [
        f"# {_escape(result['model'])} on {_escape(result['data'])}",
        "",
        accuracy,
        "",
        "| true | taken for | videos | such as |",
        "|---|---|--:|---|",
        *(
            f"| {_escape(pair.true)} | {_escape(pair.said)} | {pair.count} of {pair.n} | "
            f"{_escape(first_few([video.file for video in videos], 2))} |"
            for pair, videos in pairs
        ),
        "",
        "| class | top-1 % | 95 % interval | right | most often taken for |",
        "|---|--:|---|--:|---|",
        *(_class_line(row) for row in result["per_class"]),
    ]
    return "\n".join(lines) + "\n"


def _class_line(row: Mapping[str, Any]) -> str:
    mistaken = f"{_escape(row['taken_for'])}, {row['taken_for_n']}×" if row["taken_for_n"] else "–"
    interval = f"{row['top1_low']:.1f} to {row['top1_high']:.1f}"
    right = f"{row['correct']} of {row['n']}"
    return f"| {_escape(row['label'])} | {row['top1']:.1f} | {interval} | {right} | {mistaken} |"


def _escape(value: object) -> str:
    """Text of others as text: neither HTML nor a link nor another column."""
    return "".join(f"\\{char}" if char in _SPECIAL else char for char in one_line(value))

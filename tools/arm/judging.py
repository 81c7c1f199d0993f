"""Whether what two machines say is the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

FLOAT, INTEGER = "onnx_fp32", "onnx_int8"
"""The forms whose answers on this machine are held against: integers of ONNX against the same, all others against
float32."""
ALLOWED_PERCENT: Final = {
    FLOAT: 0.001,
    "onnx_fp16": 5.0,
    INTEGER: 0.0,
    "openvino_fp32": 0.01,
    "openvino_fp16": 5.0,
    "openvino_int8": 10.0,
}
"""Of the range of the logits; float16 and OpenVINO's forms may differ by what an export allows."""
SCORE: Final = 1e-3
"""Scores of a stream, which go through a softmax, may differ by this; times and the order of classes not at all."""
_SAME: Final = ("source", "t_start", "t_end", "label")
Floats: TypeAlias = NDArray[np.float32]
Records: TypeAlias = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One artifact or stream on one processor, and what came of it."""

    processor: str
    name: str
    said: str
    """How it compares, or how it ended."""
    passed: bool
    where: str = ""
    """The type it computes in, and OpenVINO's kernels."""
    peak_mb: int = 0
    warning: str = ""


def difference_percent(logits: Floats, reference: Floats) -> float:
    """The largest difference, in percent of the range of the reference."""
    if logits.shape != reference.shape or not np.isfinite(logits).all():
        return float("inf")
    return 100 * float(np.abs(logits.astype(float) - reference).max() / np.ptp(reference.astype(float)))


def compare_records(records: Records, reference: Records) -> tuple[str, bool]:
    """What differs between the records of two streams, and whether it may."""
    mine, theirs = ([each for each in both if each["type"] == "prediction"] for both in (records, reference))
    if len({_classes(each) for each in theirs}) < 2:
        return "on x86 every window has the same classes, so that nothing is compared", False
    if len(mine) != len(theirs):
        return f"{len(mine)} windows in place of {len(theirs)}", False
    for index, pair in enumerate(zip(mine, theirs, strict=True)):
        one, other = ([*(each[key] for key in _SAME), *_classes(each)] for each in pair)
        if one != other:
            return f"window {index} is {one} in place of {other}", False
    worst = max(abs(one["score"] - other["score"]) for one, other in zip(mine, theirs, strict=True))
    said = f"{len(mine)} windows: times and the order of classes equal, scores to {worst:.0e}"
    return said, worst <= SCORE


def _classes(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The best ones, in order."""
    return tuple(label for label, _ in record["topk"])


def tabulate(rows: Sequence[Row]) -> str:
    """The rows as a Markdown table."""
    lines = ["| processor | what | computes in | against x86 | MB | |", "|---|---|---|---|--:|---|"]
    for row in rows:
        end = "ok" if row.passed else "FAILED"
        lines.append(f"| {row.processor} | {row.name} | {row.where} | {row.said} | {row.peak_mb} | {end} |")
    return "\n".join(lines)

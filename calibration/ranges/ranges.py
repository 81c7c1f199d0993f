"""Ranges of activations, measured over calibration clips, one clip at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from s2tf_edge.calibration.calibration_clips import count_read, headroom
from s2tf_edge.calibration.ranges.activations import Activations
from s2tf_edge.calibration.ranges.batches import Inputs
from s2tf_edge.calibration.ranges.histograms import BINS, THRESHOLDS, Histogram, count_magnitudes
from s2tf_edge.errors import UsageError, VerificationError

__all__ = ["METHODS", "Range", "measure_ranges"]

METHODS: Final = ("minmax", *THRESHOLDS)
"""Ways to choose a range; ``ranges.histograms`` has all but ``minmax``, which cuts nothing off."""

_ROUNDING: Final = 1e-4

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Range:
    """What values of a tensor a quantizer covers; zero is always among them."""

    low: float = 0.0
    high: float = 0.0

    @property
    def magnitude(self) -> float:
        """The largest absolute value."""
        return max(-self.low, self.high)

    def union(self, other: Range) -> Range:
        """The smallest range that covers both."""
        return Range(low=min(self.low, other.low), high=max(self.high, other.high))

    def covers(self, other: Range) -> bool:
        """Whether all values of the other lie in it, up to rounding."""
        slack = _ROUNDING * self.magnitude
        return self.low - slack <= other.low and other.high <= self.high + slack

    def scaled(self, factor: float) -> Range:
        """``factor`` times as wide on either side of zero."""
        return Range(low=factor * self.low, high=factor * self.high)

    def clipped(self, magnitude: float) -> Range:
        """The part of it with absolute values up to ``magnitude``."""
        return Range(low=max(self.low, -magnitude), high=min(self.high, magnitude))


def measure_ranges(
    graph: onnx.ModelProto | ir.Model | Path,
    clips: Iterable[Inputs],
    *,
    tensors: Sequence[str],
    method: str,
    is_signed: Callable[[Range], bool],
    is_sample: bool = True,
    bounds: Mapping[str, Range] | None = None,
) -> dict[str, Range]:
    """Measures the range of each tensor, for a quantizer of 8 bits with one scale a tensor.

    ``minmax`` goes through the clips once, and leaves room beyond the extremes of few (``clips.headroom``). The other
    methods go through them twice: for the extremes, and for histograms up to them. In memory are one clip, some of its
    activations (see ``s2tf_edge.calibration.ranges.activations``) and a histogram a tensor.

    Args:
        graph: in float32, with one input, the clip.
        clips: as the graph takes them, each with the batch axis of length 1 in front; may be gone through twice.
        tensors: names of values of the graph.
        method: one of ``METHODS``.
        is_signed: whether a tensor with such values becomes int8, symmetric about zero; else uint8.
        is_sample: whether the clips are a sample of what is to come, rather than all there can be.
        bounds: what tensors such as pixels take at most: their range, unless a clip shows that it goes beyond.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        UsageError: the method is unknown, the graph has no such tensor, or there are no clips.
        VerificationError: an activation is not finite.
    """
    if method not in METHODS:
        msg = f"no calibration method is called {method!r}; there are {', '.join(METHODS)}"
        raise UsageError(msg)
    activations = Activations(_load(graph), tensors)
    counted = _Counted(clips)
    ranges = _extremes(activations, counted)
    known = {name: bound for name, bound in (bounds or {}).items() if bound.covers(ranges[name])}
    if method == "minmax":
        room = headroom(count_read(clips, given=counted.count)) if is_sample else 1.0
        return {name: extremes.scaled(room) for name, extremes in ranges.items()} | known
    chosen = {
        name: ranges[name].clipped(_threshold(counts, ranges[name], method=method, signed=is_signed(ranges[name])))
        for name, counts in _histograms(activations, clips, ranges).items()
    }
    return chosen | known


class _Counted:
    """Clips, counted as they are gone through."""

    def __init__(self, clips: Iterable[Inputs]) -> None:
        self._clips = clips
        self.count = 0

    def __iter__(self) -> Iterator[Inputs]:
        for clip in self._clips:
            self.count += 1
            yield clip


def _load(graph: onnx.ModelProto | ir.Model | Path) -> ir.Model:
    if isinstance(graph, ir.Model):
        return graph
    return ir.load(graph) if isinstance(graph, Path) else ir.from_proto(graph)


def _extremes(activations: Activations, clips: Iterable[Inputs]) -> dict[str, Range]:
    ranges = {name: Range() for names in activations.groups for name in names}
    seen = False
    for name, values in activations.of(clips):
        ranges[name] = ranges[name].union(_extent(name, values))
        seen = True
    if not seen and ranges:
        msg = "there are no calibration clips to measure ranges on; give one or more"
        raise UsageError(msg)
    return ranges


def _extent(name: str, values: NDArray[np.float32]) -> Range:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        msg = f"{name} is not finite on a calibration clip; int8 needs a network that is finite in float32"
        raise VerificationError(msg)
    return Range(low=low, high=high)


def _histograms(activations: Activations, clips: Iterable[Inputs], ranges: Mapping[str, Range]) -> dict[str, Histogram]:
    histograms = {name: np.zeros(BINS, np.int64) for name in ranges}
    for name, values in activations.of(clips):
        if ranges[name].magnitude:
            histograms[name] += count_magnitudes(values, top=ranges[name].magnitude)
    return histograms


def _threshold(counts: Histogram, extremes: Range, *, method: str, signed: bool) -> float:
    if not counts.any():
        return extremes.magnitude
    # Of 255 steps, those that lie on the side of the larger magnitude.
    span = 2 * extremes.magnitude if signed else extremes.high - extremes.low
    levels = int(255 * extremes.magnitude / span) + 1
    return THRESHOLDS[method](counts, levels) * extremes.magnitude

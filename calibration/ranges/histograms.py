"""Histograms of magnitudes, and where each method cuts them off.

A histogram counts absolute values in ``BINS`` bins of equal width, from zero to the largest. A quantizer that covers
them up to a threshold, in ``levels`` steps, rounds those below it and clips those above; methods weigh one against the
other:

- ``entropy``: the threshold whose quantized distribution diverges least from the true one (Kullback-Leibler), as in
  TensorRT's calibrator: S. Migacz, 8-bit Inference with TensorRT, GTC 2017, slides 38 to 41.
- ``mse``: the threshold of least mean squared error, as in H. Wu et al., Integer Quantization for Deep Learning
  Inference, arXiv:2004.09602, section 4.
- ``percentile``: the magnitude that 99.99 % of values do not exceed (the same paper, table 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "PERCENTILE", "THRESHOLDS", "count_magnitudes"]

BINS: Final = 2048
PERCENTILE: Final = 99.99
_CHUNK: Final = 2**20
"""Values counted at a time, so that the copies that counting makes stay in the processor's cache."""
_STEP: Final = 8
"""Bins from one candidate of a threshold to the next: 0.4 % of the largest magnitude."""

Histogram = NDArray[np.int64]


def count_magnitudes(values: NDArray[np.float32], *, top: float) -> Histogram:
    """Counts magnitudes in bins.

    Args:
        values: float32 of any shape.
        top: upper end of the last bin, above zero; magnitudes beyond it count there.

    Returns:
        Int64 [``BINS``].
    """
    flat = values.reshape(-1)
    counts = np.zeros(BINS, np.int64)
    for start in range(0, flat.size, _CHUNK):
        magnitudes = np.abs(flat[start : start + _CHUNK])
        magnitudes *= np.float32(BINS / top)
        np.minimum(magnitudes, BINS - 1, out=magnitudes)
        counts += np.bincount(magnitudes.astype(np.int64), minlength=BINS)
    return counts


def _percentile(counts: Histogram, _levels: int) -> float:
    return (int(np.searchsorted(np.cumsum(counts), counts.sum() * PERCENTILE / 100)) + 1) / BINS


def _mse(counts: Histogram, levels: int) -> float:
    centers = (np.arange(BINS) + 0.5) / BINS

    def error(threshold: float) -> float:
        step = threshold / (levels - 1)
        quantized = np.minimum(np.rint(centers / step), levels - 1) * step
        return float(np.dot(counts, (centers - quantized) ** 2))

    return min(_candidates(levels), key=error)


def _entropy(counts: Histogram, levels: int) -> float:
    # Zeros, half of what a ReLU gives, are exact at any threshold and would hide everything else.
    shape = counts.astype(np.float64)
    shape[0] = shape[1]
    return min(_candidates(levels), key=lambda threshold: _divergence(shape, round(threshold * BINS), levels))


def _candidates(levels: int) -> list[float]:
    """Thresholds as fractions of the largest magnitude, the largest first so that it wins a tie."""
    return [bins / BINS for bins in range(BINS, levels - 1, -_STEP)]


def _divergence(counts: NDArray[np.float64], bins: int, levels: int) -> float:
    """Kullback-Leibler divergence of the first ``bins``, clipped values in the last, from their quantized form.

    Quantizing merges bins to ``levels``; each then gives its count, in equal parts, back to those that had any.
    """
    kept = counts[:bins]
    reference = kept.copy()
    reference[-1] += counts[bins:].sum()
    starts = np.arange(levels) * bins // levels
    widths = np.diff(starts, append=bins)
    filled = kept > 0
    parts = np.add.reduceat(kept, starts) / np.maximum(np.add.reduceat(filled.astype(np.int64), starts), 1)
    quantized = np.repeat(parts, widths) * filled
    if not quantized.any():
        return np.inf
    p, q = reference / reference.sum(), quantized / quantized.sum()
    both = (p > 0) & (q > 0)
    # Clipped values in a bin that was empty have no counterpart: any small probability will do, as in TensorRT's.
    lost = (p > 0) & (q == 0)
    divergence = np.sum(p[both] * np.log(p[both] / q[both])) + np.sum(p[lost] * np.log(p[lost] / 1e-9))
    return float(divergence)


THRESHOLDS: Final[Mapping[str, Callable[[Histogram, int], float]]] = {
    "entropy": _entropy,
    "percentile": _percentile,
    "mse": _mse,
}
"""The threshold that a method chooses for a histogram and a number of levels, as a fraction of its upper end."""

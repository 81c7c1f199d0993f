"""Which layers quantization hurts: each is quantized alone, and the noise that this puts on the logits is measured.

The signal-to-noise ratio is ``10 · log10(Σ logits² / Σ (logits - integer logits)²)`` in decibels, over the calibration
clips looked at, as in Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference" (2018).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.calibration.base import Quantizer
from s2tf_edge.errors import S2TFError
from s2tf_edge.progress import Progress, no_progress
from s2tf_edge.runtime.session import Clips

__all__ = ["LayerNoise", "LayerRanking", "measure_sensitivity", "signal_to_noise", "worst_first"]

LayerRanking = Callable[[Sequence[str]], list[str]]
"""Puts layers in order, the one that hurts most first."""


@dataclass(frozen=True, kw_only=True)
class LayerNoise:
    """What quantizing one layer alone does."""

    layer: str
    snr_db: float
    """Signal-to-noise ratio of the logits; infinite where they stay the same, and not a number where it cannot run."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; an infinite or missing ratio is null."""
        return {"layer": self.layer, "snr_db": round(self.snr_db, 2) if np.isfinite(self.snr_db) else None}


def measure_sensitivity(
    quantizer: Quantizer,
    preset: str,
    *,
    clips: Sequence[Clips],
    layers: Collection[str] | None = None,
    progress: Progress = no_progress,
) -> list[LayerNoise]:
    """Quantizes each layer alone and compares the logits with those of all layers in float.

    Args:
        quantizer: for one network and target.
        preset: one of the quantizer's.
        clips: a few, each [1, …] as the session takes it.
        layers: those to measure; None for all that the preset quantizes.
        progress: told of each layer.

    Returns:
        One value a layer, in the order in which they run.
    """
    quantized = quantizer.list_layers(preset)
    chosen = [layer for layer in quantized if layers is None or layer in layers]
    expected = _run_clips(quantizer, preset, excluded=quantized, clips=clips)
    noises = []
    for index, layer in enumerate(chosen):
        # All others excluded: what differs from ``expected`` is this layer's doing.
        others = [each for each in quantized if each != layer]
        try:
            snr = signal_to_noise(expected, _run_clips(quantizer, preset, excluded=others, clips=clips))
        except S2TFError:
            snr = float("nan")
        noises.append(LayerNoise(layer=layer, snr_db=snr))
        progress(index + 1, len(chosen))
    return noises


def _run_clips(
    quantizer: Quantizer, preset: str, *, excluded: Sequence[str], clips: Sequence[Clips]
) -> NDArray[np.float32]:
    with tempfile.TemporaryDirectory() as folder:
        path = quantizer.write(preset, Path(folder), excluded=excluded)
        with quantizer.make_session(path) as session:
            return np.concatenate([session.infer(clip).logits for clip in clips])


def signal_to_noise(expected: NDArray[np.float32], got: NDArray[np.float32]) -> float:
    """Of ``got`` against ``expected``, in decibels; infinite where both are equal."""
    noise = float(np.square(expected.astype(np.float64) - got).sum())
    signal = float(np.square(expected.astype(np.float64)).sum())
    return float(10 * np.log10(signal / noise)) if noise and signal else float("inf") if not noise else float("-inf")


def worst_first(noises: Sequence[LayerNoise]) -> list[str]:
    """Layers by rising signal-to-noise ratio; those that could not run alone come first."""
    return [each.layer for each in sorted(noises, key=lambda each: (not np.isnan(each.snr_db), each.snr_db))]

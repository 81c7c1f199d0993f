"""Random changes of color: one affine map of red, green and blue for all pixels of a clip."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.settings.augmentation import AugmentationSettings

__all__ = ["LUMA", "change_colors"]

LUMA: Final = np.array([0.299, 0.587, 0.114])
"""Shares of red, green and blue in gray (ITU-R BT.601)."""


def change_colors(
    clip: NDArray[np.float32],
    spec: ClipSpec,
    settings: AugmentationSettings,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Changes hue and saturation, then contrast and brightness; colors may leave the range of pixels.

    Args:
        clip: float32 [3, T, S, S], normalized as ``spec`` says; may be changed in place.
        spec: mean and std.
        settings: the largest changes.
        rng: what the changes are drawn from.

    Returns:
        As ``clip``.
    """
    contrast = 1 + rng.uniform(-settings.brightness, settings.brightness)
    shift = rng.uniform(-settings.brightness, settings.brightness) / float(np.mean(spec.std)) / 2
    mixture = _draw_mixture(settings, rng)
    if mixture is None:
        clip *= np.float32(contrast)
        clip += np.float32(shift)
        return clip
    # Of pixels p = std x + mean the mixture is M p; of normalized ones (M p - mean) / std.
    mean, std = np.array(spec.mean), np.array(spec.std)
    matrix = contrast * mixture * std / std[:, None]
    offset = contrast * (mixture @ mean - mean) / std + shift
    mixed: NDArray[np.float32] = matrix.astype(np.float32) @ clip.reshape(3, -1)
    mixed += offset.astype(np.float32)[:, None]
    return mixed.reshape(clip.shape)


def _draw_mixture(settings: AugmentationSettings, rng: np.random.Generator) -> NDArray[np.float64] | None:
    """What new red, green and blue have of the old ones, [3, 3]; None where that is not varied."""
    if not settings.hue and not settings.saturation and not settings.grayscale:
        return None
    angle = 2 * math.pi * rng.uniform(-settings.hue, settings.hue)
    saturation = 1 + rng.uniform(-settings.saturation, settings.saturation)
    if rng.random() < settings.grayscale:
        saturation = 0.0
    gray = np.tile(LUMA, (3, 1))
    return (saturation * np.eye(3) + (1 - saturation) * gray) @ _rotation(angle)


def _rotation(angle: float) -> NDArray[np.float64]:
    """Turns colors about the axis of gray (1, 1, 1), which stays (Rodrigues' formula)."""
    axis = 1 / math.sqrt(3)
    cross = axis * np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    result: NDArray[np.float64] = (
        math.cos(angle) * np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * np.full((3, 3), 1 / 3)
    )
    return result

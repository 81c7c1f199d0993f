"""All that is varied in one clip, drawn from one generator and the same in every frame."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.preprocess import normalize
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.augmentation.colors import change_colors
from s2tf_edge.training.augmentation.erasing import erase_box
from s2tf_edge.training.augmentation.framing import draw_crop, resize
from s2tf_edge.training.augmentation.randaugment import randaugment
from s2tf_edge.training.settings.augmentation import AugmentationSettings

__all__ = ["Augmentation"]

_MAX_ENLARGEMENT = 1.25
"""Of the smallest crop: by the default scale it is about that of 0.7 of frames of 8/7 of the crop."""
_MAX_SHORT_SIDE = 4096
_MAX_FPS = 1000.0


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is varied in training clips.

    A variation that is off draws nothing from the generator, so that switching one on leaves those before it as they
    were: time, speed, crop, flip, RandAugment, color, box.
    """

    settings: AugmentationSettings
    flips: bool
    """Whether clips may be mirrored, of the data set's side."""

    def reading_spec(self, spec: ClipSpec) -> ClipSpec:
        """The frames to read: no smaller than for inference, and large enough for the smallest crop."""
        needed = math.floor(spec.size / self.settings.min_scale / _MAX_ENLARGEMENT)
        return dataclasses.replace(spec, resize_short_side=min(max(spec.resize_short_side, needed), _MAX_SHORT_SIDE))

    def draw_speed(self, spec: ClipSpec, rng: np.random.Generator) -> ClipSpec:
        """``spec``, its instants closer together or farther apart."""
        jitter = self.settings.speed_jitter
        if not jitter:
            return spec
        return dataclasses.replace(spec, fps=min(spec.fps * math.exp(rng.uniform(-jitter, jitter)), _MAX_FPS))

    def __call__(self, frames: NDArray[np.uint8], spec: ClipSpec, rng: np.random.Generator) -> NDArray[np.float32]:
        """A random view of a clip.

        Args:
            frames: uint8 [T, H, W, 3].
            spec: what the network takes, of layout NCTHW.
            rng: what all is drawn from.

        Returns:
            Float32 [3, T, S, S], normalized.
        """
        settings = self.settings
        crop = draw_crop(frames, rng, min_scale=settings.min_scale, aspect_jitter=settings.aspect_jitter)
        view = resize(crop, spec.size)
        if settings.flip and self.flips and rng.random() < 0.5:
            view = view[:, :, ::-1]
        if settings.randaugment_count:
            view = randaugment(
                view,
                rng,
                count=settings.randaugment_count,
                magnitude=settings.randaugment_magnitude,
                fill=np.asarray(spec.mean, np.float32) * 255,
            )
        normalized = np.empty(spec.input_shape()[1:], np.float32)
        normalize(np.ascontiguousarray(view), spec, out=normalized)
        clip = change_colors(normalized, spec, settings, rng)
        if settings.erase and rng.random() < settings.erase:
            erase_box(clip, rng)
        return clip

"""Variations that mix the clips of a batch with each other.

- ``background``: a still frame of another clip shines through all frames, so that what does not move tells less; the
  label stays. After Wang et al., "Removing the Background by Adding the Background" (CVPR 2021), who take the frame
  from the clip itself.
- mixup (Zhang et al., ICLR 2018): two clips are blended, and their labels.
- CutMix (Yun et al., ICCV 2019): a box, the same in every frame, shows another clip; labels have shares as areas have.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from s2tf_edge.training.augmentation.framing import draw_box
from s2tf_edge.training.settings.augmentation import AugmentationSettings

__all__ = ["mix_batch"]


def mix_batch(
    clips: Tensor, targets: Tensor, settings: AugmentationSettings, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Mixes each clip of a batch with another one, as ``settings`` say.

    Args:
        clips: float [N, 3, T, S, S]; stays as it is.
        targets: float [N, K], a probability for each class; stays as it is.
        settings: ``background``, ``mixup`` and ``cutmix``; with both of the latter, each step draws one.
        rng: what all is drawn from; of a run that repeats, one by seed, process and step.

    Returns:
        Clips and targets of the same shapes; those given, where nothing is mixed.
    """
    if len(clips) < 2:
        return clips, targets
    if settings.background:
        clips = _add_background(clips, settings.background, rng)
    mixers = [(_mixup, settings.mixup), (_cutmix, settings.cutmix)]
    chosen = [(mix, alpha) for mix, alpha in mixers if alpha]
    if not chosen:
        return clips, targets
    mix, alpha = chosen[int(rng.integers(len(chosen)))]
    return mix(clips, targets, alpha, rng)


def _draw_partners(count: int, rng: np.random.Generator) -> list[int]:
    """The clip that each is mixed with: never itself; batches are shuffled already, so one distance serves all."""
    distance = int(rng.integers(1, count))
    return [(index + distance) % count for index in range(count)]


def _add_background(clips: Tensor, largest: float, rng: np.random.Generator) -> Tensor:
    partners = _draw_partners(len(clips), rng)
    instants = rng.integers(clips.shape[2], size=len(clips)).tolist()
    shares = torch.as_tensor(rng.uniform(0, largest, size=len(clips)), dtype=clips.dtype, device=clips.device)
    still = clips[partners, :, instants].unsqueeze(2)
    return torch.lerp(clips, still, shares.view(-1, 1, 1, 1, 1))


def _mixup(clips: Tensor, targets: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    partners, share = _draw_partners(len(clips), rng), float(rng.beta(alpha, alpha))
    return torch.lerp(clips[partners], clips, share), torch.lerp(targets[partners], targets, share)


def _cutmix(clips: Tensor, targets: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    partners, share = _draw_partners(len(clips), rng), float(rng.beta(alpha, alpha))
    picture, side = (clips.shape[3], clips.shape[4]), math.sqrt(1 - share)
    height, width = (round(length * side) for length in picture)
    top, left = draw_box(picture, (height, width), rng)
    mixed = clips.clone()
    mixed[..., top : top + height, left : left + width] = clips[partners][..., top : top + height, left : left + width]
    return mixed, torch.lerp(targets[partners], targets, 1 - height * width / (picture[0] * picture[1]))

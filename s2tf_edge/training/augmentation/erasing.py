"""Random erasing (Zhong et al., AAAI 2020): a box without a picture, at the same place in every frame."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.training.augmentation.framing import draw_box

__all__ = ["erase_box"]

_MIN_AREA: Final = 0.02
_MAX_AREA: Final = 1 / 3
_MAX_ASPECT: Final = 10 / 3


def erase_box(clip: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Fills a random box of a normalized clip with the mean, which is 0: float32 [3, T, S, S], changed in place."""
    size = clip.shape[2:4]
    area = rng.uniform(_MIN_AREA, _MAX_AREA) * size[0] * size[1]
    stretch = math.exp(rng.uniform(-0.5, 0.5) * math.log(_MAX_ASPECT))
    root = math.sqrt(area)
    height, width = min(max(1, round(root * stretch)), size[0]), min(max(1, round(root / stretch)), size[1])
    top, left = draw_box(size, (height, width), rng)
    clip[:, :, top : top + height, left : left + width] = 0

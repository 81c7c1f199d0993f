"""What is varied in training clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from s2tf_edge.option_fields import counts, in_range
from s2tf_edge.training.settings.declaring import POSITIVE_SHARE, SHARE, UP_FROM_ZERO, setting

__all__ = ["MAX_MAGNITUDE", "AugmentationSettings"]

MAX_MAGNITUDE: Final = 10
"""Of RandAugment's operations, as timm, SlowFast and PyTorchVideo count it."""
_EXPONENT: Final = in_range("in [0, 1.4)", lambda value: 0 <= value < 1.4)
_TURN: Final = in_range("in [0, 0.5]", lambda value: 0 <= value <= 0.5)
_PROBABILITY: Final = in_range("in [0, 1]", lambda value: 0 <= value <= 1)


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """Every variation is the same over the frames of a clip."""

    min_scale: float = setting(
        0.7, "Smallest training crop, as a share of the short side; 1 turns scale jitter off.", check=POSITIVE_SHARE
    )
    aspect_jitter: float = setting(
        0.0, "Crops are up to e^X times as wide as high, or as high as wide; 0 keeps them square.", check=_EXPONENT
    )
    flip: bool = setting(True, "Mirror no clip; data sets whose classes are directions never are.")
    speed_jitter: float = setting(
        0.0, "Actions are up to e^X times as fast or as slow; 0 keeps their speed.", check=_EXPONENT
    )
    brightness: float = setting(
        0.2, "Largest change of brightness and of contrast, as a share; 0 turns it off.", check=SHARE
    )
    saturation: float = setting(0.0, "Largest change of saturation, as a share; 0 turns it off.", check=SHARE)
    hue: float = setting(0.0, "Largest change of hue, as a share of a full turn; 0 turns it off.", check=_TURN)
    grayscale: float = setting(0.0, "Share of the clips that lose their color.", check=_PROBABILITY)
    erase: float = setting(
        0.0, "Share of the clips of which a random box is erased, a third of the picture at most.", check=_PROBABILITY
    )
    randaugment_count: int = setting(
        0, "Operations of RandAugment on each clip; 0 turns it off.", check=counts(0, 10), metavar="N"
    )
    randaugment_magnitude: float = setting(
        7.0,
        f"How strong they are, from 0 to {MAX_MAGNITUDE}.",
        check=in_range(f"in [0, {MAX_MAGNITUDE}]", lambda value: 0 <= value <= MAX_MAGNITUDE),
    )
    background: float = setting(
        0.0, "Largest share in which a still frame of another clip is mixed into a clip; 0 turns it off.", check=SHARE
    )
    mixup: float = setting(
        0.0, "Alpha of mixup: pairs of clips are blended, and their labels; 0 turns it off.", check=UP_FROM_ZERO
    )
    cutmix: float = setting(
        0.0, "Alpha of CutMix: a box of a clip shows another; with mixup, they take turns.", check=UP_FROM_ZERO
    )

    @property
    def mixes(self) -> bool:
        """Whether the clips of a batch are mixed with each other."""
        return self.background > 0 or self.mixup > 0 or self.cutmix > 0

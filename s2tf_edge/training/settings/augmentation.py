"""What is varied in training clips."""

from __future__ import annotations

from dataclasses import dataclass

from s2tf_edge.training.settings.declaring import POSITIVE_SHARE, SHARE, setting

__all__ = ["AugmentationSettings"]


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """Every variation is the same over the frames of a clip."""

    min_scale: float = setting(
        0.7, "Smallest training crop, as a share of the short side; 1 turns scale jitter off.", check=POSITIVE_SHARE
    )
    brightness: float = setting(
        0.2, "Largest change of brightness and of contrast, as a share; 0 turns it off.", check=SHARE
    )
    flip: bool = setting(True, "Mirror no clip; data sets whose classes are directions never are.")

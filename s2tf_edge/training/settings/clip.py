"""Which frames a clip has."""

from __future__ import annotations

from dataclasses import dataclass

from s2tf_edge.option_fields import counts
from s2tf_edge.training.settings.declaring import ABOVE_ZERO, setting

__all__ = ["ClipSettings"]


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """What differs from the clip of the network's published recipe; None for what does not."""

    frames: int | None = setting(None, "Frames in a clip; the network's own by default.", check=counts(1))
    size: int | None = setting(None, "Side of the crop in pixels; the network's own by default.", check=counts(1))
    resize_short_side: int | None = setting(
        None, "Pixels of the short side before cropping; 8/7 of the crop by default.", check=counts(1)
    )
    stride: int | None = setting(None, "Sampling stride in frames; the network's own by default.", check=counts(1))
    fps: float | None = setting(
        None, "Frames a second that the stride counts in; the network's own by default.", check=ABOVE_ZERO
    )
    prefix: int | None = setting(
        None,
        "Most frames before a clip that a causal network sees too, as many as chance has; those of a clip by default.",
        check=counts(0),
    )

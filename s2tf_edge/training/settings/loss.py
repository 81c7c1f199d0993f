"""What is minimized, and what keeps a network from learning its videos by heart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from s2tf_edge.option_fields import one_of
from s2tf_edge.training.settings.declaring import SHARE, UP_FROM_ZERO, setting

__all__ = ["LOSSES", "LossSettings"]

LOSSES: Final = ("ce", "ce-l1", "ce-l1-l2")


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """The terms of the loss, and dropout."""

    loss: str | None = setting(
        None,
        "ce, ce-l1 (mask) or ce-l1-l2 (mask and edges); by default all that the network has terms for.",
        check=one_of(LOSSES),
        metavar="NAME",
    )
    mask_weight: float = setting(
        1e-4, "Weight of the mask's L1 norm, the paper's λ; a sum over the clips of a step.", check=UP_FROM_ZERO
    )
    edge_weight: float = setting(1e-4, "Weight of the edges' squared error, the paper's γ and θ.", check=UP_FROM_ZERO)
    label_smoothing: float = setting(0.1, "Share of each target spread over all classes.", check=SHARE)
    dropout: float = setting(0.2, "Dropout before the classifier.", check=SHARE)

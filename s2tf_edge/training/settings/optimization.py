"""How weights change: the optimizer, its rates, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from s2tf_edge.option_fields import counts, one_of
from s2tf_edge.training.settings.declaring import ABOVE_ZERO, SHARE, UP_FROM_ZERO, setting

__all__ = ["PRECISIONS", "OptimizationSettings"]

PRECISIONS: Final = ("fp32", "bf16-mixed", "16-mixed")


@dataclass(frozen=True, kw_only=True)
class OptimizationSettings:
    """AdamW along a warm-up and a cosine."""

    epochs: int = setting(60, "Passes over the training videos; 60 by default.", check=counts(1))
    lr: float = setting(2e-3, "Peak learning rate of AdamW; 0.002 by default.", check=ABOVE_ZERO)
    weight_decay: float = setting(0.05, "Weight decay of AdamW; norms and biases have none.", check=UP_FROM_ZERO)
    warmup: float = setting(0.1, "Share of all steps in which the learning rate rises.", check=SHARE)
    precision: str = setting(
        "fp32", "fp32, bf16-mixed or 16-mixed; fp32 by default.", check=one_of(PRECISIONS), metavar="NAME"
    )
    seed: int = setting(0, "Seed of weights, order and augmentation; 0 by default.")

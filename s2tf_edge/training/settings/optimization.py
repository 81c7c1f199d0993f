"""How weights change: the optimizer, its rates, for how long, and which of them are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from s2tf_edge.option_fields import counts, one_of
from s2tf_edge.training.settings.declaring import ABOVE_ZERO, SHARE, UP_FROM_ZERO, UP_TO_INFINITY, setting

__all__ = ["KEPT", "MAX_SEED", "OPTIMIZERS", "PRECISIONS", "OptimizationSettings"]

OPTIMIZERS: Final = ("adamw", "sgd")
PRECISIONS: Final = ("auto", "fp32", "bf16-mixed", "16-mixed")
KEPT: Final = ("best", "last")
MAX_SEED: Final = 2**32 - 1
"""Steps and processes are added to it, and generators take 64 bits."""


@dataclass(frozen=True, kw_only=True)
class OptimizationSettings:
    """AdamW or SGD along a warm-up and a cosine."""

    epochs: int = setting(60, "Passes over the training videos; 60 by default.", check=counts(1))
    optimizer: str = setting(
        "adamw",
        "adamw, or sgd with Nesterov momentum; adamw by default.",
        check=one_of(OPTIMIZERS),
        metavar="NAME",
    )
    lr: float = setting(2e-3, "Peak learning rate; 0.002 by default.", check=ABOVE_ZERO)
    saliency_lr_scale: float = setting(
        1.0, "Learning rate of the saliency modules, as a multiple of the others'.", check=UP_FROM_ZERO
    )
    momentum: float = setting(0.9, "Momentum of sgd.", check=SHARE)
    weight_decay: float = setting(0.05, "Weight decay; norms and biases have none.", check=UP_FROM_ZERO)
    warmup: float = setting(0.1, "Share of all steps in which the learning rate rises.", check=SHARE)
    clip_grad: float = setting(
        0.0, "Longest gradient of all weights together (L2 norm); 0 does not clip.", check=UP_TO_INFINITY
    )
    accumulate: int = setting(
        1, "Batches whose gradients make one step, for steps of more clips than memory holds.", check=counts(1)
    )
    ema: float = setting(
        0.0,
        "Decay of a moving average of the weights, which is validated and kept in their place; 0 turns it off.",
        check=SHARE,
    )
    keep: str | None = setting(
        None,
        "Epoch whose weights model.pt has: best or last; best where there is validation.",
        check=one_of(KEPT),
        metavar="best|last",
    )
    precise_norms: int = setting(
        0,
        "Training clips that the statistics of batch norms are measured on anew after each epoch, with the weights "
        "that may be kept; 0 keeps their running averages.",
        check=counts(0),
    )
    precision: str = setting(
        "fp32",
        "fp32, bf16-mixed, 16-mixed (GPU), or auto: bf16-mixed where the machine computes in it; fp32 by default.",
        check=one_of(PRECISIONS),
        metavar="NAME",
    )
    compile: bool = setting(False, "Compile the network with torch.compile, which takes minutes before the first step.")
    seed: int = setting(0, "Seed of weights, order and augmentation; 0 by default.", check=counts(0, MAX_SEED))

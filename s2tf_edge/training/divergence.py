"""A run whose loss is no number any more ends at once, before what it wrote down is written over."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import lightning.pytorch as pl

from s2tf_edge.errors import UsageError

__all__ = ["DivergenceGuard", "check_weights"]


class KeptCheckpoint(Protocol):
    """Knows which checkpoint is on the disk."""

    @property
    def kept(self) -> Path | None:
        """The checkpoint that is there."""

    def describe_kept(self, epochs: int) -> str:
        """The same in words, of a run of ``epochs`` epochs."""


class DivergenceGuard(pl.Callback):
    """Looks at each loss."""

    def __init__(self, checkpoint: KeptCheckpoint) -> None:
        self._checkpoint = checkpoint

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Raises UsageError where the step's loss is infinite or no number."""
        del pl_module, batch
        loss = float(outputs["loss"])
        if not math.isfinite(loss):
            raise _divergence(trainer, f"the loss is {loss} at step {batch_idx + 1}", self._checkpoint)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raises UsageError where the validation loss is infinite or no number."""
        del pl_module
        loss = trainer.callback_metrics.get("val_loss")
        if loss is not None and not math.isfinite(loss):
            raise _divergence(trainer, f"the validation loss is {float(loss)}", self._checkpoint)


def check_weights(trainer: pl.Trainer, module: pl.LightningModule, checkpoint: KeptCheckpoint) -> None:
    """Looks at all weights and statistics of norms: a step can spoil them whose own loss was fine.

    Raises:
        UsageError: one is infinite or no number.
    """
    for name, value in module.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise _divergence(trainer, f"{name} is no longer finite", checkpoint)


def _divergence(trainer: pl.Trainer, what: str, checkpoint: KeptCheckpoint) -> UsageError:
    """Settings and data do not fit together: what helps is other settings, as with other wrong usage."""
    how = "`resume='never'`" if checkpoint.kept is None else f"`resume={str(checkpoint.kept)!r}`"
    rate = float(trainer.optimizers[0].param_groups[0]["lr"])
    precision = "" if trainer.precision == "32-true" else " or `precision='fp32'`"
    return UsageError(
        f"{what} in epoch {trainer.current_epoch + 1}, with a learning rate of {rate:.2g}; "
        f"{checkpoint.describe_kept(trainer.max_epochs or 0)}; give a lower `lr`, such as a third of it{precision}, "
        f"and {how}"
    )

"""How far a run is, how fast, and how long it will take, told after each step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from s2tf_edge.progress import Progress, tell_state

__all__ = ["Pace", "in_words"]


class Pace(pl.Callback):
    """Tells a listener the steps of the run that are done, and in words where it is.

        epoch 3/60, step 12/30, loss 1.92, 24 clips/s, 3 min left

    Clips a second are those of this epoch, over all processes; the time left is what the steps since the start took,
    validation included, times those to come.
    """

    def __init__(self, progress: Progress, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._began = 0.0
        self._steps_before = 0
        self._epoch_began = 0.0
        self._steps_before_in_epoch = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock: reading the first clips is part of the time."""
        del pl_module
        self._began = self._epoch_began = self._clock()
        self._steps_before = _steps(trainer)
        self._steps_before_in_epoch = _steps(trainer) % max(1, int(trainer.num_training_batches))
        self._tell(trainer, "reading the first clips")

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the epoch's clock."""
        del trainer, pl_module
        self._epoch_began, self._steps_before_in_epoch = self._clock(), 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Reports one step."""
        del pl_module, batch
        if not trainer.is_global_zero:
            return
        steps = batch_idx + 1
        total = int(trainer.num_training_batches)
        done = trainer.current_epoch * total + steps
        of_run = (trainer.max_epochs or 0) * total
        # The trainer has divided it by the batches of a step.
        loss = float(outputs["loss"]) * trainer.accumulate_grad_batches
        words = (f"step {steps}/{total}", f"loss {loss:.2f}", *self._speed(trainer, steps))
        self._tell(trainer, *words, *self._left(done, of_run))
        self._progress(done, of_run)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says that validation begins: its first clips may be long in coming."""
        del pl_module
        self._tell(trainer, "validation")

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Reports one step of validation."""
        del pl_module, outputs, batch, dataloader_idx
        total = trainer.num_val_batches
        self._tell(trainer, f"validation {batch_idx + 1}/{sum(total) if isinstance(total, list) else total}")

    def _tell(self, trainer: pl.Trainer, *words: str) -> None:
        if trainer.is_global_zero:
            tell_state(self._progress, ", ".join((f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}", *words)))

    def _speed(self, trainer: pl.Trainer, steps: int) -> list[str]:
        loader, seconds = trainer.train_dataloader, self._clock() - self._epoch_began
        if not isinstance(loader, DataLoader) or seconds <= 0:
            return []
        clips = (steps - self._steps_before_in_epoch) * (loader.batch_size or 1) * trainer.world_size
        return [f"{clips / seconds:.3g} clips/s"]

    def _left(self, done: int, total: int) -> list[str]:
        behind = done - self._steps_before
        seconds = (self._clock() - self._began) * (total - done) / behind if behind > 0 else 0.0
        return [f"{in_words(seconds)} left"] if seconds else []


def _steps(trainer: pl.Trainer) -> int:
    """Batches of the run that are done, on each process, whether each was a step of the optimizer or not."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.ready)


def in_words(seconds: float) -> str:
    """A duration in the two largest units that matter: ``40 s``, ``3 min``, ``2 h 5 min``."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"

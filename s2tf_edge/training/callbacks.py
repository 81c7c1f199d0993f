"""What a training run leaves behind while it runs: ``metrics.csv`` and a line an epoch."""

from __future__ import annotations

import csv
import logging
import time
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from s2tf_edge.progress import Progress

__all__ = ["Checkpoints", "EpochLog", "StepProgress"]

logger = logging.getLogger(__name__)

_COLUMNS: Final = (
    "epoch",
    "train_loss",
    "train_top1",
    "train_cross_entropy",
    "train_mask_l1",
    "train_tsfp1_mse",
    "train_tsfp2_mse",
    "train_distillation",
    "val_loss",
    "val_top1",
    "lr",
    "seconds",
)


class Checkpoints(Checkpoint):
    """Writes ``last.ckpt`` after each epoch; it holds the weights of the best epoch too, so one file is a whole run.

    Attributes:
        top1: the best epoch's top-1 on the validation videos, in percent.
        epoch: the best epoch, counted from one; 0 before the first.
        weights: the network's state at that epoch, on the CPU.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.top1 = 0.0
        self.epoch = 0
        self.weights: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compares, then writes."""
        top1 = float(trainer.callback_metrics["val_top1"])
        if not self.epoch or top1 > self.top1:
            self.top1, self.epoch = top1, trainer.current_epoch + 1
            state = pl_module.state_dict()
            self.weights = {key: value.detach().cpu().clone() for key, value in state.items()}
        trainer.save_checkpoint(self._path)

    def state_dict(self) -> dict[str, Any]:
        """What ``last.ckpt`` keeps of it."""
        return {"top1": self.top1, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what ``state_dict`` gave."""
        self.top1, self.epoch, self.weights = (state_dict[key] for key in ("top1", "epoch", "weights"))


class EpochLog(pl.Callback):
    """Appends a row to ``metrics.csv`` and logs a line after each epoch; a resumed run continues the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps the rows of the epochs that a resumed run has behind it."""
        del pl_module
        if not trainer.is_global_zero:
            return
        rows = _read_rows(self._path)
        kept = [row for row in rows if int(row["epoch"]) <= trainer.current_epoch]
        with self._path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _COLUMNS)
            writer.writeheader()
            writer.writerows(kept)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the epoch's clock."""
        del trainer, pl_module
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the epoch's row and line."""
        del pl_module
        if not trainer.is_global_zero:
            return
        values = {name: f"{float(value):.6g}" for name, value in trainer.callback_metrics.items() if name in _COLUMNS}
        seconds = time.monotonic() - self._started
        row = values | {
            "epoch": str(trainer.current_epoch + 1),
            "lr": f"{trainer.optimizers[0].param_groups[0]['lr']:.4g}",
            "seconds": f"{seconds:.1f}",
        }
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, _COLUMNS).writerow(row)
        epochs = trainer.max_epochs or 0
        logger.info(
            "epoch %d/%d: loss %.3f, train %.1f %%, validation %.1f %% (%.1f s, %.0f s left)",
            trainer.current_epoch + 1,
            epochs,
            float(values.get("train_loss", "nan")),
            float(values.get("train_top1", "nan")),
            float(values.get("val_top1", "nan")),
            seconds,
            seconds * (epochs - trainer.current_epoch - 1),
        )


class StepProgress(pl.Callback):
    """Tells a progress listener how many steps of the run are done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def on_train_batch_end(self, trainer: pl.Trainer, *_: object) -> None:
        """Reports one step."""
        self._progress(trainer.global_step, int(trainer.estimated_stepping_batches))


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if (row.get("epoch") or "").isdigit()]

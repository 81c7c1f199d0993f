"""What a training run leaves behind while it runs: ``metrics.csv`` and a line an epoch."""

from __future__ import annotations

import csv
import logging
import time
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.progress import Progress
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.loaders import find_unreadable
from s2tf_edge.training.module import TrainingModule

__all__ = ["Checkpoints", "EpochLog", "StepProgress", "keeps_best_epoch"]

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
    "unreadable",
)


def keeps_best_epoch(config: TrainConfig, validation: LabeledVideos) -> bool:
    """Whether the best epoch on ``validation`` is kept rather than the last.

    Raises:
        UsageError: the best is asked for, and there is nothing to tell it by.
    """
    if config.keep == "best" and not len(validation):
        msg = "`keep='best'` needs videos to validate on; give some, or `keep='last'`"
        raise UsageError(msg)
    return config.keep != "last" and len(validation) > 0


class Checkpoints(Checkpoint):
    """Writes ``last.ckpt`` after each epoch; it holds the weights that are kept too, so one file is a whole run.

    Attributes:
        top1: top-1 of the kept epoch on the validation videos, in percent; None without such videos.
        epoch: the kept epoch, counted from one; 0 before the first.
        weights: the state of the module's ``result`` at that epoch, on the CPU.
    """

    def __init__(self, path: Path, *, keeps_best: bool) -> None:
        self._path = path
        self._keeps_best = keeps_best
        self.top1: float | None = None
        self.epoch = 0
        self.weights: dict[str, Tensor] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compares, then writes."""
        assert isinstance(pl_module, TrainingModule)
        measured = trainer.callback_metrics.get("val_top1")
        top1 = None if measured is None else float(measured)
        if not (self._keeps_best and self.epoch) or (top1 or 0) > (self.top1 or 0):
            self.top1, self.epoch = top1, trainer.current_epoch + 1
            self.weights = {key: _plain_copy(value) for key, value in pl_module.result.state_dict().items()}
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
            "unreadable": str(_count_unreadable(trainer)),
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


def _plain_copy(value: Tensor) -> Tensor:
    """A copy on the CPU that takes no note of the layout that was trained in."""
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def _count_unreadable(trainer: pl.Trainer) -> int:
    """Videos that could not be read so far, on either side."""
    loaders = (trainer.train_dataloader, trainer.val_dataloaders)
    return sum(len(find_unreadable(loader).names) for loader in loaders if loader is not None)


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if (row.get("epoch") or "").isdigit()]

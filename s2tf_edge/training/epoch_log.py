"""What each epoch leaves: a row of ``metrics.csv``, a picture of all rows, and a line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as pl

from s2tf_edge.training.curves import draw_curves
from s2tf_edge.training.loaders import find_unreadable
from s2tf_edge.training.metrics_file import Row, read_rows, write_rows
from s2tf_edge.training.pace import in_words
from s2tf_edge.training.unreadable import Unreadable

__all__ = ["CURVES_FILE", "METRICS_FILE", "EpochLog"]

logger = logging.getLogger(__name__)

METRICS_FILE: Final = "metrics.csv"
CURVES_FILE: Final = "curves.png"
_SECONDS_BETWEEN_PICTURES: Final = 10.0


class EpochLog(pl.Callback):
    """Writes ``metrics.csv`` and ``curves.png`` and logs a line after each epoch; a resumed run continues them."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._rows: list[Row] = []
        self._started = 0.0
        self._seconds_before = 0.0
        self._drawn = -_SECONDS_BETWEEN_PICTURES

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keeps the rows of the epochs that a resumed run has behind it."""
        del pl_module
        self._started = self._clock()
        if not trainer.is_global_zero:
            return
        rows = read_rows(self._folder / METRICS_FILE)
        self._rows = [row for row in rows if int(row["epoch"]) <= trainer.current_epoch]
        write_rows(self._folder / METRICS_FILE, self._rows)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the epoch's clock."""
        del trainer, pl_module
        self._started, self._seconds_before = self._clock(), 0.0

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the epoch's row, picture and line.

        Raises:
            InputFileError: the processes of the run together found too many videos that cannot be read.
        """
        del pl_module
        _join_unreadable(trainer)
        if not trainer.is_global_zero:
            return
        row = self._row(trainer)
        self._rows.append(row)
        write_rows(self._folder / METRICS_FILE, self._rows)
        if self._clock() - self._drawn >= _SECONDS_BETWEEN_PICTURES:
            self._draw()
        epochs = trainer.max_epochs or 0
        left = float(row["seconds"]) * (epochs - trainer.current_epoch - 1)
        logger.info("epoch %s/%d: %s (%s s, %s left)", row["epoch"], epochs, _line(row), row["seconds"], in_words(left))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draws the picture of the whole run.

        Raises:
            InputFileError: as after each epoch.
        """
        del pl_module
        # Norms are measured on clips after the row of an epoch.
        _join_unreadable(trainer)
        if trainer.is_global_zero:
            self._draw()

    def state_dict(self) -> dict[str, Any]:
        """Seconds of the epoch so far."""
        return {"seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what ``state_dict`` gave; an epoch that begins anew begins at zero."""
        self._seconds_before = float(state_dict["seconds"])

    def _seconds(self) -> float:
        return self._seconds_before + self._clock() - self._started

    def _row(self, trainer: pl.Trainer) -> Row:
        means = {name: f"{float(value):.6g}" for name, value in trainer.callback_metrics.items()}
        return means | {
            "epoch": str(trainer.current_epoch + 1),
            "lr": f"{trainer.optimizers[0].param_groups[0]['lr']:.4g}",
            "seconds": f"{self._seconds():.1f}",
            "unreadable": str(_count_unreadable(trainer)),
        }

    def _draw(self) -> None:
        self._drawn = self._clock()
        draw_curves(self._folder / CURVES_FILE, self._rows)


def _join_unreadable(trainer: pl.Trainer) -> None:
    for unreadable in _unreadable(trainer):
        unreadable.join()


def _count_unreadable(trainer: pl.Trainer) -> int:
    """Videos that could not be read so far, on either side."""
    return sum(len(unreadable.names) for unreadable in _unreadable(trainer))


def _unreadable(trainer: pl.Trainer) -> list[Unreadable]:
    loaders = (trainer.train_dataloader, trainer.val_dataloaders)
    return [find_unreadable(loader) for loader in loaders if loader is not None]


def _line(row: Row) -> str:
    """Top-1 is of clips that have a class, and no epoch need have one."""
    top1 = {"train": row.get("train_top1"), "validation": row.get("val_top1")}
    shown = [f"{name} {float(value):.1f} %" for name, value in top1.items() if value is not None]
    return ", ".join([f"loss {float(row['train_loss']):.3f}", *shown])

"""``last.ckpt``: a whole run in one file, which is never half-written."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor
from torch.utils.data import DataLoader

from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import UsageError
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.divergence import check_weights
from s2tf_edge.training.module import TrainingModule
from s2tf_edge.training.position import POSITION_KEY, Position
from s2tf_edge.training.result_file import ResultFile
from s2tf_edge.training.resume import Resumption
from s2tf_edge.whole_file import whole_file

__all__ = ["Checkpoints", "WholeCheckpoints", "keeps_best_epoch"]

_SECONDS_OF_A_MINUTE: Final = 60.0


def keeps_best_epoch(config: TrainConfig, validation: LabeledVideos) -> bool:
    """Whether the first of the epochs that are best on ``validation`` is kept, rather than the last of all.

    Raises:
        UsageError: the best is asked for, and there is nothing to tell it by.
    """
    if config.keep == "best" and not len(validation):
        msg = "`keep='best'` needs videos to validate on; give some, or `keep='last'`"
        raise UsageError(msg)
    return config.keep != "last" and len(validation) > 0


class WholeCheckpoints(TorchCheckpointIO):
    """Writes checkpoints aside and renames them."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Writes all of it, or raises InputFileError and leaves the file that was there."""
        del storage_options
        with whole_file(Path(path)) as file:
            torch.save(checkpoint, file)


class Checkpoints(Checkpoint):
    """Writes ``last.ckpt`` after each epoch, and within one once ``minutes`` have passed since it was written last.

    It holds the weights that are kept too, so one file is a whole run; ``result`` has them as a network. Within an
    epoch it is written only where a step is over and no gradients wait for the next. Which clips come next, how they
    are varied and what is dropped depends on seed, epoch and step alone; there is no other state.

    Attributes:
        top1: top-1 of the kept epoch on the validation videos, in percent; None without such videos.
        epoch: the kept epoch, counted from one; 0 before the first.
        weights: the state of the module's ``result`` at that epoch, on the CPU.
    """

    def __init__(
        self,
        path: Path,
        *,
        keeps_best: bool,
        minutes: float,
        result: ResultFile | None = None,
        resumption: Resumption | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._keeps_best = keeps_best
        self._seconds = minutes * _SECONDS_OF_A_MINUTE
        self._result = result
        self._result_epoch = 0
        self._compares_epochs = resumption is None or resumption.measures_alike
        self._written = (resumption.checkpoint, resumption.position) if resumption else None
        self._clock = clock
        self._written_at = clock()
        self._position: Position | None = None
        self.top1: float | None = None
        self.epoch = 0
        self.weights: dict[str, Tensor] = {}

    @property
    def kept(self) -> Path | None:
        """The checkpoint that is on the disk."""
        return None if self._written is None else self._written[0]

    @property
    def metrics(self) -> dict[str, Any]:
        """How good the kept epoch is, and which it is."""
        score = {} if self.top1 is None else {"val_top1": self.top1}
        return {**score, "epoch": self.epoch}

    def describe_kept(self, epochs: int) -> str:
        """What is on the disk of a run of ``epochs`` epochs."""
        if self._written is None:
            return "no checkpoint was written yet"
        path, position = self._written
        kept = f"kept {path}, {position.describe(epochs)}"
        if self._result is None or not self._result_epoch:
            return kept
        return f"{kept}, and {self._result.path} of epoch {self._result_epoch}"

    def describe_going_on(self, epochs: int, *, resume: str | Path) -> str:
        """What is on the disk, and how the run goes on that was begun with ``resume``."""
        how = "starts anew" if self._written is None else "goes on from there"
        # A run that began at a checkpoint elsewhere has one of its own, once it has written any.
        has_own = resume != "auto" and self.kept == self._path != Path(resume)
        what = "`resume='auto'`" if has_own else "the same command"
        return f"{self.describe_kept(epochs)}: {what} {how}"

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts the clock; a run that goes on has a network to deploy from the first moment."""
        del pl_module
        self._written_at = self._clock()
        if self.epoch:
            self._write_result(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Writes, where it is time; after an epoch's last batch its end comes anyway."""
        del outputs, batch
        steps = batch_idx + 1
        if steps == trainer.num_training_batches or steps % trainer.accumulate_grad_batches:
            return
        # The clocks of the processes differ, and all have to take part.
        if trainer.strategy.broadcast(self._clock() - self._written_at >= self._seconds):
            self._write(trainer, pl_module, _position(trainer, epochs=trainer.current_epoch, steps=steps))

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compares, then writes."""
        assert isinstance(pl_module, TrainingModule)
        measured = trainer.callback_metrics.get("val_top1")
        top1 = None if measured is None else float(measured)
        is_kept = not (self._keeps_best and self.epoch) or (top1 or 0) > (self.top1 or 0)
        if is_kept:
            self.top1, self.epoch = top1, trainer.current_epoch + 1
            self.weights = {key: _plain_copy(value) for key, value in pl_module.result.state_dict().items()}
        self._write(trainer, pl_module, _position(trainer, epochs=trainer.current_epoch + 1))
        if is_kept:
            self._write_result(trainer)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds where the run is."""
        del trainer, pl_module
        assert self._position is not None
        checkpoint[POSITION_KEY] = dataclasses.asdict(self._position)

    def state_dict(self) -> dict[str, Any]:
        """What ``last.ckpt`` keeps of it."""
        return {"top1": self.top1, "epoch": self.epoch, "weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what ``state_dict`` gave, but for epochs that were measured otherwise than this run's are."""
        if not self._compares_epochs:
            return
        self.top1, self.epoch, self.weights = (state_dict[key] for key in ("top1", "epoch", "weights"))

    def _write(self, trainer: pl.Trainer, pl_module: pl.LightningModule, position: Position) -> None:
        check_weights(trainer, pl_module, self)
        self._position = position
        trainer.save_checkpoint(self._path)
        self._written = (self._path, position)
        self._written_at = self._clock()

    def _write_result(self, trainer: pl.Trainer) -> None:
        if self._result is not None and trainer.is_global_zero:
            self._result.write(self.weights, self.metrics)
            self._result_epoch = self.epoch


def _plain_copy(value: Tensor) -> Tensor:
    """A copy on the CPU that takes no note of the layout that was trained in."""
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def _position(trainer: pl.Trainer, *, epochs: int, steps: int = 0) -> Position:
    loader = trainer.train_dataloader
    assert isinstance(loader, DataLoader)
    return Position(
        epochs=epochs,
        steps=steps,
        steps_of_epoch=int(trainer.num_training_batches),
        clips_of_step=(loader.batch_size or 1) * trainer.world_size,
    )

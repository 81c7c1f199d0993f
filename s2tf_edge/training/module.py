"""A training step: forward, loss, AdamW along a warm-up and a cosine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from s2tf_edge.models import VideoNetwork
from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.epoch_means import EpochMeans
from s2tf_edge.training.losses import S2TFLoss

__all__ = ["RUN_KEY", "TrainingModule", "make_loss"]

RUN_KEY: Final = "s2tf_run"
_SEEDS_OF_A_PROCESS: Final = 2**32
"""Processes do not drop the same features; no run has as many steps."""


class TrainingModule(pl.LightningModule):
    """Trains ``network`` on batches of (clips float32 [N, 3, T, S, S], labels int64 [N]).

    ``run`` describes the run; checkpoints carry it under the key ``RUN_KEY``. ``means`` is to be a callback of the
    trainer: it logs what the steps add to it.
    """

    def __init__(self, network: VideoNetwork, config: TrainConfig, *, run: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self._run = dict(run)
        self._config = config
        self.means = EpochMeans()
        self._loss = make_loss(config, has_saliency=network.saliency is not None)

    def on_fit_start(self) -> None:
        """Tells the loss how many batches a step averages."""
        self._loss.batches = self.trainer.world_size * self.trainer.accumulate_grad_batches

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the run's description."""
        checkpoint[RUN_KEY] = self._run

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Makes dropout depend on the seed and the step alone, whatever else draws from the same generator."""
        del batch, batch_idx
        torch.manual_seed(self._config.seed + self.global_step + _SEEDS_OF_A_PROCESS * self.global_rank)

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """The total loss of a batch; its parts and top-1 are logged."""
        clips, labels = batch
        logits, saliency = self.network(clips, return_saliency=True)
        total: Tensor
        total, parts = self._loss(logits, saliency, labels)
        self._log("train_top1", _top1(logits, labels), labels)
        self._log("train_loss", total.detach(), labels)
        for name, value in parts.items():
            self._log(f"train_{name}", value.detach(), labels)
        return total

    def validation_step(self, batch: tuple[Tensor, Tensor], _index: int) -> None:
        """Logs loss and top-1 of the center clips."""
        clips, labels = batch
        logits = self.network(clips)
        self._log("val_loss", nn.functional.cross_entropy(logits, labels), labels)
        self._log("val_top1", _top1(logits, labels), labels)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW without decay on norms and biases, stepped by batch."""
        config = self._config
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=config.lr)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: _share_of_peak_rate(step, steps, config.warmup)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _log(self, name: str, value: Tensor, labels: Tensor) -> None:
        self.means.add(name, value, len(labels))


def make_loss(config: TrainConfig, *, has_saliency: bool) -> S2TFLoss:
    """The loss that ``config`` names; terms that the network has nothing for are left out."""
    kind = config.loss or ("ce-l1-l2" if has_saliency else "ce")
    mask = 0.0 if kind == "ce" else 1e-4
    edges = 1e-4 if kind == "ce-l1-l2" else 0.0
    return S2TFLoss(lambda_=mask, gamma=edges, theta=edges, label_smoothing=config.label_smoothing)


def _share_of_peak_rate(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate: a straight line up, then half a cosine down."""
    rising = max(1.0, warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, steps - rising))))


def _top1(logits: Tensor, labels: Tensor) -> Tensor:
    return 100 * (logits.argmax(dim=1) == labels).float().mean()
